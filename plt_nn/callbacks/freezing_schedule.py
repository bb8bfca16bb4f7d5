"""Trains a net in phases: the head first, then more and more of the rest."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import nn
from torch.nn import Parameter

from plt_nn.backbones import Stage
from plt_nn.callbacks.net_stages import net_stages
from plt_nn.callbacks.strategies import require_whole_parameters, wrap_anew
from plt_nn.errors import ConfigError
from plt_nn.freezing import (
    Condition,
    Phase,
    apply_lr_factors,
    condition_of,
    freeze,
    held_modules,
    hold,
    parse_phases,
    phase_at,
    restore,
    set_lr_factors,
    split_groups,
    trained_parameters,
)


class FreezingSchedule(Callback):
    """Trains a net in phases: what a phase does not train has no gradient and stays in eval mode.

    All parameters are in the optimizer from the start; a phase only says which require gradients and by which factor
    the learning rate is multiplied, so nothing is added to the optimizer or its schedulers and a resumed run stands in
    the right phase by its epoch alone. At each transition DistributedDataParallel is built anew, because its reducer
    takes only parameters that require gradients when it is built. The net is given back as it was found when the fit
    ends. Works on any `LightningModule` whose optimizers hold the parameters that the phases train.

    Logs: `phase` (its number, from 0) at every epoch.

    Args:
        phases: The phases in order, as `Phase` objects or as mappings with their arguments.
        net: The attribute of the LightningModule that holds the net. Default: its one child that has parameters, or
            with several children all of them in order.

    Raises:
        ConfigError: For phases that cannot be used, naming every fault; at the start of a fit for stages that the net
            does not have.
    """

    def __init__(self, phases: Sequence[Phase | Mapping[str, Any]], net: str | None = None) -> None:
        self.phases = parse_phases(phases)
        self.net = net
        self.current: int | None = None
        self.trained_counts: list[int] = []
        self._stages: list[Stage] = []
        self._sizes: dict[str, int] = {}
        self._trained: list[frozenset[str]] = []
        self._found: Condition | None = None
        self._held: list[nn.Module] = []
        self._unhook: list[Callable[[], None]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Splits the optimizers' groups by stage; here all parameters still require gradients."""
        require_whole_parameters(trainer.strategy, "FreezingSchedule")
        self._stages = net_stages(pl_module, self.net)
        self._sizes = {name: parameter.numel() for name, parameter in pl_module.named_parameters()}
        self._trained = [trained_parameters(phase.train, self._stages, self._sizes) for phase in self.phases]
        self.trained_counts = [sum(self._sizes[name] for name in trained) for trained in self._trained]
        _check_in_optimizers(frozenset[str]().union(*self._trained), trainer, pl_module)
        self._found, self.current = condition_of(pl_module), None
        label = _stage_labels(self._stages, pl_module)
        for optimizer in trainer.optimizers:
            schedulers = [c.scheduler for c in trainer.lr_scheduler_configs if c.scheduler.optimizer is optimizer]
            split_groups(optimizer, schedulers, label)
            self._unhook.append(apply_lr_factors(optimizer))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enters the phase of the first or the resumed epoch."""
        self._enter(phase_at(self.phases, trainer.current_epoch), trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Enters the epoch's phase."""
        self._enter(phase_at(self.phases, trainer.current_epoch), trainer, pl_module)
        assert self.current is not None
        pl_module.log("phase", float(self.current), prog_bar=True, sync_dist=True)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keeps the frozen part in eval mode, whoever called `.train()`."""
        hold(self._held)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives the net back as it was found."""
        self._leave(pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the net back as it was found."""
        self._leave(pl_module)

    def _enter(self, number: int, trainer: Trainer, pl_module: LightningModule) -> None:
        if number == self.current:
            return
        assert self._found is not None, "a phase was entered outside a fit"
        phase, trained = self.phases[number], self._trained[number]
        in_stages = {name for stage in self._stages for name in stage.parameters}
        outside = self._found.requires_grad.keys() - in_stages
        held = held_modules(self._stages, trained)
        self._held = freeze(pl_module, self._found, trained | outside, held, norm_frozen=phase.norm == "frozen")
        for optimizer in trainer.optimizers:
            set_lr_factors(optimizer, {stage.name: phase.lr_scale for stage in self._stages})
        wrap_anew(trainer.strategy)
        self.current = number
        train = phase.train if isinstance(phase.train, str) else ", ".join(phase.train)
        rank_zero_info(
            f"Epoch {trainer.current_epoch}: phase {number} trains {train} "
            f"({self.trained_counts[number]:,} of {sum(self._sizes[name] for name in in_stages):,} parameters)"
        )

    def _leave(self, pl_module: LightningModule) -> None:
        while self._unhook:
            self._unhook.pop()()
        if self._found is not None:
            restore(pl_module, self._found)
        self._found, self._held = None, []


def _check_in_optimizers(names: frozenset[str], trainer: Trainer, pl_module: LightningModule) -> None:
    held = {id(p) for optimizer in trainer.optimizers for group in optimizer.param_groups for p in group["params"]}
    parameters = pl_module.named_parameters()
    missing = [name for name, p in parameters if name in names and p.requires_grad and id(p) not in held]
    if missing:
        raise ConfigError(
            f"{len(missing)} parameters that the schedule trains are in no optimizer: {', '.join(missing[:10])}"
            f"{', ...' if len(missing) > 10 else ''}. configure_optimizers must take all parameters of the net; "
            "freezing begins only after it has run."
        )


def _stage_labels(stages: Sequence[Stage], pl_module: LightningModule) -> Callable[[Parameter], str]:
    stage_of = {name: stage.name for stage in stages for name in stage.parameters}
    labels = {id(parameter): stage_of.get(name, "") for name, parameter in pl_module.named_parameters()}
    return lambda parameter: labels.get(id(parameter), "")
