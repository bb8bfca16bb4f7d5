"""Early stopping on the best loss: remember the lowest, stop when it does not get lower, keep its weights."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer

from plt_nn.callbacks.lightning.callback_order import sort_callbacks
from plt_nn.callbacks.lightning.monitored import logged_by_this_loop, missing_metric, require_validation
from plt_nn.callbacks.lightning.run_folder import run_folder
from plt_nn.callbacks.lightning.run_logger import run_loggers
from plt_nn.callbacks.lightning.strategies import require_whole_parameters
from plt_nn.callbacks.lightning.weight_averaging import measured_weights
from plt_nn.callbacks.model.deployable_model import DeployableModel
from plt_nn.callbacks.model.exported_state import exported_state
from plt_nn.callbacks.resume.exact_resume import ExactResume
from plt_nn.callbacks.resume.signals_between_steps import SignalsBetweenSteps
from plt_nn.callbacks.stopping.best_weights import BestWeights, save_weights
from plt_nn.callbacks.stopping.patience import (
    Mode,
    Moment,
    Progress,
    Unit,
    after_check,
    is_better,
    patience_left,
    renewed,
)
from plt_nn.callbacks.stopping.restore_best import RestoreBest
from plt_nn.errors import ConfigError, TrainingError
from plt_nn.inference.model_files import WEIGHTS
from plt_nn.tracking import tags

_LOSS_CHECK_STEPS = 50  # how often the training loss is read from the device


class BestLossStopping(EarlyStopping):
    """Stops when the best loss has not been beaten for a while, and puts the weights of the best back.

    The value is checked after each validation that logs it; a metric of training is checked at each epoch's end, or at
    each step with `unit="steps"`. The lowest value ever reached is remembered. After any end of the fit (patience, the
    last epoch, Ctrl-C, SIGTERM, an exception) the weights of the best are put back on every process. They are also on
    disk, as `best.safetensors` in the run's folder, written whole or not at all, with `model.json` beside it, so that
    they can be used alone (`DeployableModel`). A logger that keeps models gets them as the run's model, and what they
    reached as `best/<metric>`. All processes decide on the same number, the mean of theirs. The state is in every
    checkpoint; a resumed run obeys a changed `patience`.

    A new phase of a `FreezingSchedule` renews patience. Which best is kept over several phases is said by `best_of`.
    Under Lightning's `WeightAveraging` the best are the averaged weights that validation measured. Its
    `StochasticWeightAveraging` puts weights into the module that nothing has measured: use `restore=False` to keep
    them.

    It is an `EarlyStopping` so that Lightning calls it after the module has logged an epoch's metrics; nothing else is
    taken from there.

    Args:
        monitor: The metric to watch, as logged by the LightningModule.
        mode: `min` if lower is better, `max` if higher is better.
        patience: How many units may pass without improvement.
        unit: What patience counts: `epochs`, optimizer `steps`, or `checks` of the monitored metric.
        min_delta: Gains up to this much do not renew patience; the best is remembered all the same.
        restore: Whether to put the best weights back when the fit ends.
        best_of: Under a `FreezingSchedule`: `run` keeps the best of all phases; `phase` the best of the last phase that
            was checked, so that each phase begins anew.
        dirpath: The folder of `best.safetensors`. Default: `checkpoints` in the logger's folder for this run, or in the
            trainer's `default_root_dir`.

    Raises:
        ConfigError: For an argument out of range; during the fit if no metric of that name is logged.
        TrainingError: If the loss is not finite before there is any best to keep.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: Literal["min", "max"] = "min",
        patience: int = 10,
        unit: Literal["epochs", "steps", "checks"] = "epochs",
        min_delta: float = 0.0,
        restore: bool = True,
        best_of: Literal["run", "phase"] = "run",
        dirpath: str | None = None,
    ) -> None:
        _check_arguments(mode, patience, unit, min_delta, best_of)
        super().__init__(monitor, patience=patience, mode=mode)
        self.mode: Mode = mode
        self.min_delta = min_delta
        self.unit: Unit = unit
        self.restore = restore
        self.best_of = best_of
        self.dirpath = dirpath
        self.progress = Progress()
        self.best_metrics: dict[str, float] = {}
        self.best_path: Path | None = None
        self.stop_reason: str | None = None
        self._weights: BestWeights | None = None
        self._restored_state: dict[str, Any] | None = None
        self._checks = 0
        self._last_check: Moment | None = None
        self._begin_anew = False  # at the next check: the phase has changed, and what was best is kept until then
        self._validated = False
        self._unwritten = False
        self._total_loss: Tensor | None = None

    @property
    def state_key(self) -> str:
        """Its name in a checkpoint, whatever its arguments; and two on one trainer, which Lightning refuses by it."""
        return type(self).__qualname__

    @property
    def patience_left(self) -> int:
        """How many more units may pass without improvement, as of the last check."""
        if self._last_check is None:
            return self.patience
        return patience_left(self.progress, self._last_check, self.patience, self.unit)

    # -- where it is checked ------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes its place: the weights go back after every checkpoint callback has seen the last ones."""
        if stage != "fit":
            return
        require_whole_parameters(trainer.strategy, "BestLossStopping")
        sort_callbacks(trainer, SignalsBetweenSteps, ExactResume, DeployableModel, RestoreBest(self.put_back))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins anew, or where the checkpoint left off."""
        require_validation(trainer, self.monitor, "BestLossStopping")
        self._weights = BestWeights(pl_module)
        for logger in run_loggers(trainer):
            logger.log_tags({tags.MONITOR: self.monitor, tags.MODE: self.mode})
        self.best_path = run_folder(trainer, self.dirpath) / WEIGHTS
        self.stop_reason, self._total_loss, self._last_check = None, None, None
        self._validated, self._unwritten = False, False
        state, self._restored_state = self._restored_state, None
        if state is None:
            self.progress, self.best_metrics, self._checks, self._begin_anew = Progress(), {}, 0, False
        else:
            self.progress, self._checks = Progress.from_dict(state["progress"]), state["checks"]
            self.best_metrics, self._begin_anew = state["metrics"], state["begin_anew"]
            self._last_check = Moment(**state["last_check"]) if state["last_check"] is not None else None
            self._weights.take(state["weights"])
            if self.progress.best is not None:
                self._write(trainer)  # a resumed run may have another folder, and may never beat this best

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops at once if the checkpoint is of the moment at which patience had run out, and it still has."""
        if self._last_check is not None:
            self._stop_without_patience(self._last_check, trainer)

    def on_phase_start(self, trainer: Trainer, pl_module: LightningModule, number: int, batch_idx: int) -> None:
        """Renews patience; see `best_of`."""
        epochs = trainer.current_epoch - (batch_idx == 0)  # as if the end of the epoch before had been the best
        now = Moment(epochs=epochs, steps=trainer.global_step, checks=self._checks - 1)
        self.progress = renewed(self.progress, now)
        self._begin_anew = self.best_of == "phase"

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Checks a metric of training by steps; looks out for a training loss that is not finite."""
        self._watch_training_loss(trainer, outputs)
        if self.unit == "steps":
            self._check_if_logged(trainer)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Copies what has been thawed since the best, just before it changes."""
        if self._weights is not None:
            self._weights.hold_thawed()

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tells a misspelt metric of validation before training begins."""
        seen = [name for name in trainer.callback_metrics if name.startswith("val")]
        if seen and self.monitor.startswith("val") and self.monitor not in seen:
            raise missing_metric(trainer, self.monitor, "BestLossStopping")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks a metric of validation."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._validated = True
            with measured_weights(trainer, pl_module):
                self._check_if_logged(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks a metric of training by epochs."""
        if self.unit != "steps":
            self._check_if_logged(trainer)
        if self._unwritten:
            self._write(trainer)
        had_its_chance = self._validated or not trainer.enable_validation
        if self._checks == 0 and had_its_chance:
            raise missing_metric(trainer, self.monitor, "BestLossStopping")

    # -- what a check does --------------------------------------------------------------------------------------------

    def _check_if_logged(self, trainer: Trainer) -> None:
        metrics = logged_by_this_loop(trainer)
        if self.monitor in metrics:
            self._check(metrics, trainer)

    def _check(self, metrics: dict[str, Tensor], trainer: Trainer) -> None:
        assert self._weights is not None, "a check outside a fit"
        shared = float(trainer.strategy.reduce(metrics[self.monitor].detach().clone(), reduce_op="mean"))
        now = self._last_check = Moment(trainer.current_epoch, trainer.global_step, self._checks)
        self._checks += 1
        if not math.isfinite(shared):
            self._stop_not_finite(f"{self.monitor} is {shared}", trainer)
            return
        if self._begin_anew:
            self.progress, self._begin_anew = Progress(), False
        is_best = is_better(shared, self.progress.best, self.mode)
        self.progress = after_check(self.progress, shared, now, self.mode, self.min_delta)
        if is_best:
            self.best_metrics = {name: float(metric) for name, metric in metrics.items()}
            self._weights.capture(trainer.strategy.broadcast)
            self._unwritten = True
            if (
                self.unit != "steps"
            ):  # by steps the file is written at the epoch's end: it would cost more than the step
                self._write(trainer)
        self._stop_without_patience(now, trainer)

    def _stop_without_patience(self, now: Moment, trainer: Trainer) -> None:
        if patience_left(self.progress, now, self.patience, self.unit) == 0:
            self._stop(f"{self.monitor} has not improved for {self.patience} {self.unit}", trainer)

    def _write(self, trainer: Trainer) -> None:
        self._unwritten = False
        on_disk = trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False)
        if on_disk and self._weights is not None and self.best_path is not None:
            state = exported_state(trainer, trainer.lightning_module, self._weights.state())
            save_weights(state, self.best_path, self._metadata())
            for logger in run_loggers(trainer):
                logger.log_model(self.best_path, self.best_metrics, int(self._metadata()["step"]))

    def _watch_training_loss(self, trainer: Trainer, outputs: Any) -> None:
        # Summed on the device and read only now and then, for reading waits for the device. A sum stays not finite.
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if not isinstance(loss, Tensor):
            return
        self._total_loss = loss.detach() if self._total_loss is None else self._total_loss + loss.detach()
        if trainer.global_step % _LOSS_CHECK_STEPS == 0:
            total = float(trainer.strategy.reduce(self._total_loss.clone(), reduce_op="mean"))
            self._total_loss = None
            if not math.isfinite(total):
                self._stop_not_finite(f"the training loss is {total}", trainer)

    def _stop_not_finite(self, what: str, trainer: Trainer) -> None:
        where = f"at epoch {trainer.current_epoch}, step {trainer.global_step}"
        if self.progress.best is None:
            raise TrainingError(
                f"Training stops: {what} {where}, before there was any best to keep. A lower learning rate, gradient "
                "clipping, or a look at the data for values that are not finite usually mends it."
            )
        self._stop(f"{what} {where}; the best so far is kept", trainer)

    def _stop(self, reason: str, trainer: Trainer) -> None:
        self.stop_reason = reason
        trainer.should_stop = True
        rank_zero_info(f"Training stops: {reason}. Best {self.monitor}: {self.describe_best()}.")

    # -- the best -----------------------------------------------------------------------------------------------------

    def describe_best(self) -> str:
        """The best value and where it was reached, in words."""
        if self.progress.best is None or self.progress.best_at is None:
            return "none"
        return f"{self.progress.best:.6g} at epoch {self.progress.best_at.epochs}, step {self.progress.best_at.steps}"

    def put_back(self, trainer: Trainer) -> None:
        """Puts the best weights back, if there are any and `restore` asks for it."""
        if self._weights is None or self.progress.best is None or self.progress.best_at is None:
            return
        if self._unwritten:
            self._write(trainer)
        if self.restore:
            self._weights.put_back()
            self._weights = None  # the module holds them now

    def _metadata(self) -> dict[str, str]:
        at = self.progress.best_at
        assert at is not None
        return {
            "monitor": self.monitor,
            "value": repr(self.progress.best),
            "epoch": str(at.epochs),
            "step": str(at.steps),
            "metrics": json.dumps(self.best_metrics),
        }

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forgets what a checkpoint held: it was for this fit, or loaded to validate."""
        self._restored_state = None

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What has been reached and the weights it was reached with; not the arguments, so that these can change."""
        weights = self._weights.held() if self._weights is not None else {}
        return {
            "progress": self.progress.to_dict(),
            "checks": self._checks,
            "metrics": self.best_metrics,
            "begin_anew": self._begin_anew,
            "last_check": asdict(self._last_check) if self._last_check is not None else None,
            "weights": weights,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the state for the start of the fit, when the module has its own weights back."""
        self._restored_state = state_dict


def _check_arguments(mode: str, patience: int, unit: str, min_delta: float, best_of: str) -> None:
    faults = []
    if mode not in ("min", "max"):
        faults.append(f"mode is {mode!r}; expected 'min' or 'max'")
    if unit not in ("epochs", "steps", "checks"):
        faults.append(f"unit is {unit!r}; expected 'epochs', 'steps' or 'checks'")
    if patience < 1:
        faults.append(f"patience is {patience}; expected at least 1")
    if min_delta < 0 or not math.isfinite(min_delta):
        faults.append(f"min_delta is {min_delta}; expected 0 or more")
    if best_of not in ("run", "phase"):
        faults.append(f"best_of is {best_of!r}; expected 'run' or 'phase'")
    if faults:
        raise ConfigError("BestLossStopping cannot be used: " + "; ".join(faults) + ".")
