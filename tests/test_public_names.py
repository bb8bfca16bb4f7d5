"""The names that plt_nn offers: there, told to type checkers and in the README, and free until they are used."""

import ast
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import plt_nn
from plt_nn import errors

STUB = Path(plt_nn.__file__).with_suffix(".pyi")
ERRORS = {name for name, thing in vars(errors).items() if isinstance(thing, type) and issubclass(thing, Exception)}
README = Path(__file__).parents[1] / "README.md"


def test_the_names_are_sorted_and_those_of_the_stub() -> None:
    assert plt_nn.__all__ == sorted(set(plt_nn.__all__))
    (told,) = [node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.Assign)]
    assert sorted(ast.literal_eval(told.value)) == plt_nn.__all__


NAMES = [name for name in plt_nn.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    thing = getattr(plt_nn, name)
    assert callable(thing)
    assert thing.__name__ == name
    assert thing.__module__.startswith("plt_nn.")
    assert thing.__doc__


def test_the_readme_tells_them_all() -> None:
    rows = re.findall(r"^\| `plt_nn/\w+/` \|[^|]*\|([^|]*)\|$", README.read_text(), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == [name for name in NAMES if name not in ERRORS]


def test_every_error_is_public_and_in_the_tree_of_errors() -> None:
    assert set(plt_nn.__all__) >= ERRORS
    assert all(f"── {name} " in (errors.__doc__ or "") for name in ERRORS - {"PltNNError"})


def test_the_version_is_that_of_the_package() -> None:
    assert plt_nn.__version__ == version("plt-nn")


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="Classifer"):
        _ = plt_nn.Classifer  # type: ignore[attr-defined]


def test_importing_plt_nn_imports_nothing_heavy() -> None:
    code = "import sys, plt_nn; dir(plt_nn); print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "lightning", "timm", "mlflow", "pandas", "numpy"} & set(done.stdout.split())
