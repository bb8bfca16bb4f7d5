"""Shows the progress of a fit: as a drawing in a terminal, as lines elsewhere."""

import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from plt_nn.callbacks.lightning.callback_order import sort_callbacks
from plt_nn.callbacks.telemetry.step_time_counts import samples_in
from plt_nn.callbacks.view.epoch_progress import EpochProgress
from plt_nn.callbacks.view.progress_state import ProgressState
from plt_nn.callbacks.view.snapshot import Snapshot
from plt_nn.callbacks.view.terminal import Terminal, can_draw
from plt_nn.errors import ConfigError


class TrainingView(ProgressBar):
    """Shows epoch, fit, phase, losses, the best so far, remaining patience, samples per second and remaining time.

    In a terminal it draws this at the foot, and above it a table to which each epoch adds a row; what is printed,
    warned or logged meanwhile goes above as well. Where the output is no terminal (a file, a pipe, a notebook), and
    with `TERM=dumb` or `NO_COLOR`, it prints a line for each epoch and now and then one within a long epoch, without
    control characters. Only the first process shows anything. When it cannot write, it stays silent; it ends no fit.

    It replaces Lightning's progress bar and works on any trainer. The phase is that of a `FreezingSchedule`, the best
    and the patience are those of `BestLossStopping`, or of Lightning's `EarlyStopping` and `ModelCheckpoint`; what is
    unknown is not shown. A row contains the metrics that are logged with `prog_bar=True` and the monitored one.

    It draws at most ten times a second, less often where drawing is slow, and never waits for a GPU within an epoch.
    The remaining time is an estimate from the last epochs of the phase: later phases may be slower, patience may end.

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
        self._may_show = self._is_first = True
        self._screen: Terminal | PlainLines | None = None
        self._state = ProgressState()

    @property
    def is_enabled(self) -> bool:
        """Whether it shows anything on this process."""
        return self._may_show and self._is_first

    def disable(self) -> None:
        """Shows nothing from now on, as while a learning rate is searched."""
        self._close()
        self._may_show = False

    def enable(self) -> None:
        """May show something again."""
        self._may_show = True

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the open screen: the processes of `ddp_spawn` get a copy."""
        return {**self.__dict__, "_screen": None}

    # -- hooks --------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes its place in the order of callbacks: the first."""
        super().setup(trainer, pl_module, stage)
        self._is_first = trainer.is_global_zero
        sort_callbacks(trainer)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the screen."""
        self._open()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the screen; a fit that is resumed within an epoch has no start of that epoch."""
        self._open(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the row of the epoch before, whose metrics are complete only now."""
        self._show_epoch(trainer)
        self._state.epoch = EpochProgress(trainer.current_epoch)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Shows that training has begun."""
        if batch_idx == 0:
            self._show(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts a batch."""
        if self._screen is not None:
            self._state.epoch.add(samples_in(batch), outputs, batch_idx)
            self._show(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the epoch's clock."""
        self._state.epoch.end()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the last row, and closes the screen."""
        self._show_epoch(trainer)
        self._close()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the screen, or within a fit stops the clock of training."""
        if trainer.state.fn != "fit":
            self._open()
        self._state.begin_evaluation()
        self._show(trainer)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *batch: Any, **named: Any) -> None:
        """Counts a batch."""
        self._state.evaluated += 1
        self._show(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes the screen, or within a fit starts the clock of training again."""
        if trainer.state.fn != "fit":
            self._close()
        elif not trainer.sanity_checking:
            self._state.end_validation(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Closes the screen, whatever has happened; the terminal is free before an error is printed."""
        self._close()

    on_test_start = on_predict_start = on_validation_start
    on_test_batch_end = on_predict_batch_end = on_validation_batch_end
    on_test_end = on_predict_end = on_validation_end
    on_exception = teardown

    # -- the screen ---------------------------------------------------------------------------------------------------

    def _open(self, fit: Trainer | None = None) -> None:
        self._state = ProgressState(fit)
        if self.is_enabled and self._screen is None:
            self._write(self._make_screen)

    def _make_screen(self) -> None:
        self._screen = PlainLines(self.line_seconds) if self.plain or not can_draw() else Terminal()

    def _close(self) -> None:
        screen, self._screen = self._screen, None
        if screen is not None:
            self._write(screen.close)

    def _show(self, trainer: Trainer) -> None:
        if self._screen is not None and time.monotonic() >= self._screen.next_at:
            self._write(self._screen.show, self._state.snapshot(trainer))

    def _show_epoch(self, trainer: Trainer) -> None:
        if self._screen is not None and self._state.epoch.has_ended:
            self._write(self._screen.show_epoch, self._state.end_epoch(trainer))

    def _write(self, write: Callable[..., None], *arguments: object) -> None:
        try:
            write(*arguments)
        except (OSError, ValueError):  # a closed pipe or file, a full disk, characters that it cannot encode
            self._screen, self._may_show = None, False  # the fit matters more


class PlainLines:
    """Prints lines without control characters.

    Args:
        every: The least time between two lines within an epoch, in seconds.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self.next_at = time.monotonic() + every

    def show(self, snapshot: Snapshot) -> None:
        """Prints the present moment: `Epoch 3/13: 50 of 110 batches, loss 0.5312, 812 samples/s, about 7 s left`."""
        words = snapshot.words()
        self._print(snapshot.title, f"{words['count'].replace('/', ' of ')} batches", words, "metrics", "speed", "left")

    def show_epoch(self, epoch: Snapshot) -> None:
        """Prints an epoch that has ended: `Epoch 3/13: phase 1 head, train_loss 0.12, val_loss 0.05 (best), ...`."""
        self._print(epoch.title, "", epoch.words(), "phase", "metrics", "speed", "time", "best", "patience", "left")

    def close(self) -> None:
        """Nothing has to be closed."""

    def _print(self, title: str, first: str, words: dict[str, str], *chosen: str) -> None:
        parts = [first, *(words.get(name, "") for name in chosen)]
        print(f"{title}: {', '.join(filter(None, parts))}", flush=True)
        self.next_at = time.monotonic() + self._every
