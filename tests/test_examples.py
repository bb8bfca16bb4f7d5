"""The examples in the docstrings are run as they stand, and must print what they show."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

import plt_nn

# Every module whose docstrings have an `Example:`. An example does its own imports; `photos` is given to it: the path
# of a folder with the classes `ants` and `bees`, eight small images each.
MODULES = (
    "plt_nn.backbones.create",
    "plt_nn.backbones.stages",
    "plt_nn.callbacks.freezing.freezing_schedule",
    "plt_nn.callbacks.resume.step_seeds",
    "plt_nn.callbacks.stopping.best_loss_stopping",
    "plt_nn.data.image_folder",
    "plt_nn.modules.classifier",
    "plt_nn.modules.regressor",
    "plt_nn.tracking.logger",
)


@pytest.fixture(scope="module")
def tiny_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for name, shade in (("ants", 60), ("bees", 200)):
        (root / name).mkdir()
        for number in range(8):
            Image.new("RGB", (40, 32), (shade, shade, 20 * number)).save(root / name / f"{number}.png")
    return root


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module(
    name: str, tiny_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module, faults = import_module(name), list[str]()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    examples = doctest.DocTestFinder(exclude_empty=True).find(module, name, globs={"photos": str(tiny_photos)})
    for example in examples:
        runner.run(example, out=faults.append)
    assert not faults, "".join(faults)
    assert runner.tries > 0, "no example was found"
    text = "".join(str(example.docstring) for example in examples)
    unnamed = [entry.name for entry in tmp_path.iterdir() if entry.name not in text]
    assert not unnamed, "an example leaves only files that it names"


def test_every_module_with_an_example_is_listed() -> None:
    root = Path(plt_nn.__file__).parent
    found = [path.relative_to(root.parent) for path in root.rglob("*.py") if ">>> " in path.read_text("utf-8")]
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in found}
    assert names == set(MODULES)
