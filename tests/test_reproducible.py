"""The same seed on the same machine gives the same metrics bit for bit."""

from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from PIL import Image

from plt_nn import BestLossStopping, Classifier, FreezingSchedule, ImageFolderData, Phase, create_backbone


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of noisy images, one darker than the other."""
    root, noise = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for brightness, name in ((90, "dark"), (150, "light")):
        (root / name).mkdir()
        for number in range(24):
            pixels = noise.normal(brightness, 50, (48, 48, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def history(folder: Path, out: Path, seed: int, workers: int) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []

    class Rows(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            rows.append({name: float(value) for name, value in trainer.callback_metrics.items()})

    seed_everything(seed, verbose=False)
    net = create_backbone("timm/resnet10t", pretrained=False, model_args={"drop_path_rate": 0.1})
    phases = [Phase("head"), Phase("last 2 stages", start=1, norm="train"), Phase("all", start=2, norm="train")]
    Trainer(
        accelerator="cpu",
        max_epochs=3,
        callbacks=[FreezingSchedule(phases), BestLossStopping(dirpath=str(out)), Rows()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Classifier(net), ImageFolderData(str(folder), batch_size=8, image_size=32, num_workers=workers))
    return rows


@pytest.mark.slow
def test_the_same_seed_gives_the_same_metrics(folder: Path, tmp_path: Path) -> None:
    first = history(folder, tmp_path, seed=3, workers=0)
    assert len(first) == 3
    assert history(folder, tmp_path, seed=3, workers=0) == first
    assert history(folder, tmp_path, seed=3, workers=2) == first, "the number of workers does not matter"
    assert history(folder, tmp_path, seed=4, workers=0) != first
