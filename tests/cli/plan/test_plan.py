"""`plt-nn plan` on real configurations and backbones: the numbers, and nothing left behind."""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from plt_nn.cli.plan.command import run
from plt_nn.errors import ConfigError

DIGITS = Path(__file__).parents[3] / "experiments" / "finetune_digits.yaml"
PHOTOS = DIGITS.with_name("finetune_photos.yaml")
PHASES = "head; last 2 stages @3; all @6"
Print = Callable[..., str]
Tiny = Callable[..., Path]

USERS = """
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import CSVLogger
from torch import nn, optim


class Plain(LightningModule):
    "Knows nothing of plt_nn, has no forward, and asks the trainer how long it will train."

    def __init__(self, broken: bool = False) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
        self.broken = broken

    def configure_optimizers(self):
        assert not self.broken, "this module is broken"
        made = optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        steps = self.trainer.estimated_stepping_batches
        return [made], [optim.lr_scheduler.OneCycleLR(made, max_lr=0.5, total_steps=steps)]

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])


class NeverLogger(CSVLogger):
    def __init__(self) -> None:
        raise AssertionError("a logger was made")
"""


@pytest.fixture
def prints(capfd: pytest.CaptureFixture[str]) -> Print:
    """What `plt-nn plan` prints for these words."""

    def plan(*words: str | Path) -> str:
        capfd.readouterr()
        assert run(["plan", *map(str, words)]) == 0
        out, err = capfd.readouterr()
        assert not err
        return out

    return plan


@pytest.fixture
def told(prints: Print) -> Callable[..., Any]:
    """The same as data."""
    return lambda *words: json.loads(prints(*words, "--format", "json"))


@pytest.fixture
def scheduled(tiny: Tiny) -> Tiny:
    """Writes the tiny configuration with a freezing schedule."""

    def write(change: Callable[[dict[str, Any]], object] = lambda config: None) -> Path:
        def with_schedule(config: dict[str, Any]) -> None:
            phases = [{"train": "head"}, {"train": "all", "start": 2, "lr_scale": 0.1}]
            config["trainer"]["callbacks"].append(
                {"class_path": "plt_nn.FreezingSchedule", "init_args": {"phases": phases}}
            )
            change(config)

        return tiny(with_schedule)

    return write


@pytest.fixture
def users(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module and a logger of a user's own, as `users_own.Plain` and `users_own.NeverLogger`."""
    (here / "users_own.py").write_text(USERS)
    monkeypatch.syspath_prepend(str(here))


# -- a configuration -------------------------------------------------------------------------------------------------


def test_the_plan_of_the_digits(told: Callable[..., Any], here: Path) -> None:
    plan = told("--config", DIGITS)
    head, last, everything = plan["phases"]
    assert (head["trained"], head["trained"] + head["frozen"]) == (1280 * 10 + 10, 3_383_818), "a head for ten digits"
    assert [stage["name"] for stage in last["stages"] if stage["trained"]] == [
        *("blocks.5", "blocks.6", "conv_head", "head")
    ]
    assert last["stages"][-1]["learning_rates"] == [0.0015]
    assert last["settings"] == ["lr_scale 0.5", "norm train"]
    assert everything["frozen"] == 0
    assert everything["gradient_bytes"] == 4 * 3_383_818
    assert 2 <= everything["optimizer_bytes"] / everything["gradient_bytes"] < 2.01, "AdamW"
    assert plan["input_shapes"] == [[3, 64, 64]]
    assert head["flops"]["forward"] == everything["flops"]["forward"]
    assert head["flops"]["backward"] == 2 * 1280 * 10
    assert 1.9 < everything["flops"]["backward"] / everything["flops"]["forward"] < 2
    assert not plan["notes"]
    assert not list(here.iterdir()), "a plan leaves nothing behind"


def test_the_text_names_the_phases_and_folds_what_is_frozen(prints: Print) -> None:
    text = prints("--config", DIGITS, "--phases", "head; blocks.6 @1")
    assert "timm/tf_efficientnet_lite0" in text.splitlines()[0]
    assert "Phase 1: blocks.6, from epoch 1" in text
    assert re.search(r"^stem … blocks\.5 \(7 stages\) +frozen +[\d,]+$", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 100


def test_absent_data_is_said_and_the_rest_told(told: Callable[..., Any]) -> None:
    plan = told("--config", PHOTOS)
    (note,) = plan["notes"]
    assert "There is no folder photos" in note
    assert plan["input_shapes"] == [[3, 128, 128]]
    assert plan["phases"][0]["trained"] == 1280 * 1000 + 1000
    assert plan["phases"][1]["stages"][-1]["learning_rates"] == [1e-5]


def test_the_data_says_the_classes_and_its_images_are_not_opened(told: Callable[..., Any], here: Path) -> None:
    for name in ("ants", "bees", "wasps"):
        (here / "insects" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (16, 16)).save(here / "insects" / name / f"{number}.png")
    (here / "insects" / "ants" / "0.png").write_text("no image")
    plan = told("--config", PHOTOS, "--data.root", "insects", "--data.image_size", "64")
    assert plan["phases"][0]["trained"] == 3 * 1281
    assert plan["input_shapes"] == [[3, 64, 64]]
    assert not plan["notes"]


def test_weights_are_not_downloaded(scheduled: Tiny, told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plt_nn.backbones.timm_nets.download", lambda *arguments: pytest.fail("weights were asked for"))

    def pretrained(config: dict[str, Any]) -> None:
        net = {"class_path": "plt_nn.create_backbone", "init_args": {"name": "timm/resnet10t"}}
        config["model"]["init_args"]["net"] = net
        config["data"]["init_args"] = {"image_size": 32, "channels": 3}

    plan = told("--config", scheduled(pretrained))
    assert plan["phases"][0]["trained"] == 512 * 10 + 10
    assert plan["title"].endswith(", timm/resnet10t")


def test_a_configuration_for_other_machines_is_planned_here(
    scheduled: Tiny, told: Callable[..., Any], users: None
) -> None:
    config = scheduled(lambda config: config["trainer"].update(logger={"class_path": "users_own.NeverLogger"}))
    words = ("--trainer.accelerator", "gpu", "--trainer.devices", "8", "--trainer.strategy", "fsdp")
    whole = told("--config", config)
    half = told("--config", config, *words, "--trainer.precision", "bf16-true")
    for full, halved in zip(whole["phases"], half["phases"], strict=True):
        assert halved["gradient_bytes"] * 2 == full["gradient_bytes"]
        assert halved["flops"] == full["flops"]


def test_a_users_own_module_is_planned_as_it_stands(scheduled: Tiny, told: Callable[..., Any], users: None) -> None:
    plan = told("--config", scheduled(lambda config: config.update(model={"class_path": "users_own.Plain"})))
    head, everything = plan["phases"]
    assert not plan["notes"]
    assert head["flops"] == {"forward": 2 * (64 * 16 + 16 * 10), "backward": 2 * 16 * 10}
    assert [stage["learning_rates"] for stage in everything["stages"]] == [[0.05], [0.05]], "a tenth of OneCycle's top"
    assert everything["optimizer_bytes"] == everything["gradient_bytes"] == 4 * (64 * 16 + 16 + 16 * 10 + 10)


def test_what_a_users_module_cannot_do_is_said(scheduled: Tiny, told: Callable[..., Any], users: None) -> None:
    model = {"class_path": "users_own.Plain", "init_args": {"broken": True}}
    plan = told("--config", scheduled(lambda config: config.update(model=model)))
    assert plan["notes"][0] == "Plain: configure_optimizers failed: this module is broken."
    assert plan["phases"][0]["optimizer_bytes"] is None
    assert plan["phases"][0]["flops"]["backward"] == 2 * 16 * 10


def test_a_configuration_without_a_schedule(tiny: Tiny, told: Callable[..., Any]) -> None:
    config = tiny()
    with pytest.raises(ConfigError, match=r"(?s)has no FreezingSchedule.*class_path: plt_nn\.Freezing.*--phases"):
        run(["plan", "--config", str(config)])
    assert [phase["trained"] for phase in told("--config", config, "--phases", "head; all @1")["phases"]] == [170, 1210]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--config", "absent.yaml"), "there is no such file"),
        (("--config", DIGITS, "--lr", "0.1"), "--lr: only with --backbone"),
        (("--config", DIGITS, "--data.imge_size", "8"), "Did you mean 'image_size'"),
        (("--config", DIGITS, "--modle", "8"), "Did you mean 'model'"),
        (("--config", DIGITS, "--phases", "haed"), "Did you mean 'head'"),
        (("--config", DIGITS, "--phases", "head; all @"), "needs one start after one '@'"),
        (("--backbone", "timm/resnet5", "--phases", "head"), "Did you mean"),
        (("--backbone", "timm/resnet10t", "--phases", "last 9 stages"), "this net has 5 before its head"),
        (("--backbone", "timm/resnet10t", "--phases", "head", "--num-classes", "0"), "num_classes is 0"),
        (("--backbone", "timm/resnet10t", "--phases", "head", "--size", "0"), "--size is 0"),
        (("--backbone", "timm/resnet10t", "--phases", "head", "--lr", "-1"), "Invalid learning rate"),
        (("--backbone", "timm/resnet10t", "--phases", "head", "--optimizer", "Adamm"), "Did you mean 'Adam'"),
        (("--backbone", "timm/resnet10t", "--phases", "head", "--optimizer", "timm/none"), "none not found"),
        (("--backbone", "timm/resnet10t", "--phases", "head", "--optimizer", "SGD momentum"), "expected key=value"),
        (("--backbone", "timm/resnet10t", "--phases", "head", "--optimizer", "SGD mass=1"), "unexpected keyword"),
    ],
)
def test_mistakes_are_told_in_a_sentence(words: tuple[str | Path, ...], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run(["plan", *map(str, words)])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give --config FILE.yaml, or --backbone NAME and --phases"),
        (("--backbone", "timm/resnet10t"), "--backbone needs phases"),
        (("--backbone", "timm/resnet10t", "--phases", "head", "--config", "a.yaml"), "goes without a configuration"),
        (("--backbone", "timm/resnet10t", "--phases", "head", "--colour", "red"), "without --colour red"),
    ],
)
def test_a_call_that_says_too_little_or_too_much(
    words: tuple[str, ...], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["plan", *words])
    assert caught.value.code == 2
    assert message in capfd.readouterr().err


def test_adapters_are_put_in_and_counted(scheduled: Tiny, told: Callable[..., Any]) -> None:
    pytest.importorskip("peft")
    plan = told("--config", scheduled(), "--phases", "head; all @1 adapt.rank=2; all @2")
    assert [phase["trained"] for phase in plan["phases"]] == [170, 170 + 2 * (64 + 16), 1210]
    adapted = plan["phases"][1]
    assert adapted["stages"][0]["learning_rates"] == [0.01]
    assert adapted["gradient_bytes"] == 4 * 330
    # of the head's weight and input, and of the adapters: each one's weight, and what goes from the second to the first
    assert adapted["flops"]["backward"] == 2 * (2 * 16 * 10) + 2 * (64 * 2 + 2 * 2 * 16)
    assert not plan["notes"]


# -- a backbone ------------------------------------------------------------------------------------------------------


def test_the_plan_of_resnet50(told: Callable[..., Any], here: Path) -> None:
    plan = told("--backbone", "timm/resnet50", "--phases", PHASES)
    assert [(phase["trained"], phase["frozen"]) for phase in plan["phases"]] == [
        (2_049_000, 23_508_032),
        (24_112_104, 1_444_928),
        (25_557_032, 0),
    ]
    # 4.09 G multiply-adds at 224 px, as torchvision and the paper's tables have it
    assert plan["everything"]["forward"] / 2 == pytest.approx(4.09e9, rel=2e-3)
    assert plan["phases"][0]["flops"]["backward"] == 2 * 2048 * 1000
    assert plan["phases"][2]["stages"][0]["learning_rates"] == [0.001]
    assert not plan["notes"]
    assert not list(here.iterdir())


def test_classes_size_rate_and_optimizer_can_be_given(told: Callable[..., Any]) -> None:
    words = ("--backbone", "timm/vit_tiny_patch16_224", "--phases", "head; all @1 layer_decay=0.5")
    more = ("--num-classes", "7", "--size", "96", "--lr", "0.1", "--optimizer", "SGD momentum=0.9 nesterov=True")
    plan = told(*words, *more)
    head, everything = plan["phases"]
    assert head["trained"] == 192 * 7 + 7
    assert plan["input_shapes"] == [[3, 96, 96]]
    assert head["optimizer_bytes"] == head["gradient_bytes"]
    rates = [stage["learning_rates"][0] for stage in everything["stages"]]
    assert rates == pytest.approx([0.1 * 0.5**distance for distance in range(len(rates) - 1, -1, -1)])
    assert not plan["notes"]


@pytest.mark.parametrize("name", ["torchvision/vit_b_16", "torchvision/mobilenet_v3_small", "timm/tf_efficientnet_b0"])
def test_a_net_of_either_library_at_another_size(name: str, told: Callable[..., Any]) -> None:
    plan = told("--backbone", name, "--phases", "head; all @1", "--size", "64", "--optimizer", "timm/lamb")
    assert plan["optimizers"] == ["Lamb"]
    assert 1.8 < plan["everything"]["backward"] / plan["everything"]["forward"] < 2
    assert not plan["notes"]


def test_markdown_is_a_table_per_phase(prints: Print) -> None:
    found = prints("--backbone", "timm/resnet10t", "--phases", PHASES, "--format", "md")
    assert found.startswith("### timm/resnet10t\n")
    assert len(re.findall(r"^#### Phase \d: ", found, re.MULTILINE)) == 3
    assert found.count("| Stage | Trained | Frozen | Learning rate |") == 3


def test_on_a_terminal_there_is_colour(prints: Print, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--backbone", "timm/resnet10t", "--phases", "head")
    plain = prints(*words)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = prints(*words)
    assert "\x1b[" in coloured
    without = re.sub(r"\x1b\[[\d;]*m", "", coloured)
    assert [line.rstrip() for line in without.splitlines()] == plain.splitlines()


def test_where_there_are_no_lines_to_draw_with_dashes_will_do(prints: Print, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--backbone", "timm/resnet10t", "--phases", "head")
    drawn = prints(*words)
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    run(["plan", *words])
    sys.stdout.flush()
    assert written.getvalue().decode("ascii") == drawn.replace("─", "-").replace("…", "..")
