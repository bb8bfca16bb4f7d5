"""What is wrong with a configuration is told before anything starts: all of it, where, and with the nearest names."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from plt_nn.cli.check import faults_in

Config = dict[str, Any]
Change = Callable[[Config], object]
Call = Callable[..., subprocess.CompletedProcess[str]]
Tiny = Callable[..., Path]


def net(class_path: str, **arguments: Any) -> Change:
    """Another net."""
    return lambda config: config["model"]["init_args"].update(net={"class_path": class_path, "init_args": arguments})


def callback(class_path: str, **arguments: Any) -> Change:
    """One more callback."""
    entry = {"class_path": class_path, "init_args": arguments}
    return lambda config: config["trainer"]["callbacks"].append(entry)


def phases(value: Any) -> Change:
    """A freezing schedule with these phases."""
    return callback("plt_nn.FreezingSchedule", phases=value)


def everything_at_once(config: Config) -> None:
    config.update(trainr={})
    config["trainer"]["max_epoch"] = 3
    config["trainer"]["callbacks"][0]["class_path"] = "plt_nn.BestLossStoping"
    phases([{"train": "head", "strt": 3}, {"train": "all", "lr_scale": -1}])(config)
    net("plt_nn.create_backbone", name="timm/resnt50", pretraind=False)(config)
    config["model"]["init_args"]["optimizer"]["class_path"] = "torch.optim.AdmW"
    config["data"]["init_args"]["batchsize"] = 64


def test_all_faults_are_told_together(tiny: Tiny, call: Call, here: Path) -> None:
    done = call("fit", "--config", tiny(everything_at_once))
    assert (done.returncode, done.stdout) == (2, "")
    for words in (
        "trainr: there is no such key. Did you mean 'trainer'?",
        "trainer.max_epoch: there is no such key. Did you mean 'max_epochs'",
        "trainer.callbacks.0.class_path: there is no 'plt_nn.BestLossStoping'. Did you mean 'plt_nn.BestLossStopping'?",
        "phases[0]: unknown key 'strt'. Did you mean 'start'?",
        "phases[1]: lr_scale is -1; expected a number above 0",
        "model.init_args.net.init_args: timm has no classification net 'resnt50'. Did you mean 'resnet50'",
        "model.init_args.net.init_args.pretraind: there is no such key. Did you mean 'pretrained'?",
        "model.init_args.optimizer.class_path: there is no 'torch.optim.AdmW'. Did you mean 'torch.optim.AdamW'",
        "data.init_args.batchsize: there is no such key. Did you mean 'batch_size'?",
    ):
        assert words in done.stderr
    assert not (here / "mlruns").exists(), "nothing has started"


def test_several_files_are_checked_together(tiny: Tiny, call: Call, here: Path) -> None:
    tiny(lambda config: config.update(trainr={}), "one.yaml")
    tiny(lambda config: config.update(modell={}), "two.yaml")
    done = call("fit", "--config", "one.yaml", "--config=two.yaml", "-c", "three.yaml")
    assert done.returncode == 2
    for words in ("one.yaml: trainr: ", "two.yaml: modell: ", "three.yaml: there is no such file."):
        assert words in done.stderr


ONE_FAULT: dict[str, tuple[Change, str]] = {
    "a key of the net": (
        net("plt_nn.MLP", in_features=64, hiden=[8], out_features=10),
        "model.init_args.net.init_args.hiden: there is no such key. Did you mean 'hidden'?",
    ),
    "a class of ours in a folder": (
        net("plt_nn.architectures.MPL"),
        "net.class_path: there is no 'plt_nn.architectures.MPL'. Did you mean 'plt_nn.architectures.MLP'",
    ),
    "a module that does not exist": (
        lambda config: config["data"].update(class_path="plt_nm.DigitsData"),
        "data.class_path: there is no 'plt_nm.DigitsData'. Did you mean 'plt_nn.DigitsData'",
    ),
    "arguments that are no mapping": (
        lambda config: config["data"].update(init_args=[1]),
        "data.init_args: expected a mapping of arguments, but found list",
    ),
    "a backbone without its library": (
        net("plt_nn.create_backbone", name="resnet18"),
        "The backbone is 'resnet18'; expected LIBRARY/NAME such as 'timm/resnet50'",
    ),
    "a library that does not exist": (
        net("plt_nn.create_backbone", name="tim/resnet18"),
        "Did you mean 'timm/resnet18'",
    ),
    "a value that a net refuses": (
        net("plt_nn.MLP", in_features=64, hidden=[8], out_features=10, activation="Relux"),
        "model.init_args.net.init_args: ",
    ),
    "a short name": (
        lambda config: config["trainer"]["callbacks"].append({"class_path": "BestLossStoping"}),
        "Did you mean 'plt_nn.BestLossStopping'",
    ),
    "a backbone that is no text": (net("plt_nn.create_backbone", name=None), "model.init_args.net.init_args: "),
    "a class that is a module": (lambda config: config["model"].update(class_path="torch.optim"), "torch.optim"),
    "phases that are no list": (phases("head"), "phases"),
    "a phase that is no mapping": (phases(["head", "all"]), "phases"),
    "no phases": (phases(None), "there is no phase"),
    "text for a number deep in the model": (
        lambda config: config["model"]["init_args"]["optimizer"].update(
            class_path="torch.optim.AdamW", init_args={"lr": "fast"}
        ),
        "plt-nn: model.optimizer.lr: expected a float, got 'fast'.\n",
    ),
    "text for a number of a callback": (
        callback("plt_nn.BestLossStopping", patience="six"),
        "plt_nn.BestLossStopping: patience: Expected a int. Got value: six\n",
    ),
    "one phase without a list": (phases({"train": "head"}), "phases"),
}


@pytest.mark.parametrize("fault", ONE_FAULT)
def test_a_fault_is_told_in_a_sentence(fault: str, tiny: Tiny, call: Call) -> None:
    change, words = ONE_FAULT[fault]
    done = call("fit", "--config", tiny(change))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert words in done.stderr


def test_a_phase_is_not_blamed_for_the_one_before_it(tiny: Tiny, call: Call) -> None:
    done = call("fit", "--config", tiny(phases([{"train": "head", "strt": 3}, {"train": "all", "start": 2}])))
    assert "phases[0]: unknown key 'strt'" in done.stderr
    assert "phases[1]" not in done.stderr


# What a constructor refuses, beyond names: it is said in the constructor's own words and nothing else.
REFUSED: dict[str, tuple[Change, str]] = {
    "Classifier": (
        lambda config: config["model"]["init_args"].update(label_smoothing=2.0),
        "plt-nn: label_smoothing is 2.0; expected at least 0 and below 1.\n",
    ),
    "BestLossStopping": (
        lambda config: config["trainer"]["callbacks"][0]["init_args"].update(patience=0),
        "plt-nn: BestLossStopping cannot be used:\n  - patience is 0; expected at least 1.\n",
    ),
    "DigitsData": (
        lambda config: config["data"]["init_args"].update(layout="image", image_size=4),
        "plt-nn: DigitsData cannot be used:\n"
        "  - image_size is 4; the scans have 8 pixels a side, and can only be enlarged.\n",
    ),
}


@pytest.mark.parametrize("who", REFUSED)
def test_what_a_constructor_refuses(who: str, tiny: Tiny, call: Call) -> None:
    change, words = REFUSED[who]
    done = call("fit", "--config", tiny(change))
    assert done.returncode == 2
    assert done.stderr.endswith(words), done.stderr
    assert "Traceback" not in done.stderr


def test_weights_that_are_not_there(tiny: Tiny, call: Call) -> None:
    backbone = net("plt_nn.create_backbone", name="timm/test_resnet", pretrained="nowhere.safetensors", num_classes=10)
    done = call("fit", "--config", tiny(backbone))
    assert done.returncode in (1, 2)
    assert "There is no file of weights at 'nowhere.safetensors'" in done.stderr
    assert "Traceback" not in done.stderr


BROKEN = {
    "no YAML": (b"trainer: [1\nmodel: }", "this is not YAML: while parsing a flow sequence"),
    "empty": (b"", "expected a mapping with keys such as 'trainer', 'model' and 'data'"),
    "a list": (b"- 1\n", "expected a mapping with keys such as 'trainer', 'model' and 'data', but found list"),
    "no text": (b"\xff\xfe\x00a", "this is not YAML"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_no_configuration(kind: str, here: Path, call: Call) -> None:
    content, words = BROKEN[kind]
    (here / "a.yaml").write_bytes(content)
    done = call("fit", "--config", "a.yaml")
    assert done.returncode == 2
    assert f"a.yaml: {words}" in done.stderr


def test_a_file_that_is_not_there(tiny: Tiny, call: Call) -> None:
    tiny(name="finetune.yaml")
    done = call("fit", "--config", "finetun.yaml")
    assert done.returncode == 2
    assert "finetun.yaml: there is no such file. Did you mean finetune.yaml?" in done.stderr
    assert "Did you mean" not in call("fit", "--config", "nowhere/zzz.yaml").stderr


def test_a_good_configuration_has_no_faults(tiny: Tiny) -> None:
    assert list(faults_in(yaml.safe_load(tiny().read_text()))) == []
