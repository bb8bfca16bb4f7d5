"""When training stops, what is kept, and what a person is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from plt_nn import BestLossStopping, FreezingSchedule, Phase, Regressor
from plt_nn.callbacks.stopping.best_weights import BestWeights, save_weights
from plt_nn.errors import ConfigError, TrainingError

Make = Callable[[], LightningModule]
Fit = Callable[..., Trainer]


class Losses(LightningModule):
    """Logs the losses that it is given, an epoch each, and has one weight, which holds the number of steps taken."""

    def __init__(self, losses: list[float], train_losses: list[float] | None = None) -> None:
        super().__init__()
        self.net = nn.Linear(4, 1)
        self.losses, self.train_losses = losses, train_losses

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss: Tensor = self.net(batch[0]).mean() * 0.0
        with torch.no_grad():
            self.net.bias.fill_(self.global_step + 1)
        if self.train_losses is not None:
            loss = loss + self.train_losses[self.global_step]
            self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        if not self.trainer.sanity_checking:
            self.log("val_loss", torch.tensor(self.losses[self.current_epoch]))
            self.log("val_acc", torch.tensor(1.0 - self.losses[self.current_epoch]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_stops_after_patience_and_keeps_the_lowest(fit: Fit, tmp_path: Path) -> None:
    module = Losses([0.9, 0.5, 0.6, 0.7, 0.8, 0.1])
    stopping = BestLossStopping(patience=3, dirpath=str(tmp_path))
    trainer = fit(module, max_epochs=6, callbacks=[stopping])
    assert trainer.current_epoch == 5
    assert stopping.progress.best == pytest.approx(0.5)
    assert stopping.describe_best() == "0.5 at epoch 1, step 8"
    assert stopping.stop_reason == "val_loss has not improved for 3 epochs"
    assert stopping.best_metrics == pytest.approx({"val_loss": 0.5, "val_acc": 0.5})
    assert module.net.bias.item() == 8
    with safe_open(tmp_path / "best.safetensors", "pt") as file:
        assert file.get_tensor("net.bias").item() == 8
        told = file.metadata()
    assert {key: told[key] for key in ("monitor", "epoch", "step")} == {
        "monitor": "val_loss",
        "epoch": "1",
        "step": "8",
    }
    assert float(told["value"]) == pytest.approx(0.5)
    assert json.loads(told["metrics"])["val_acc"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "epochs"),
    [
        ({"patience": 8, "unit": "steps"}, 4),  # the best is at step 8; 4 steps an epoch
        ({"patience": 1, "unit": "checks"}, 3),
        ({"patience": 2, "min_delta": 0.45}, 3),  # the gain of 0.4 does not renew patience
        ({"patience": 2, "monitor": "val_acc", "mode": "max"}, 4),
    ],
)
def test_patience_in_other_units(fit: Fit, tmp_path: Path, arguments: dict[str, Any], epochs: int) -> None:
    module = Losses([0.9, 0.5, 0.6, 0.7, 0.8, 0.9])
    stopping = BestLossStopping(**arguments, dirpath=str(tmp_path))
    trainer = fit(module, max_epochs=6, callbacks=[stopping])
    assert trainer.current_epoch == epochs
    assert module.net.bias.item() == 8, "the best is the lowest, however small the gain"


def test_a_training_loss_can_be_watched_step_by_step(fit: Fit, tmp_path: Path) -> None:
    module = Losses([0.0] * 6, train_losses=[5.0, 4.0, 3.0, 3.5, 3.4, 3.3, 3.2, 3.1, 1.0, 1.0])
    stopping = BestLossStopping(monitor="train_loss", patience=4, unit="steps", dirpath=str(tmp_path))
    trainer = fit(module, max_epochs=6, callbacks=[stopping])
    assert trainer.global_step == 7
    assert module.net.bias.item() == 3


def test_a_training_loss_can_be_watched_by_epochs(fit: Fit, tmp_path: Path) -> None:
    module = Losses([0.0] * 6, train_losses=[5.0] * 4 + [4.0] * 4 + [6.0] * 16)
    stopping = BestLossStopping(monitor="train_loss", patience=2, dirpath=str(tmp_path))
    trainer = fit(module, max_epochs=6, callbacks=[stopping])
    assert trainer.current_epoch == 4
    assert stopping.progress.best == pytest.approx(4.0)
    assert module.net.bias.item() == 8


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_at_once_with_the_best(fit: Fit, tmp_path: Path, bad: float) -> None:
    module = Losses([0.9, 0.5, bad, 0.1])
    stopping = BestLossStopping(patience=10, dirpath=str(tmp_path))
    trainer = fit(module, max_epochs=4, callbacks=[stopping])
    assert trainer.current_epoch == 3
    assert stopping.stop_reason == f"val_loss is {bad} at epoch 2, step 12; the best so far is kept"
    assert module.net.bias.item() == 8


def test_a_loss_that_is_never_finite_is_an_error(fit: Fit) -> None:
    with pytest.raises(TrainingError, match="val_loss is nan at epoch 0, step 4, before there was any best to keep"):
        fit(Losses([float("nan")]), max_epochs=4, callbacks=[BestLossStopping()])


def test_a_training_loss_that_is_not_finite_is_noticed_before_the_epoch_ends(fit: Fit) -> None:
    module = Losses([0.5] * 20, train_losses=[1.0] * 30 + [float("nan")] * 100)
    stopping = BestLossStopping(patience=50)
    trainer = fit(module, max_epochs=20, callbacks=[stopping])
    assert stopping.stop_reason == "the training loss is nan at epoch 12, step 50; the best so far is kept"
    assert trainer.global_step == 50
    assert module.net.bias.item() == 4


def test_a_missing_metric_lists_those_that_exist(fit: Fit) -> None:
    with pytest.raises(ConfigError) as caught:
        fit(Losses([0.5] * 3), max_epochs=3, callbacks=[BestLossStopping(monitor="vall_loss")])
    assert "watches 'vall_loss', which is not logged. Did you mean 'val_loss'" in str(caught.value)
    assert "Logged: val_acc, val_loss." in str(caught.value)


def test_a_metric_of_steps_alone_says_how_it_can_be_watched(stranger: Make, fit: Fit) -> None:
    with pytest.raises(ConfigError, match="which is logged at each step only"):
        fit(stranger(), max_epochs=2, callbacks=[BestLossStopping(monitor="train_loss")])


def test_a_misspelt_metric_of_validation_is_told_before_training(stranger: Make, fit: Fit) -> None:
    module = stranger()
    before = module.get_parameter("model.head.weight").clone()
    with pytest.raises(ConfigError, match="Did you mean 'val_loss'"):
        fit(module, max_epochs=2, callbacks=[BestLossStopping(monitor="val_los")])
    assert torch.equal(module.get_parameter("model.head.weight"), before)


def test_without_validation_its_metric_cannot_be_watched(stranger: Make, fit: Fit) -> None:
    with pytest.raises(ConfigError, match="this fit has no validation"):
        fit(stranger(), max_epochs=2, limit_val_batches=0, callbacks=[BestLossStopping()])


@pytest.mark.parametrize(
    "arguments", [{"max_steps": 2}, {"max_epochs": 3, "check_val_every_n_epoch": None, "val_check_interval": 6}]
)
def test_a_validation_that_comes_later_or_never_is_no_fault(
    stranger: Make, fit: Fit, arguments: dict[str, Any]
) -> None:
    trainer = fit(stranger(), **arguments, callbacks=[BestLossStopping()])
    assert trainer.global_step == (2 if "max_steps" in arguments else 12)


def test_our_modules_training_loss_can_be_watched(fit: Fit, tmp_path: Path) -> None:
    module = Regressor(nn.Linear(4, 1))
    stopping = BestLossStopping(monitor="train_loss", dirpath=str(tmp_path))
    fit(module, max_epochs=3, limit_val_batches=0, callbacks=[stopping])
    assert stopping.progress.best_at is not None
    assert stopping.progress.best_at.epochs == 2, "the loss of a linear net falls"


def test_a_run_has_one_best_model(stranger: Make, fit: Fit) -> None:
    with pytest.raises(RuntimeError, match="more than one stateful callback of type `BestLossStopping`"):
        fit(stranger(), max_epochs=1, callbacks=[BestLossStopping(), BestLossStopping(monitor="train_loss")])


def test_a_fast_dev_run_writes_nothing(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    fit(stranger(), fast_dev_run=True, callbacks=[BestLossStopping(dirpath=str(tmp_path / "best"))])
    assert not (tmp_path / "best").exists()


def test_arguments_out_of_range_are_named_together() -> None:
    with pytest.raises(ConfigError) as caught:
        BestLossStopping(mode="low", patience=0, unit="days", min_delta=-1.0)  # type: ignore[arg-type]
    for fault in ("mode is 'low'", "patience is 0", "unit is 'days'", "min_delta is -1.0"):
        assert fault in str(caught.value)


def test_without_restore_the_last_weights_stay(fit: Fit, tmp_path: Path) -> None:
    module = Losses([0.5, 0.9, 0.9])
    fit(module, max_epochs=3, callbacks=[BestLossStopping(restore=False, dirpath=str(tmp_path))])
    assert module.net.bias.item() == 12
    assert load_file(tmp_path / "best.safetensors")["net.bias"].item() == 4


def test_a_resumed_run_remembers_the_best_and_obeys_a_changed_patience(fit: Fit, tmp_path: Path) -> None:
    losses = [0.9, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9, 0.9]
    keep = ModelCheckpoint(tmp_path, "at", enable_version_counter=False)
    first = BestLossStopping(patience=20, dirpath=str(tmp_path / "first"))
    fit(Losses(losses), max_epochs=3, callbacks=[first, keep], enable_checkpointing=True)
    module, second = Losses(losses), BestLossStopping(patience=4, dirpath=str(tmp_path / "second"))
    trainer = fit(module, max_epochs=9, callbacks=[second], ckpt_path=tmp_path / "at.ckpt")
    assert trainer.current_epoch == 6
    assert second.progress.best == pytest.approx(0.5)
    assert module.net.bias.item() == 8, "the best weights came with the checkpoint, not from the first run's folder"
    assert load_file(tmp_path / "second" / "best.safetensors")["net.bias"].item() == 8


def test_what_is_thawed_after_the_best_is_put_back_as_well(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    seen: list[dict[str, Tensor]] = []

    class Spoil(Callback):
        """Makes epoch 0, in which the head alone is trained, the best."""

        def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if not trainer.sanity_checking:
                seen.append({name: tensor.clone() for name, tensor in pl_module.state_dict().items()})

        def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch >= 1:
                for group in trainer.optimizers[0].param_groups:
                    group["lr"] = 100.0

    module = stranger()
    stopping = BestLossStopping(patience=10, dirpath=str(tmp_path))
    phases = [Phase("head"), Phase("all", start=1, norm="train")]
    fit(module, max_epochs=3, callbacks=[stopping, FreezingSchedule(phases), Spoil()])
    assert stopping.progress.best_at is not None
    assert stopping.progress.best_at.epochs == 0
    last, best = seen[-1], seen[0]
    assert not torch.equal(last["model.stem.0.weight"], best["model.stem.0.weight"])
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, best[name]), name


def test_only_what_can_change_is_held() -> None:
    net = nn.Sequential(nn.Linear(100, 100), nn.BatchNorm1d(100), nn.Linear(100, 2))
    net[0].requires_grad_(False)
    weights = BestWeights(net)
    weights.capture()
    assert {name for name in weights.held() if name.startswith("0.")} == set()
    net[0].requires_grad_(True)
    net[1].requires_grad_(False)  # as many tensors as are thawed
    weights.hold_thawed()
    assert {"0.weight", "0.bias", "1.running_mean", "2.weight"} <= weights.held().keys()


def test_tied_weights_can_be_written(tmp_path: Path) -> None:
    shared = torch.randn(3, 3)
    save_weights({"a": shared, "b": shared, "c": shared.T}, tmp_path / "best.safetensors", {})
    read = load_file(tmp_path / "best.safetensors")
    assert torch.equal(read["a"], shared)
    assert torch.equal(read["b"], shared)
    assert torch.equal(read["c"], shared.T)


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "best.safetensors"
    save_weights({"a": torch.zeros(2)}, path, {})

    def full_disk(*arguments: object) -> None:
        Path(str(arguments[1])).write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("plt_nn.callbacks.stopping.best_weights.save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_weights({"a": torch.ones(2)}, path, {})
    assert load_file(path)["a"].tolist() == [0.0, 0.0]
    assert [file.name for file in tmp_path.iterdir()] == ["best.safetensors"]
