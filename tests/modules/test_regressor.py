"""The regressor's numbers against scikit-learn over all data at once."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from torch import Tensor, nn
from torch.utils.data import DataLoader

from plt_nn import Regressor, SyntheticRegressionData
from plt_nn.errors import ConfigError, DataError

Make = Callable[..., Trainer]
Load = Callable[..., DataLoader[tuple[Tensor, ...]]]
Linear = Callable[[int, int], nn.Linear]


def data(targets: int) -> tuple[Tensor, Tensor]:
    """Targets of very unequal spread, so that a mean over batches or pooled targets would be another number."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(71, 4, generator=generator)
    return x, torch.randn(71, targets, generator=generator) * torch.tensor([1.0, 10.0, 0.1])[:targets] + 2.0


def held_still(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.0)


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_an_epoch_is_right_at_uneven_batches(
    loss: Any, targets: int, trainer: Make, loader: Load, linear: Linear
) -> None:
    net, (x, y) = linear(4, targets), data(targets)
    fitter = trainer(max_epochs=2)
    fitter.fit(Regressor(net, loss=loss, optimizer=held_still), loader(x, y), loader(x, y, batch_size=9))
    with torch.no_grad():
        output = net(x)
    expected = {
        "mse": float(mean_squared_error(y, output)),
        "mae": float(mean_absolute_error(y, output)),
        "huber": float(F.huber_loss(output, y)),
    }
    assert {name: float(value) for name, value in fitter.callback_metrics.items()} == pytest.approx(
        {
            "train_loss": expected[loss],
            "val_loss": expected[loss],
            "val_mae": expected["mae"],
            "val_r2": float(r2_score(y, output)),
        },
        rel=1e-4,
    )


def test_the_test_stage_has_names_of_its_own(trainer: Make, loader: Load, linear: Linear) -> None:
    metrics = trainer().test(Regressor(linear(4, 1)), loader(*data(1)), verbose=False)[0]
    assert set(metrics) == {"test_loss", "test_mae", "test_r2"}


def test_one_validation_sample_has_a_loss(trainer: Make, loader: Load, linear: Linear) -> None:
    x, y = data(1)
    metrics = trainer().validate(Regressor(linear(4, 1)), loader(x[:1], y[:1]), verbose=False)[0]
    assert math.isfinite(metrics["val_loss"])


def test_prediction_gives_values_and_the_samples_indices(trainer: Make, loader: Load, linear: Linear) -> None:
    net, (x, y) = linear(4, 3), data(3)
    index = torch.arange(71).flip(0)
    predictions: Any = trainer().predict(Regressor(net), loader(x, y, index))
    assert torch.cat([batch["index"] for batch in predictions]).equal(index)
    with torch.no_grad():
        torch.testing.assert_close(torch.cat([batch["values"] for batch in predictions]), net(x))


@pytest.mark.parametrize(("outputs", "shape"), [(1, (71,)), (2, (71, 1)), (1, (71, 2))])
def test_an_output_of_another_shape_than_the_targets(
    outputs: int, shape: tuple[int, ...], trainer: Make, loader: Load, linear: Linear
) -> None:
    x, y = data(1)[0], torch.zeros(shape)
    received = rf"output has shape \(32, {outputs}\), the targets have \(32,"
    with pytest.raises(DataError, match=received):
        trainer().fit(Regressor(linear(4, outputs)), loader(x, y))


def test_an_unknown_loss(linear: Linear) -> None:
    loss: Any = "mes"
    with pytest.raises(ConfigError, match=r"loss is 'mes'\. Did you mean 'mse'"):
        Regressor(linear(4, 1), loss=loss)


def test_the_training_loss_of_an_epoch_is_resumed_in_its_middle(trainer: Make, linear: Linear, tmp_path: Path) -> None:
    def train_losses(ckpt: Path | None = None, **arguments: Any) -> list[float]:
        losses = Losses()
        callbacks = [losses, ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=3, save_top_k=-1)]
        fitter = trainer(max_epochs=2, callbacks=callbacks, enable_checkpointing=True, **arguments)
        data = SyntheticRegressionData(batch_size=16)
        fitter.fit(Regressor(linear(2, 1)), data, ckpt_path=ckpt, weights_only=True)
        return losses.seen

    whole = train_losses()
    assert len(whole) == 2
    assert train_losses(tmp_path / "step=3.ckpt") == whole
    assert train_losses(tmp_path / "step=9.ckpt") == whole[1:]


class Losses(EarlyStopping):
    """Notes the training loss of each epoch; Lightning calls it after the module has logged."""

    def __init__(self) -> None:
        super().__init__("train_loss", patience=100)
        self.seen: list[float] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seen.append(float(trainer.callback_metrics["train_loss"]))
