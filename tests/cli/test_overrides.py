"""The command line over the file, and the resolved configuration on request."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

EXPERIMENTS = Path(__file__).parents[2] / "experiments"

Call = Callable[..., subprocess.CompletedProcess[str]]
Tiny = Callable[..., Path]


def printed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    config: dict[str, Any] = yaml.safe_load(done.stdout)
    return config


@pytest.mark.parametrize("file", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_experiment_can_be_read(file: Path, call: Call) -> None:
    config = printed(call("fit", "--config", file, "--print_config"))
    assert set(config) >= {"seed_everything", "trainer", "model", "data"}


def test_the_command_line_overrules_the_file(call: Call) -> None:
    file = EXPERIMENTS / "finetune_photos.yaml"
    words = ("--trainer.max_epochs", "1", "--data.batch_size", "16", "--data.root", "my photos")
    config = printed(call("fit", "--config", file, *words, "--print_config"))
    assert config["trainer"]["max_epochs"] == 1
    assert config["data"]["init_args"]["batch_size"] == 16
    assert config["data"]["init_args"]["root"] == "my photos"
    given = yaml.safe_load(file.read_text())
    assert config["data"]["init_args"]["image_size"] == given["data"]["init_args"]["image_size"], "the rest stays"


def test_what_is_printed_can_be_run_and_printed_again(tiny: Tiny, call: Call, here: Path, store: Path) -> None:
    first = call("fit", "--config", tiny(), "--trainer.max_epochs", "1", "--print_config")
    (here / "again.yaml").write_text(first.stdout)
    assert printed(call("fit", "--config", "again.yaml", "--print_config")) == printed(first)
    done = call("fit", "--config", "again.yaml")
    assert done.returncode == 0, done.stderr
    assert "max_epochs=1 reached" in done.stdout


MISSPELT = {
    "an argument of the data": (("--data.batchsize", "1"), "Did you mean 'batch_size'?"),
    "an argument of the net": (("--model.net.hiden", "[8]"), "Did you mean 'hidden'?"),
    "an option of the trainer": (("--trainer.maxepochs", "1"), "Did you mean 'trainer.max_epochs'"),
    "the configuration": (("--confg", "a.yaml"), "Did you mean 'config'"),
}


@pytest.mark.parametrize("what", MISSPELT)
def test_a_misspelt_option_is_met_with_the_nearest(what: str, tiny: Tiny, call: Call) -> None:
    words, hint = MISSPELT[what]
    done = call("fit", "--config", tiny(), *words, "--print_config")
    assert (done.returncode, done.stdout) == (2, "")
    assert hint in done.stderr.replace("--", "")


def test_half_an_option_is_not_taken_for_the_whole(tiny: Tiny, call: Call) -> None:
    done = call("fit", "--config", tiny(), "--trainer.max_epoch", "1", "--print_config")
    assert done.returncode == 2
    assert "max_epochs" in done.stderr


WRONG = {
    "trainer.max_epochs": ("three", ("int", "three")),
    "data.layout": ("rowz", ("image", "rows", "flat", "rowz")),
    "data": ("DigitsDta", ("DigitsDta", "Did you mean 'plt_nn.DigitsData'")),
}


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_value_is_told_with_its_key_and_what_is_expected(key: str, tiny: Tiny, call: Call) -> None:
    value, words = WRONG[key]
    done = call("fit", "--config", tiny(), f"--{key}", value, "--print_config")
    assert (done.returncode, done.stdout) == (2, "")
    for word in (*key.split("."), *words):
        assert word in done.stderr
    for jargon in ("NestedArg", "Namespace", "Union", "NoneType", "<class"):
        assert jargon not in done.stderr


def test_without_a_configuration_the_way_to_give_one_is_told(call: Call) -> None:
    done = call("fit")
    assert done.returncode == 2
    assert "--config" in done.stderr


def test_one_callback_needs_no_list(tiny: Tiny, call: Call, store: Path) -> None:
    one = {"class_path": "plt_nn.BestLossStopping", "init_args": {"patience": 5}}
    done = call("fit", "--config", tiny(lambda config: config["trainer"].update(callbacks=one, max_epochs=1)))
    assert done.returncode == 0, done.stderr[-500:]
    assert "best val_loss" in done.stdout
