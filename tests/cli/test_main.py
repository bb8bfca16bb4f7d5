"""Finding the verb: help and version cost nothing, mistakes get a sentence and the right exit status."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from plt_nn.cli.main import VERBS

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    "program",
    [[str(Path(sys.executable).with_name("plt-nn"))], [sys.executable, "-m", "plt_nn"]],
    ids=["plt-nn", "python -m plt_nn"],
)
def test_help_names_every_verb(program: list[str]) -> None:
    done = subprocess.run([*program, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: plt-nn ")
    for name, verb in VERBS.items():
        assert f"  {name} " in done.stdout
        assert verb.summary in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_nothing_heavy_is_imported_before_a_verb_needs_it(word: str) -> None:
    code = (
        "import sys\nfrom plt_nn.cli.main import main\n"
        f"try: main([{word!r}])\nexcept SystemExit: pass\n"
        "print('imported:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.rpartition("imported:")[2].split())
    assert "plt_nn" in imported
    assert not {"torch", "lightning", "mlflow", "timm", "pandas", "sklearn", "jsonargparse", "numpy"} & imported


def test_the_version_is_that_of_the_package(call: Call) -> None:
    done = call("--version")
    assert (done.returncode, done.stdout) == (0, f"plt-nn {version('plt-nn')}\n")


def test_without_a_verb_there_is_help(call: Call) -> None:
    done = call()
    assert done.returncode == 0
    assert "verbs:" in done.stdout


def test_the_help_of_a_verb_names_the_program(warm_process: Call) -> None:
    for verb in ("fit", "ui"):
        done = warm_process(verb, "--help")
        assert done.returncode == 0
        assert done.stdout.startswith("usage: plt-nn "), done.stdout[:80]


@pytest.mark.parametrize(("word", "hint"), [("fti", "Did you mean 'fit'?"), ("zzz", "Valid: fit, validate, test")])
def test_an_unknown_verb(word: str, hint: str, call: Call) -> None:
    done = call(word, "--config", "a.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"plt-nn: unknown verb '{word}'. {hint}")


def test_tracebacks_are_for_those_who_ask(tiny: Callable[..., Path], warm_process: Call) -> None:
    config = tiny(lambda config: config.update(trainr={}))
    quiet = warm_process("fit", "--config", config)
    assert quiet.returncode == 2
    assert "Traceback" not in quiet.stderr
    assert "Did you mean 'trainer'?" in quiet.stderr
    loud = warm_process("fit", "--config", config, "--debug")
    assert loud.returncode != 0
    assert "Traceback" in loud.stderr
    assert "Did you mean 'trainer'?" in loud.stderr
