"""Shows how a fit goes: drawn in a terminal, told in lines elsewhere."""

import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from plt_nn.callbacks.lightning.callback_order import sort_callbacks
from plt_nn.callbacks.lightning.monitored import logged_by_this_loop
from plt_nn.callbacks.telemetry.step_timer import samples_in
from plt_nn.callbacks.view.lines import Lines
from plt_nn.callbacks.view.telling import ProgressState
from plt_nn.callbacks.view.terminal import Terminal, can_draw
from plt_nn.errors import ConfigError


class TrainingView(ProgressBar):
    """Shows the epoch, the fit, the phase, losses, the best so far, the patience left, samples per second, time left.

    In a terminal it draws this at the terminal's foot, and above it a table to which each epoch adds a row; what is
    printed, warned or logged meanwhile goes above as well. Where the output is no terminal (a file, a pipe, a
    notebook), and with `TERM=dumb` or `NO_COLOR`, it prints a line for each epoch and in long ones a line now and
    then, without control characters. Only the first process shows anything. It never ends a fit: when it cannot
    write, it falls silent.

    It takes the place of Lightning's progress bar and works on any trainer. The phase is that of a `FreezingSchedule`,
    the best and the patience those of `BestLossStopping`, or of Lightning's `EarlyStopping` and `ModelCheckpoint`; what
    has no source is left out. A row holds the metrics that are logged with `prog_bar=True` and the one that is watched.

    It draws at most ten times a second, less often where drawing is slow, and never waits for a GPU within an epoch.
    The time left is what the phase's last epochs took, times what is left: "about", for later phases may cost more and
    patience may run out.

    Args:
        plain: Whether to print lines in a terminal too. Default: only where nothing can be drawn.
        line_seconds: The least time between two lines within an epoch, in seconds.

    Raises:
        ConfigError: `line_seconds` is not positive.
    """

    def __init__(self, plain: bool = False, line_seconds: float = 30.0) -> None:
        super().__init__()
        if not line_seconds > 0:
            raise ConfigError(f"TrainingView(line_seconds={line_seconds!r}): a number of seconds above 0.")
        self.plain, self.line_seconds = plain, line_seconds
        self._may_show = True
        self._screen: Terminal | Lines | None = None
        self._next = 0.0  # when the next moment is to be shown
        self._teller = ProgressState()

    # -- Lightning's switches -----------------------------------------------------------------------------------------

    @property
    def is_enabled(self) -> bool:
        """Whether it shows anything on this process."""
        return self._may_show and (self._trainer is None or self._trainer.is_global_zero)

    def disable(self) -> None:
        """Falls silent, as while a learning rate is searched."""
        self._close()
        self._may_show = False

    def enable(self) -> None:
        """May show again."""
        self._may_show = True

    def __getstate__(self) -> dict[str, Any]:
        """All but what is open: the processes of `ddp_spawn` get a copy."""
        return {**self.__dict__, "_screen": None}

    # -- a fit --------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes its place in the order of callbacks: the first."""
        super().setup(trainer, pl_module, stage)
        sort_callbacks(trainer)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens."""
        self._teller = ProgressState()
        self._open()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens; a fit that is resumed within an epoch has no start of it."""
        self._teller = ProgressState.of_fit(trainer)
        self._open()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the row of the epoch before, whose metrics are all there only now."""
        self._tell_epoch(trainer)
        self._teller.begin_epoch(trainer.current_epoch)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Shows that training has begun."""
        if batch_idx == 0:
            self._show(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts, and now and then shows."""
        if self._screen is None:
            return
        self._teller.add_batch(samples_in(batch), outputs, batch_idx)
        self._show(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the epoch's clock."""
        self._teller.clock.end()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the last row, and closes."""
        self._tell_epoch(trainer)
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives the terminal back before anything is said of the error."""
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Closes, whatever has happened."""
        self._close()

    # -- validation, test, prediction ---------------------------------------------------------------------------------

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens, or within a fit stops the clock of training."""
        self._begin_evaluation(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens."""
        self._begin_evaluation(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens."""
        self._begin_evaluation(trainer)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *batch: Any, **named: Any) -> None:
        """Counts, and now and then shows."""
        self._count(trainer)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, *batch: Any, **named: Any) -> None:
        """Counts, and now and then shows."""
        self._count(trainer)

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, *batch: Any, **named: Any) -> None:
        """Counts, and now and then shows."""
        self._count(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes which metrics are new; the clock of training goes on."""
        if trainer.state.fn != "fit":
            self._close()
        elif not trainer.sanity_checking:
            self._teller.end_validation(set(logged_by_this_loop(trainer)))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes."""
        self._close()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes."""
        self._close()

    def _begin_evaluation(self, trainer: Trainer) -> None:
        if trainer.state.fn != "fit":
            self._teller = ProgressState()
            self._open()
        self._teller.begin_evaluation(trainer)
        self._show(trainer)

    def _count(self, trainer: Trainer) -> None:
        self._teller.evaluated += 1
        self._show(trainer)

    # -- what is shown ------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        if self.is_enabled and self._screen is None:
            self._next = 0.0
            self._written(self._make_screen)

    def _make_screen(self) -> None:
        self._screen = Lines(self.line_seconds) if self.plain or not can_draw() else Terminal()

    def _close(self) -> None:
        screen, self._screen = self._screen, None
        if screen is not None:
            self._written(screen.close)

    def _show(self, trainer: Trainer) -> None:
        """Shows the moment, if the last one is long enough ago."""
        screen = self._screen
        if screen is None or time.monotonic() < self._next:
            return
        snapshot = self._teller.snapshot(trainer)
        self._written(lambda: screen.show(snapshot))
        self._next = time.monotonic() + screen.refreshes_after

    def _tell_epoch(self, trainer: Trainer) -> None:
        screen = self._screen
        if screen is not None and self._teller.clock.has_ended:
            row = self._teller.row(trainer)
            self._written(lambda: screen.epoch(row))

    def _written(self, write: Callable[[], None]) -> None:
        """Writes; when the output is gone or cannot hold what is written, falls silent: the fit matters more."""
        try:
            write()
        except (OSError, ValueError):  # a closed pipe or file, a full disk, characters it has no code for
            self._screen, self._may_show = None, False
