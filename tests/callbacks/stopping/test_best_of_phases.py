"""The best over several phases: of the whole run, or of the last phase; patience begins anew with each phase."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from plt_nn import BestLossStopping, FreezingSchedule, Phase
from plt_nn.errors import ConfigError

Make = Callable[[], LightningModule]
Fit = Callable[..., Trainer]


def given_losses(module: LightningModule, losses: list[float]) -> LightningModule:
    values = iter(losses)

    def validation_step(batch: list[Tensor], batch_idx: int) -> None:
        module.log("val_loss", next(values))

    module.validation_step = validation_step  # type: ignore[method-assign]
    return module


def run(make: Make, fit: Fit, folder: Path, losses: list[float], **arguments: object) -> tuple[BestLossStopping, int]:
    stopping = BestLossStopping(dirpath=str(folder), **arguments)  # type: ignore[arg-type]
    schedule = FreezingSchedule([Phase("head"), Phase("last 1 stage", start=3)])
    module = given_losses(make(), losses)
    trainer = fit(module, max_epochs=len(losses), callbacks=[stopping, schedule], num_sanity_val_steps=0)
    return stopping, trainer.current_epoch


def test_patience_begins_anew_with_a_phase(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    losses = [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    stopping, epochs = run(stranger, fit, tmp_path, losses, patience=3)
    assert epochs == 6, "three checks in the second phase, not one"
    assert stopping.progress.best == 1.0


@pytest.mark.parametrize(("best_of", "best", "epoch"), [("run", 1.0, 0), ("phase", 1.5, 4)])
def test_which_best_is_kept(
    stranger: Make, fit: Fit, tmp_path: Path, best_of: Literal["run", "phase"], best: float, epoch: int
) -> None:
    stopping, _ = run(stranger, fit, tmp_path, [1.0, 2.0, 2.0, 3.0, 1.5, 1.6], patience=9, best_of=best_of)
    assert stopping.progress.best == best
    assert stopping.progress.best_at is not None
    assert stopping.progress.best_at.epochs == epoch
    assert stopping.best_metrics["val_loss"] == best


def test_until_the_first_check_of_a_phase_the_best_of_the_phase_before_is_kept(
    stranger: Make, fit: Fit, tmp_path: Path
) -> None:
    stopping = BestLossStopping(dirpath=str(tmp_path), best_of="phase")
    schedule = FreezingSchedule([Phase("head"), Phase("all", start="10 steps")])
    module = given_losses(stranger(), [2.0, 1.0, 3.0])
    fit(module, max_epochs=9, max_steps=11, callbacks=[stopping, schedule], num_sanity_val_steps=0)
    assert schedule.current == 1
    assert stopping.progress.best == 1.0


def test_another_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="best_of is 'epoch'; expected 'run' or 'phase'"):
        BestLossStopping(best_of="epoch")  # type: ignore[arg-type]
