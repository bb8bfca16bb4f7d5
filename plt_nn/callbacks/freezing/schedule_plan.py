"""What each phase of a schedule trains of the net in a LightningModule."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from lightning.pytorch import LightningModule
from torch.nn import Parameter
from torch.optim import Optimizer

from plt_nn.callbacks.freezing.net_stages import net_stages
from plt_nn.errors import ConfigError
from plt_nn.freezing import Phase
from plt_nn.freezing.adapters.stage_adapters import Adapters
from plt_nn.freezing.freeze import norms_with_statistics
from plt_nn.freezing.groups import LR_FACTOR, STAGE, set_lr_factors
from plt_nn.freezing.plan import StageLike, held_modules, trained_parameters
from plt_nn.freezing.rates import stage_factors, warmup_factor
from plt_nn.text import and_more


@dataclass(frozen=True)
class SchedulePlan:
    """The plan for one net.

    Args:
        phases: The phases in order.
        stages: The net's stages from input to head, named as in the LightningModule.
        sizes: Number of elements of each parameter of the LightningModule by name.
        trained: For each phase the names of the parameters that may be trained: those that it selects, and those that
            belong to no stage.
        norms: The names of the net's modules that keep running statistics.
        labels: The stage of each parameter by its id.
        adapters: What phases with `adapt` have put into the net.
    """

    phases: Sequence[Phase]
    stages: Sequence[StageLike]
    sizes: dict[str, int]
    trained: tuple[frozenset[str], ...]
    norms: frozenset[str]
    labels: dict[int, str]
    adapters: Adapters | None = None

    def stage_of(self, parameter: Parameter) -> str:
        """The name of the stage that a parameter belongs to; empty if it belongs to none."""
        return self.labels.get(id(parameter), "")

    def held(self, number: int) -> frozenset[str]:
        """The names of the modules that stay in eval mode in a phase."""
        held = held_modules(self.stages, self.trained[number])
        if self.adapters is not None:
            held |= self.adapters.held(number)
        return held | self.norms if self.phases[number].norm == "frozen" else held

    def trained_count(self, number: int) -> int:
        """How many elements of the net's parameters a phase trains."""
        return sum(
            self.sizes[name] for stage in self.stages for name in stage.parameters if name in self.trained[number]
        )

    def learning_rates(self, number: int, optimizers: Sequence[Optimizer]) -> dict[str, float]:
        """The learning rate of each stage that a phase trains, as `lr/<stage>`: the scheduler's times the factor.

        A stage in several groups of different rates has one for each, under the group's name.
        """
        filled = {stage.name for stage in self.stages if not self.trained[number].isdisjoint(stage.parameters)}
        rates: dict[str, dict[str, float]] = {}
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            if group.get(STAGE) in filled:
                rates.setdefault(group[STAGE], {})[group["name"]] = float(group["lr"]) * group.get(LR_FACTOR, 1.0)
        one = {f"lr/{stage}": min(by.values()) for stage, by in rates.items() if len(set(by.values())) == 1}
        several = [by for by in rates.values() if len(set(by.values())) > 1]
        return one | {f"lr/{name}": rate for by in several for name, rate in by.items()}

    def set_learning_rates(self, number: int, steps: int, optimizers: Sequence[Optimizer]) -> None:
        """Sets the factor on each group's learning rate as it is `steps` optimizer steps after a phase has begun."""
        warm = warmup_factor(self.phases[number], steps)
        factors = stage_factors(self.phases[number], self.stages)
        for optimizer in optimizers:
            set_lr_factors(optimizer, {stage: factor * warm for stage, factor in factors.items()})

    def describe(self, number: int) -> str:
        """What a phase trains, in words."""
        train = self.phases[number].train
        selected = train if isinstance(train, str) else ", ".join(train)
        total = sum(self.sizes[name] for stage in self.stages for name in stage.parameters)
        with_adapters = " by adapters" if self.phases[number].adapt is not None else ""
        return f"{selected}{with_adapters} ({self.trained_count(number):,} of {total:,} parameters)"

    def facts(self) -> dict[str, str]:
        """What each phase trains and when it begins, in words."""
        starts = [phase.describe_start() for phase in self.phases]
        return {f"phase {number}": f"{self.describe(number)} {start}" for number, start in enumerate(starts)}


def schedule_plan(
    pl_module: LightningModule,
    net: str | None,
    phases: Sequence[Phase],
    optimizers: Sequence[Optimizer],
    adapters: Adapters | None = None,
) -> SchedulePlan:
    """The plan for the net in a LightningModule.

    Args:
        pl_module: The module.
        net: The attribute that holds the net; see `net_stages`.
        phases: The phases in order.
        optimizers: The optimizers, which must hold all that the phases train.
        adapters: What has been put into the net for phases with `adapt`.

    Raises:
        ConfigError: If a phase selects what the net does not have, or what is in no optimizer.
    """
    sizes = {name: parameter.numel() for name, parameter in pl_module.named_parameters()}
    if adapters is None:
        stages: Sequence[StageLike] = net_stages(pl_module, net)
        selected = [trained_parameters(phase.train, stages, sizes) for phase in phases]
    else:
        stages, selected = adapters.stages, list(adapters.trained)
    _require_something_trained(selected, phases, pl_module)
    _require_in_optimizers(frozenset[str]().union(*selected), optimizers, pl_module)
    stage_of = {name: stage.name for stage in stages for name in stage.parameters}
    outside = sizes.keys() - stage_of.keys()
    norms = norms_with_statistics(pl_module) & {name for stage in stages for name in stage.modules}
    labels = {id(parameter): stage_of.get(name, "") for name, parameter in pl_module.named_parameters()}
    return SchedulePlan(
        phases, stages, sizes, tuple(trained | outside for trained in selected), norms, labels, adapters
    )


def _require_something_trained(
    selected: Sequence[Set[str]], phases: Sequence[Phase], pl_module: LightningModule
) -> None:
    needed = {name for name, parameter in pl_module.named_parameters() if parameter.requires_grad}
    for number, (names, phase) in enumerate(zip(selected, phases, strict=True)):
        if needed.isdisjoint(names):
            raise ConfigError(
                f"Phase {number} trains nothing: all that {phase.train!r} selects ({and_more(sorted(names), 10)}) was "
                "frozen before the fit. Let it require gradients, select more, or name the net by `net=`."
            )


def _require_in_optimizers(names: Set[str], optimizers: Sequence[Optimizer], pl_module: LightningModule) -> None:
    held = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    parameters = pl_module.named_parameters()
    missing = [name for name, p in parameters if name in names and p.requires_grad and id(p) not in held]
    if missing:
        raise ConfigError(
            f"{len(missing)} parameters that the schedule trains are in no optimizer: {and_more(missing, 10)}. "
            "configure_optimizers must take all parameters of the net; freezing begins only after it has run. If these "
            "are not of the net, name it by `net=`."
        )
