"""Trains a net in phases: the head first, then more and more of the rest."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateFinder, StochasticWeightAveraging
from lightning.pytorch.utilities import rank_zero_info

from plt_nn.callbacks.freezing.phase_adapters import PhaseAdapters
from plt_nn.callbacks.freezing.phase_listener import phase_listeners
from plt_nn.callbacks.freezing.plateau import PlateauBest, PlateauWatch
from plt_nn.callbacks.freezing.rank_consistency import require_unchanged
from plt_nn.callbacks.freezing.schedule_log import log_plan, log_transition, warn_of_phases_not_reached
from plt_nn.callbacks.freezing.schedule_plan import SchedulePlan, schedule_plan
from plt_nn.callbacks.lightning.callback_order import callbacks_of, sort_callbacks
from plt_nn.callbacks.lightning.compiled import before_each_forward
from plt_nn.callbacks.lightning.strategies import rebuild_ddp, require_whole_parameters
from plt_nn.callbacks.lightning.weight_averaging import correct_frozen_averages, measured_weights
from plt_nn.callbacks.resume.exact_resume import ExactResume
from plt_nn.fingerprint.digest import digests
from plt_nn.freezing import Phase, parse_phases
from plt_nn.freezing.freeze import (
    Flags,
    Frozen,
    flags_of,
    freeze,
    keep_in_eval_mode,
    reset_buffers,
    restore_flags,
    updated_flags,
)
from plt_nn.freezing.groups import apply_lr_factors, split_groups
from plt_nn.freezing.phases import phase_at


class FreezingSchedule(Callback):
    """Trains a net in phases: what a phase does not train has no gradient, stays in eval mode, and does not change.

    All parameters are in the optimizer from the start. A phase only decides which of them require gradients, and by
    which factor the learning rate of each stage is multiplied, so nothing is added to the optimizer or its schedulers.
    At each transition DistributedDataParallel is built again, because its reducer takes only parameters that require
    gradients when it is built, and a compiled net is compiled again. The optimizer keeps its state. When a phase ends,
    the frozen part must be unchanged, and the weights of all processes must be equal; otherwise it is an error. When
    the fit ends, `requires_grad` and train/eval modes are restored. It works on any `LightningModule` whose optimizers
    hold the parameters that the phases train.

    Logs, when a phase begins and at each epoch: `phase` (its number, from 0) and `lr/<stage>` of each stage that is
    trained: the scheduler's learning rate times the phase's factor. A logger that stores texts gets the table of
    `plt-nn plan` as `freezing_plan.md`, and a tag `phase/<number>` with when the phase began and what it trains.

    Args:
        phases: The phases in order, as `Phase` objects or as mappings with their arguments.
        net: The attribute of the LightningModule that holds the net. Default: its one child that has parameters, or
            with several children all of them in order.
        monitor: The metric that phases with `start: plateau` watch.
        mode: `min` if lower is better, `max` if higher is better.

    Raises:
        ConfigError: For phases that cannot be used, naming every fault; at the start of a fit for stages that the net
            does not have; during it for a `monitor` that is needed and not logged.
        TrainingError: If something frozen has changed, or weights differ between processes.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> from plt_nn import MLP, FreezingSchedule, Phase, Regressor, SyntheticRegressionData
        >>> schedule = FreezingSchedule([Phase("head"), Phase("all", start=1, lr_scale=0.1)])
        >>> quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        >>> trainer = Trainer(
        ...     accelerator="cpu", max_epochs=2, callbacks=[schedule], enable_checkpointing=False, **quiet
        ... )
        >>> trainer.fit(Regressor(MLP(2, [8], 1)), SyntheticRegressionData())
        >>> schedule.plan.facts()
        {'phase 0': 'head (9 of 33 parameters) from epoch 0', 'phase 1': 'all (33 of 33 parameters) from epoch 1'}
    """

    def __init__(
        self,
        phases: Sequence[Phase | Mapping[str, Any]],
        net: str | None = None,
        monitor: str = "val_loss",
        mode: Literal["min", "max"] = "min",
    ) -> None:
        self.phases = parse_phases(phases)
        self.net, self.monitor, self.mode = net, monitor, mode
        self.current: int | None = None
        self.plan: SchedulePlan | None = None
        self._plan_is_logged = False
        self._began = 0  # the optimizer step at which the current phase began
        self._plateaus: set[int] = set()
        self._best: PlateauBest | None = None
        self._adapters = PhaseAdapters(self.phases, net, self._restore_module)
        self._found: Flags | None = None
        self._frozen = Frozen((), {}, {})
        self._digests: dict[str, int] = {}
        self._unhook: list[Callable[[], None]] = []
        self._restored: dict[str, Any] | None = None

    # -- the beginning and the end of a fit ---------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes its place in the order of callbacks, with those that it needs."""
        sort_callbacks(trainer, self._adapters)
        self._adapters.begin(trainer, pl_module, stage)
        if stage != "fit":
            return
        require_whole_parameters(trainer.strategy, "FreezingSchedule")
        sort_callbacks(trainer, ExactResume)
        if any(phase.on_plateau for phase in self.phases):
            sort_callbacks(trainer, PlateauWatch(self.monitor, self._on_monitored))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Splits the optimizers' groups by stage, while all parameters still require gradients; then freezes."""
        warn_of_phases_not_reached(self.phases, self.monitor, trainer)
        self.plan = schedule_plan(pl_module, self.net, self.phases, trainer.optimizers, self._adapters.inserted)
        self._found, self.current, self._plateaus = flags_of(pl_module), None, set()
        self._best, self._plan_is_logged = None, False
        self._unhook += before_each_forward(pl_module, lambda: keep_in_eval_mode(self._frozen))
        for optimizer in trainer.optimizers:
            schedulers = [c.scheduler for c in trainer.lr_scheduler_configs if c.scheduler.optimizer is optimizer]
            split_groups(optimizer, schedulers, self.plan.stage_of)
            self._unhook.append(apply_lr_factors(optimizer))
        if callbacks_of(trainer, LearningRateFinder):
            self._enter(0, trainer, pl_module)  # the search, which comes now, is for what the first phase trains

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enters the phase of the checkpoint, if there is one; a transition that was due comes where it would have."""
        state, self._restored = self._restored, None
        if state is None or state["phase"] is None:
            return
        self._plateaus = self._plateaus_in(state)
        due = phase_at(self.phases, trainer.current_epoch, trainer.global_step, self._plateaus)
        number = min(state["phase"], due)
        if self.current is None:
            self._found = flags_of(pl_module)  # with what the module has frozen in its own `on_fit_start`
            self._enter(number, trainer, pl_module)
        if number == state["phase"]:
            self._began = state["began"]
            self._set_learning_rates(trainer)
            if self._best is not None and state["best"] is not None:
                self._best.load_state_dict(state["best"])

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks the last phase."""
        correct_frozen_averages(trainer, self._frozen.tensors())
        self._check_phase(trainer, pl_module)

    # -- during the fit -----------------------------------------------------------------------------------------------

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enters the phase that is due."""
        if not self._advance(trainer, pl_module, batch_idx=0):
            self._log(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Enters the phase that is due; keeps the frozen part in eval mode, whoever called `.train()`."""
        between_steps = batch_idx % trainer.accumulate_grad_batches == 0  # no gradient of other weights is waiting
        entered = (between_steps or self.current is None) and self._advance(trainer, pl_module, batch_idx)
        if batch_idx == 0 and callbacks_of(trainer, StochasticWeightAveraging):
            reset_buffers(self._frozen)
        if not self._plan_is_logged and self.plan is not None and self._found is not None:
            self._plan_is_logged = True
            log_plan(trainer, pl_module, self.plan, self._found, batch)
        keep_in_eval_mode(self._frozen)
        assert self.current is not None
        if entered or batch_idx == 0:
            pl_module.log("phase", float(self.current), prog_bar=True, logger=False, on_step=True, on_epoch=False)
        if trainer.global_step - self._began <= self.phases[self.current].warmup:
            self._set_learning_rates(trainer)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Corrects the frozen part of averaged weights, which are measured or saved now."""
        correct_frozen_averages(trainer, self._frozen.tensors())

    on_save_checkpoint = on_validation_epoch_start

    def _on_monitored(self, value: float, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._best is None or self.current is None:
            return
        with measured_weights(trainer, pl_module):
            is_plateau = self._best.check(value, trainer.strategy.broadcast)
        if is_plateau:
            self._plateaus.add(self.current + 1)

    # -- phases -------------------------------------------------------------------------------------------------------

    def _advance(self, trainer: Trainer, pl_module: LightningModule, batch_idx: int) -> bool:
        """Enters the phase that is due, if it is another one; returns whether that was so."""
        number = phase_at(self.phases, trainer.current_epoch, trainer.global_step, self._plateaus)
        if number == self.current:
            return False
        is_beginning = self.current is None
        if is_beginning:
            self._found = flags_of(pl_module)  # with what the module has frozen as training started
        else:
            self._end_phase(number, trainer, pl_module)
        self._enter(number, trainer, pl_module)
        for listener in [] if is_beginning else phase_listeners(trainer):
            listener.on_phase_start(trainer, pl_module, number, batch_idx)
        self._log(trainer)
        log_transition(trainer, number, self.plan.describe(number) if self.plan is not None else "")
        return True

    def _end_phase(self, following: int, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._found is not None
        self._check_phase(trainer, pl_module)
        correct_frozen_averages(trainer, self._frozen.tensors())
        if self._best is not None and following in self._plateaus:
            self._best.restore()
        self._found = updated_flags(pl_module, self._found, self._frozen)

    def _enter(self, number: int, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._found is not None and self.plan is not None, "a phase was entered outside a fit"  # noqa: PT018
        self._frozen = freeze(pl_module, self._found, self.plan.trained[number], self.plan.held(number))
        self._digests = digests(self._frozen.tensors())
        rebuild_ddp(trainer.strategy, self._frozen.tensors())
        self.current, self._began = number, trainer.global_step
        self._set_learning_rates(trainer)
        follower = self.phases[number + 1] if number + 1 < len(self.phases) else None
        self._best = PlateauBest(pl_module, self.mode, follower.checks) if follower and follower.on_plateau else None
        rank_zero_info(
            f"Epoch {trainer.current_epoch}, step {trainer.global_step}: phase {number} trains "
            f"{self.plan.describe(number)}"
        )

    def _check_phase(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks at a phase's end that the frozen part is unchanged and the weights of all processes are equal."""
        when = f"At the end of phase {self.current}, epoch {trainer.current_epoch}, step {trainer.global_step}"
        require_unchanged(trainer, pl_module, self._frozen.tensors(), self._digests, when)

    def _set_learning_rates(self, trainer: Trainer) -> None:
        assert self.plan is not None and self.current is not None  # noqa: PT018
        self.plan.set_learning_rates(self.current, trainer.global_step - self._began, trainer.optimizers)

    def _log(self, trainer: Trainer) -> None:
        assert self.plan is not None and self.current is not None  # noqa: PT018
        metrics = {"phase": float(self.current), **self.plan.learning_rates(self.current, trainer.optimizers)}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=trainer.global_step)

    def _restore_module(self, pl_module: LightningModule) -> None:
        while self._unhook:
            self._unhook.pop()()
        if self._found is not None:
            restore_flags(pl_module, self._found)
        self._found, self._frozen = None, Frozen((), {}, {})
        self._restored = None  # the state of a checkpoint was for this fit, or loaded to validate

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The phase, where it began, which plateaus were reached, and the best of a phase that waits for one."""
        return {
            "phase": self.current,
            "began": self._began,
            "plateaus": sorted(self._plateaus),
            "best": self._best.state_dict() if self._best is not None else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Stores the state for the start of training, when epochs and steps are known."""
        self._restored = state_dict

    def _plateaus_in(self, state: dict[str, Any] | None) -> set[int]:
        numbers = set(state["plateaus"]) if state is not None else set()
        return {number for number in numbers if number < len(self.phases) and self.phases[number].on_plateau}
