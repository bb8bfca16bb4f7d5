"""Figures of the best validation of a fit, and of the fit's course."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from plt_nn.callbacks.freezing.freezing_schedule import FreezingSchedule
from plt_nn.callbacks.lightning.callback_order import callback_of
from plt_nn.callbacks.lightning.loops import metrics_at_hand
from plt_nn.callbacks.lightning.monitored import logged_by_this_loop
from plt_nn.callbacks.lightning.run_logger import node_loggers, run_loggers
from plt_nn.callbacks.stopping.best_loss_stopping import BestLossStopping
from plt_nn.callbacks.validation.best_or_last import BestOrLast, ValidationResult, result_now, share_of_epoch
from plt_nn.callbacks.validation.class_drawings import Drawings, class_drawings, class_facts, to_pixels
from plt_nn.callbacks.validation.class_results import RunningResults, class_outputs, images_of, merge_processes
from plt_nn.callbacks.validation.metric_curves import MetricCurves
from plt_nn.errors import refuse
from plt_nn.plots.learning_curves import curve_panels, learning_curves_figure
from plt_nn.tracking import tags


class ValidationFigures(Callback):
    """Logs figures of the best validation when a fit ends, however it ends.

    - `figures/confusion_matrix.png`: how many samples of each class were said to be of each.
    - `figures/calibration.png`: how often the net was right where it was so and so sure.
    - `figures/most_wrong.png`: the images to whose true class it gave the least probability, with their files.
    - `figures/learning_curves.png`: losses and metrics against epochs, with the best and the phases of a schedule.
    - `figures/validation.json`: what the first and the third show, as plain values; also in `facts`.

    The best is that of a `BestLossStopping` among the callbacks; without one, the last validation is shown. The first
    three need a `validation_step` that returns a mapping with `probabilities` (or `logits`) of shape `(N, C)`, `y` of
    shape `(N,)` and, for the files, `index` of shape `(N,)`, as `Classifier`'s does; any other module gets its learning
    curves. Images are drawn where the first part of a batch is a tensor `(N, 1 or 3, H, W)`. Of several validation
    loaders the first is shown.

    Each batch is added up on its device; no outputs are stored. On several processes the results are those of all. They
    are in every checkpoint (with 16 images at most 1.2 MB), so that a resumed run draws the whole fit. Without a logger
    that stores figures nothing is done at all.

    Args:
        worst: How many of the most wrong samples to show; 0 for none.
        bins: Number of equal ranges of confidence in the calibration figure; `Classifier`'s `val_ece` has 15.

    Raises:
        ConfigError: For an argument out of range.
    """

    def __init__(self, worst: int = 16, bins: int = 15) -> None:
        faults = [f"worst is {worst}; expected at least 0"] if worst < 0 else []
        faults += [f"bins is {bins}; expected at least 1"] if bins < 1 else []
        refuse("ValidationFigures", faults)
        self.worst, self.bins = worst, bins
        self.facts: dict[str, Any] | None = None
        self._restored: dict[str, Any] | None = None
        self._begin(None, None)

    def _begin(self, stopping: BestLossStopping | None, state: dict[str, Any] | None) -> None:
        self._is_wanted = False
        self._curves = MetricCurves(state and state["curves"])
        # The epochs trained at the start of each phase, and its number.
        self._phases: list[tuple[float, int]] = [(at, number) for at, number in state["phases"]] if state else []
        self._validations = BestOrLast(stopping, ValidationResult.from_state(state and state["shown"]))
        self._running: RunningResults | None = None
        self._schedule: FreezingSchedule | None = None
        self._ended_epoch: float | None = None  # whose training metrics are not taken yet

    # -- the beginning and the end of a fit ---------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins anew, or where the checkpoint left off."""
        state, self._restored = self._restored, None
        self._begin(callback_of(trainer, BestLossStopping), state)
        self.facts = None
        # All processes must take part or none: some users give a logger to process 0 alone.
        self._is_wanted = bool(trainer.strategy.broadcast(bool(node_loggers(trainer))))
        self._schedule = callback_of(trainer, FreezingSchedule)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the last epoch's training metrics."""
        self._take_training(trainer.callback_metrics)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws and logs the figures."""
        self._draw(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draws and logs the figures of what there was, if there was anything."""
        self._take_training(metrics_at_hand(trainer))
        self._draw(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forgets what a checkpoint held: it was for this fit, or loaded to validate."""
        self._restored = None

    # -- during the fit -----------------------------------------------------------------------------------------------

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the training metrics of the epoch before, which the module logs after this callback is called."""
        self._take_training(trainer.callback_metrics)
        if self._schedule is not None and self._schedule.current is not None and not self._phases:
            self._phases.append((float(trainer.current_epoch), self._schedule.current))

    def on_phase_start(self, trainer: Trainer, pl_module: LightningModule, number: int, batch_idx: int) -> None:
        """Notes where a phase begins."""
        self._phases.append((trainer.current_epoch + share_of_epoch(batch_idx, trainer), number))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes that the epoch has ended."""
        self._ended_epoch = trainer.current_epoch + 1.0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to add up."""
        self._running = None

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Adds a batch."""
        found = class_outputs(outputs) if self._is_at_work(trainer) and dataloader_idx == 0 else None
        if found is None:
            return
        classes = found.probabilities.shape[1]
        if self._running is None:
            self._running = RunningResults(classes, self.bins, self.worst, found.probabilities.device)
        if classes == self._running.counts.classes:
            self._running.add(found, images_of(batch, len(found.y)))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stores the results of all processes, and the metrics."""
        if not self._is_at_work(trainer):
            return
        running, self._running = self._running, None
        mine = running.finish(partial(to_pixels, **_normalisation(trainer))) if running is not None else None
        result = result_now(trainer, merge_processes(mine, self.worst, trainer.strategy.root_device))
        self._validations.add(result)
        self._curves.add_validation(result.position, _numbers(logged_by_this_loop(trainer)))

    def _is_at_work(self, trainer: Trainer) -> bool:
        return self._is_wanted and trainer.state.fn == "fit" and not trainer.sanity_checking

    def _take_training(self, metrics: Mapping[str, Any]) -> None:
        at, self._ended_epoch = self._ended_epoch, None
        if at is not None and self._is_wanted:
            self._curves.add_training(at, _numbers(metrics))

    # -- the figures --------------------------------------------------------------------------------------------------

    def _draw(self, trainer: Trainer) -> None:
        is_wanted, self._is_wanted = self._is_wanted, False  # once: an error may follow the figures at the end of a fit
        if not is_wanted or not trainer.is_global_zero:
            return
        drawings, shown = Drawings(), self._validations.shown()
        if shown is not None and shown.sums is not None:
            described = shown.sums, getattr(trainer, "datamodule", None), self._validations.describe()
            with _warning_about(tags.FIGURES_FACTS):
                self.facts = class_facts(*described)
                for logger in run_loggers(trainer):
                    logger.log_text(json.dumps(self.facts), tags.FIGURES_FACTS)
            drawings |= class_drawings(*described)
        if panels := curve_panels(*self._curves.arrays()):
            best, phases = self._validations.mark(), [(at, f"phase {number}") for at, number in self._phases]
            drawings["learning_curves"] = lambda: learning_curves_figure(panels, best, phases)
        for name, drawing in drawings.items():
            with _warning_about(f"{tags.FIGURES}/{name}.png"):
                figure = drawing()
                for logger in run_loggers(trainer):
                    logger.log_figure(figure, f"{tags.FIGURES}/{name}.png")

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Puts the state in; here, and not in `state_dict`, because an epoch's metrics may have to be taken first."""
        if self._ended_epoch is not None:
            self._take_training(trainer.callback_metrics)
        checkpoint.setdefault("callbacks", {})[self.state_key] = self.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """The validation that would be shown now, the curves and the phases."""
        return {"curves": self._curves.to_state(), "phases": self._phases, "shown": self._validations.to_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the state for the start of the fit."""
        self._restored = state_dict


@contextmanager
def _warning_about(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001  # the fit is done, and worth more than a picture of it
        rank_zero_warn(f"{name} could not be written: {type(error).__name__}: {error}")


def _normalisation(trainer: Trainer) -> dict[str, Any]:
    used = getattr(getattr(trainer, "datamodule", None), "preprocessing_used", None)
    return {"mean": getattr(used, "mean", None), "std": getattr(used, "std", None)}


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if isinstance(value, Tensor) and value.numel() == 1}
