"""Early stopping on the best loss: remember the lowest, stop when it is not beaten, restore its weights."""

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.optim import Optimizer

from plt_nn.callbacks.lightning.callback_order import sort_callbacks
from plt_nn.callbacks.lightning.monitored import MonitoredMetric
from plt_nn.callbacks.lightning.run_logger import run_folder, run_loggers
from plt_nn.callbacks.lightning.strategies import require_whole_parameters
from plt_nn.callbacks.lightning.weight_averaging import measured_weights
from plt_nn.callbacks.model.deployable_model import DeployableModel
from plt_nn.callbacks.resume.exact_resume import ExactResume
from plt_nn.callbacks.resume.signals_between_steps import SignalsBetweenSteps
from plt_nn.callbacks.stopping.best_weights import BestWeights, RestoreBest, write_best
from plt_nn.callbacks.stopping.patience import (
    CheckHistory,
    Mode,
    Progress,
    Unit,
    argument_faults,
    patience_left,
)
from plt_nn.callbacks.stopping.training_loss import TrainingLoss, not_finite_error
from plt_nn.errors import refuse
from plt_nn.inference.model_files import WEIGHTS
from plt_nn.tracking import tags


class BestLossStopping(EarlyStopping):
    """Stops when the best loss has not been beaten for a while, and restores the weights that reached it.

    The value is checked after each validation that logs it; a metric of training is checked at the end of each epoch,
    or at each step with `unit="steps"`. The lowest value ever reached is remembered. However the fit ends (patience,
    the last epoch, Ctrl-C, SIGTERM, an exception), the weights of the best are restored on every process. They are also
    on disk, as `best.safetensors` in the run's folder, written whole or not at all, with `model.json` beside it, so
    that they can be used alone (`DeployableModel`). A logger that stores models gets them as the run's model, and the
    metrics they reached as `best/<metric>`. All processes decide on the same number, the mean of theirs. Each
    checkpoint holds the state; a resumed run obeys a changed `patience`.

    A new phase of a `FreezingSchedule` renews patience; `best_of` says which best counts over several phases. Under
    Lightning's `WeightAveraging` the best weights are the averaged ones that validation measured. Its
    `StochasticWeightAveraging` puts weights into the module that nothing has measured: use `restore=False` with it.

    Args:
        monitor: The metric to watch, as logged by the LightningModule.
        mode: `min` if lower is better, `max` if higher is better.
        patience: How many units may pass without improvement.
        unit: What patience counts: `epochs`, optimizer `steps`, or `checks` of the monitored metric.
        min_delta: Gains up to this much do not renew patience; the best is remembered all the same.
        restore: Whether to restore the best weights when the fit ends.
        best_of: Under a `FreezingSchedule`: `run` remembers the best of all phases; `phase` the best of the last phase
            that was checked, so that each phase starts over.
        dirpath: The folder of `best.safetensors`. Default: `checkpoints` in the logger's folder for this run, or in the
            trainer's `default_root_dir`.

    Raises:
        ConfigError: For an argument out of range; during the fit if no metric of that name is logged.
        TrainingError: If the loss is not finite before there is any best to restore.

    Example:
        >>> import torch
        >>> from lightning.pytorch import Trainer
        >>> from plt_nn import BestLossStopping, Regressor, SyntheticRegressionData
        >>> stopping = BestLossStopping(patience=3, dirpath="best")
        >>> quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        >>> trainer = Trainer(accelerator="cpu", max_epochs=2, callbacks=[stopping], **quiet)
        >>> trainer.fit(Regressor(torch.nn.Linear(2, 1)), SyntheticRegressionData())
        >>> stopping.progress.best == stopping.best_metrics["val_loss"]
        True
        >>> stopping.best_path.name
        'best.safetensors'
    """

    # Of EarlyStopping nothing is used. It is the base class for two reasons: Lightning calls `on_train_epoch_end` after
    # the module has logged the epoch's metrics only for EarlyStopping and Checkpoint callbacks (`_call_callback_hooks`
    # names the two), and `trainer.early_stopping_callback` finds only an EarlyStopping.

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
        refuse("BestLossStopping", argument_faults(mode, patience, unit, min_delta, best_of))
        super().__init__(monitor, patience=patience, mode=mode)
        self.mode: Mode = mode
        self.min_delta = min_delta
        self.unit: Unit = unit
        self.restore, self.best_of, self.dirpath = restore, best_of, dirpath
        self.best_path: Path | None = None
        self.stop_reason: str | None = None
        self._metric = MonitoredMetric(monitor, "BestLossStopping")
        self._training_loss = TrainingLoss()
        self._weights: BestWeights | None = None
        self._restored_state: dict[str, Any] | None = None
        self._history = CheckHistory()
        self._is_unwritten = False

    @property
    def state_key(self) -> str:
        """Its name in a checkpoint, whatever its arguments; Lightning refuses two on one trainer by it."""
        return type(self).__qualname__

    @property
    def patience_left(self) -> int:
        """How many more units may pass without improvement, as of the last check."""
        last = self._history.last_check
        return self.patience if last is None else patience_left(self.progress, last, self.patience, self.unit)

    @property
    def progress(self) -> Progress:
        """The best value so far and where it was reached."""
        return self._history.progress

    @property
    def best_metrics(self) -> dict[str, float]:
        """All metrics that were logged together with the best value."""
        return self._history.metrics

    def describe_best(self) -> str:
        """The best value and where it was reached, in words."""
        return self.progress.describe()

    # -- when it checks -----------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes its place in the order of callbacks, with those that it needs."""
        if stage == "fit":
            require_whole_parameters(trainer.strategy, "BestLossStopping")
            restore = RestoreBest(self.restore_best)
            sort_callbacks(trainer, SignalsBetweenSteps, ExactResume, DeployableModel, restore)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts over, or continues from the state of a checkpoint."""
        self._weights, self._training_loss = BestWeights(pl_module), TrainingLoss()
        for logger in run_loggers(trainer):
            logger.log_tags({tags.MONITOR: self.monitor, tags.MODE: self.mode})
        self.best_path = run_folder(trainer, self.dirpath) / WEIGHTS
        self.stop_reason, self._is_unwritten = None, False
        state, self._restored_state = self._restored_state, None
        self._history = CheckHistory() if state is None else CheckHistory.from_dict(state)
        if state is not None:
            self._weights.take(state["weights"])
        self._metric.begin(trainer, was_logged=self._history.checks > 0)
        if state is not None and self.progress.best is not None:
            self._write(trainer)  # a resumed run may have another folder, and may never beat this best

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops at once if patience had run out when the checkpoint was made, and `patience` is still the same."""
        self._stop_without_patience(trainer)

    def on_phase_start(self, trainer: Trainer, pl_module: LightningModule, number: int, batch_idx: int) -> None:
        """Renews patience; see `best_of`."""
        epochs = trainer.current_epoch - (batch_idx == 0)  # as if the end of the epoch before had been the best
        self._history.renew_patience(epochs, trainer.global_step, starts_over=self.best_of == "phase")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Checks a metric of training by steps; watches for a training loss that is not finite."""
        total = self._training_loss.after_step(outputs, trainer)
        if total is not None and not math.isfinite(total):
            self._stop_not_finite(f"the training loss is {total}", trainer)
        if self.unit == "steps":
            self._check(self._metric.after_step(trainer), trainer)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Copies what has been thawed since the best, just before it changes."""
        if self._weights is not None:
            self._weights.hold_thawed()

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuses a misspelt metric of validation before training begins."""
        self._metric.require_in_sanity_check(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks a metric of validation."""
        metrics = self._metric.after_validation(trainer)
        with measured_weights(trainer, pl_module) if metrics is not None else nullcontext():
            self._check(metrics, trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks a metric of training by epochs."""
        if self.unit != "steps":
            self._check(self._metric.after_epoch(trainer), trainer)
        if self._is_unwritten:
            self._write(trainer)
        self._metric.require_logged(trainer)

    # -- what a check does --------------------------------------------------------------------------------------------

    def _check(self, metrics: dict[str, Tensor] | None, trainer: Trainer) -> None:
        if metrics is None:
            return
        assert self._weights is not None, "a check outside a fit"
        value = self._metric.mean(metrics, trainer)
        self._history.begin_check(trainer.current_epoch, trainer.global_step)
        if not math.isfinite(value):
            self._stop_not_finite(f"{self.monitor} is {value}", trainer)
            return
        if self._history.add(value, metrics, self.mode, self.min_delta):
            self._weights.capture(trainer.strategy.broadcast)
            self._is_unwritten = True
            if self.unit != "steps":  # otherwise at the end of the epoch: writing would cost more than the step
                self._write(trainer)
        self._stop_without_patience(trainer)

    def _stop_without_patience(self, trainer: Trainer) -> None:
        if self.patience_left == 0:
            self._stop(f"{self.monitor} has not improved for {self.patience} {self.unit}", trainer)

    def _stop_not_finite(self, what: str, trainer: Trainer) -> None:
        where = f"at epoch {trainer.current_epoch}, step {trainer.global_step}"
        if self.progress.best is None:
            raise not_finite_error(f"{what} {where}")
        self._stop(f"{what} {where}; the best so far is kept", trainer)

    def _stop(self, reason: str, trainer: Trainer) -> None:
        self.stop_reason = reason
        trainer.should_stop = True
        rank_zero_info(f"Training stops: {reason}. Best {self.monitor}: {self.describe_best()}.")

    # -- the best -----------------------------------------------------------------------------------------------------

    def restore_best(self, trainer: Trainer) -> None:
        """Restores the best weights, if there are any and `restore` asks for it."""
        if self._weights is None or self.progress.best is None:
            return
        if self._is_unwritten:
            self._write(trainer)
        if self.restore:
            self._weights.restore()
            self._weights = None  # the module holds them now

    def _write(self, trainer: Trainer) -> None:
        self._is_unwritten = False
        if self._weights is not None and self.best_path is not None:
            write_best(trainer, self._weights, self.best_path, self.monitor, self._history)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forgets the state of a checkpoint, which was for this fit, or loaded to validate."""
        self._restored_state = None

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """What has been reached and the weights it was reached with; not the arguments, so that these can change."""
        return {**self._history.to_dict(), "weights": self._weights.held() if self._weights is not None else {}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stores the state for the start of the fit, when the module has its own weights back."""
        self._restored_state = state_dict
