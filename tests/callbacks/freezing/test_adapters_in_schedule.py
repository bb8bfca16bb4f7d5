"""LoRA as a phase: trained in place of the weights, merged into one plain best model, resumed bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from safetensors.torch import load_file
from torch import Tensor

from plt_nn import BestLossStopping, Classifier, ConvNet, DigitsData, FreezingSchedule, Phase, TransformerNet
from plt_nn.callbacks import LoadWeights
from plt_nn.errors import ConfigError, WeightsError
from plt_nn.freezing import Adapt

Make = Callable[[], LightningModule]
Fit = Callable[..., Trainer]
LORA = Adapt(rank=2)
PHASES = [Phase("head"), Phase("all", start=2, adapt=LORA), Phase("last 1 stage", start=4)]


class Trained(Callback):
    """The names of what needs gradients at each epoch's first step."""

    def __init__(self) -> None:
        self.names: list[set[str]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 1:
            self.names.append({name for name, parameter in pl_module.named_parameters() if parameter.requires_grad})


def plain(make: Make) -> LightningModule:
    module = make()
    module.get_submodule("model.middle.3").p = 0.0  # type: ignore[assignment]
    return module


def test_adapters_are_trained_in_place_of_the_weights(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    module, trained = plain(stranger), Trained()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    layers = dict(module.named_modules())
    stopping = BestLossStopping(patience=20, dirpath=str(tmp_path))
    trainer = fit(module, max_epochs=4, callbacks=[FreezingSchedule(PHASES[:2]), stopping, trained])
    head = {"model.head.weight", "model.head.bias"}
    adapters = {f"model.{stage}.0.lora_{part}.adapter0.weight" for stage in ("stem", "middle", "last") for part in "AB"}
    assert trained.names == [head, head, head | adapters, head | adapters]
    assert {name: type(layer) for name, layer in module.named_modules()} == {n: type(m) for n, m in layers.items()}
    assert all(layer is layers[name] for name, layer in module.named_modules())
    moved = {name for name, tensor in module.state_dict().items() if not torch.equal(before[name], tensor)}
    assert moved == head | {f"model.{stage}.0.weight" for stage in ("stem", "middle", "last")}
    kept = load_file(tmp_path / "best.safetensors")
    assert kept.keys() == before.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in module.state_dict().items())
    (measured,) = trainer.validate(module, trainer.val_dataloaders, verbose=False)
    assert measured["val_loss"] == pytest.approx(stopping.progress.best, rel=1e-5)
    assert torch.linalg.matrix_rank(kept["model.middle.0.weight"] - before["model.middle.0.weight"], tol=1e-5) == 2


def test_an_interrupted_fit_gives_the_plain_net_back_too(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    class Interrupt(Callback):
        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            if trainer.global_step == 14:
                raise RuntimeError("as when memory runs out")

    module = plain(stranger)
    names = set(module.state_dict())
    stopping = BestLossStopping(patience=20, dirpath=str(tmp_path))
    with pytest.raises(RuntimeError, match="as when memory"):
        fit(module, max_epochs=4, callbacks=[FreezingSchedule(PHASES), stopping, Interrupt()])
    assert set(module.state_dict()) == names
    assert all(torch.equal(load_file(tmp_path / "best.safetensors")[name], module.state_dict()[name]) for name in names)


@pytest.mark.parametrize("step", [9, 10, 16, 18])
def test_resumed_it_is_bit_for_bit_the_same(stranger: Make, fit: Fit, tmp_path: Path, step: int) -> None:
    # The loaders of this job are not resumable: an epoch is one batch, so that a step is an epoch.
    settings = {"max_epochs": 20, "limit_train_batches": 1}
    adapted = Phase("all", start=10, adapt=Adapt(rank=2))
    phases = [Phase("head"), adapted, Phase("all", start=18)]

    def schedule() -> list[Callback]:
        return [FreezingSchedule(phases), BestLossStopping(patience=30, dirpath=str(tmp_path / "best"))]

    keep = ModelCheckpoint(tmp_path, "{step}", every_n_epochs=1, save_top_k=-1)
    whole = plain(stranger)
    fit(whole, callbacks=[*schedule(), keep], enable_checkpointing=True, **settings)
    resumed = plain(stranger)
    fit(resumed, callbacks=schedule(), ckpt_path=tmp_path / f"step={step}.ckpt", **settings)
    assert all(torch.equal(resumed.state_dict()[name], tensor) for name, tensor in whole.state_dict().items())


def test_weights_of_a_file_are_loaded_under_the_adapters(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    first = plain(stranger)
    fit(first, max_epochs=2, callbacks=[BestLossStopping(dirpath=str(tmp_path))])
    seen: list[Tensor] = []

    class See(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            seen.append(pl_module.get_parameter("model.stem.0.base_layer.weight").detach().clone())

    fit(
        plain(stranger),
        max_epochs=1,
        callbacks=[
            FreezingSchedule([Phase("all", adapt=LORA)]),
            LoadWeights(str(tmp_path / "best.safetensors")),
            See(),
        ],
    )
    assert torch.equal(seen[0], first.get_parameter("model.stem.0.weight"))


def test_a_checkpoint_with_adapters_is_for_resuming_alone(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, "at", enable_version_counter=False)
    trainer = fit(
        plain(stranger), max_epochs=3, callbacks=[FreezingSchedule(PHASES[:2]), keep], enable_checkpointing=True
    )
    with pytest.raises(WeightsError, match=r"holds them unmerged.*best\.safetensors"):
        trainer.validate(plain(stranger), trainer.val_dataloaders, ckpt_path=tmp_path / "at.ckpt", weights_only=True)


def test_a_checkpoint_without_adapters_can_be_resumed_with_some(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    first = plain(stranger)
    trainer = fit(first, max_epochs=3, callbacks=[FreezingSchedule(PHASES[:2])])
    trainer.save_checkpoint(tmp_path / "after.ckpt")  # under the names of the plain net
    seen: list[Tensor] = []

    class See(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            seen.append(pl_module.get_submodule("model.stem.0").weight.detach().clone())  # type: ignore[operator]

    fit(
        plain(stranger),
        max_epochs=4,
        callbacks=[FreezingSchedule(PHASES[:2]), See()],
        ckpt_path=tmp_path / "after.ckpt",
    )
    assert torch.equal(seen[0], first.get_parameter("model.stem.0.weight"))


def test_averaged_weights_are_refused(stranger: Make, fit: Fit) -> None:
    with pytest.raises(ConfigError, match="cannot be used with EMAWeightAveraging, which copies the net"):
        fit(plain(stranger), max_epochs=1, callbacks=[EMAWeightAveraging(), FreezingSchedule(PHASES)])


def test_our_own_classifier_and_data(tmp_path: Path) -> None:
    module = Classifier(TransformerNet(1, 16, 10, depth=2, heads=2, patch_size=2))
    before = {name: tensor.clone() for name, tensor in module.net.state_dict().items()}
    schedule = FreezingSchedule([{"train": "all", "adapt": {"kind": "lora", "rank": 2}}])
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = Trainer(max_epochs=1, callbacks=[schedule], accelerator="cpu", default_root_dir=tmp_path, **quiet)
    trainer.fit(module, datamodule=DigitsData(layout="image", batch_size=256))
    assert module.net.state_dict().keys() == before.keys()
    assert any(not torch.equal(before[name], tensor) for name, tensor in module.net.state_dict().items())


def test_layers_that_get_no_adapter_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = Classifier(ConvNet(1, [4, 8], 10), num_classes=10)
    module.net.add_module("grouped", torch.nn.Conv2d(4, 4, 3, groups=2))
    phases = [{"train": "all", "adapt": {"rank": 2}}]
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = Trainer(
        max_steps=1, callbacks=[FreezingSchedule(phases)], accelerator="cpu", default_root_dir=tmp_path, **quiet
    )
    with caplog.at_level("INFO"):
        trainer.fit(module, datamodule=DigitsData(layout="image", batch_size=256))
    assert "These layers get no adapter and stay frozen: net.grouped is a convolution in 2 groups" in caplog.text
