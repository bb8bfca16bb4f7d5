"""What each phase of a freezing schedule trains, at which rate, and what it costs; known before any training."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from plt_nn.errors import ConfigError
from plt_nn.freezing.costs.flops import Flops, count_flops
from plt_nn.freezing.costs.frontier_plan import frontier_in_words
from plt_nn.freezing.costs.memory import state_memory
from plt_nn.freezing.freeze import norms_with_statistics
from plt_nn.freezing.phases import Phase
from plt_nn.freezing.plan import StageLike, held_modules, trained_parameters
from plt_nn.freezing.rates import stage_factors

OUTSIDE = "outside the stages"


@dataclass(frozen=True)
class StageCost:
    """A stage during a phase.

    Args:
        name: The stage's name; `OUTSIDE` for parameters that the schedule leaves alone, which are always trained.
        trained: How many of its parameters are trained.
        frozen: How many are not.
        learning_rates: The different rates at which they are trained, ascending, before any scheduler or warm-up; empty
            where none is trained, or no optimizer is known.
    """

    name: str
    trained: int
    frozen: int
    learning_rates: tuple[float, ...]


@dataclass(frozen=True)
class PhaseCost:
    """A phase and what it costs.

    Args:
        number: Its number, from 0.
        trains: What it trains, in words.
        start: When it begins, as it was written.
        start_in_words: The same in words.
        settings: What else differs from the defaults, in words.
        stages: The stages from input to head, those without parameters left out.
        trained: How many parameters are trained.
        frozen: How many are not.
        flops: Operations per sample; None where they could not be counted.
        gradient_bytes: Memory of the gradients.
        optimizer_bytes: Memory of the optimizer's state, for all that has been trained so far: it keeps the state of
            what is frozen again. None where it is not known.
        computed_once: What is the same for a sample in each epoch and can be cached (`FrozenFeatureCache`), in words.
    """

    number: int
    trains: str
    start: int | str
    start_in_words: str
    settings: tuple[str, ...]
    stages: tuple[StageCost, ...]
    trained: int
    frozen: int
    flops: Flops | None
    gradient_bytes: int
    optimizer_bytes: int | None
    computed_once: str


@dataclass(frozen=True)
class PlanCost:
    """A freezing schedule and what it costs.

    Args:
        phases: The phases in order.
        everything: Operations per sample when all is trained, to compare with; None where they were not counted.
        optimizers: The classes of the optimizers.
        input_shapes: The shapes of the inputs of a sample, without the batch.
        notes: What is unknown and why; each a sentence.
    """

    phases: tuple[PhaseCost, ...]
    everything: Flops | None
    optimizers: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, dictionaries, numbers and texts."""
        return asdict(self)


def phase_costs(
    phases: Sequence[Phase],
    stages: Sequence[StageLike],
    module: nn.Module,
    trained: Sequence[Set[str]] | None = None,
    optimizers: Sequence[Optimizer] = (),
    inputs: Sequence[Any] | None = None,
    entry: str = "",
) -> PlanCost:
    """What each phase trains, at which learning rate, and what it costs. Nothing that is given is changed.

    Args:
        phases: The phases in order.
        stages: The stages from input to head, their parameters named as in `module`.
        module: Holds the parameters, as they are before any freezing: what does not require a gradient stays so.
        trained: For each phase the names of the parameters that it trains, whatever requires a gradient now; needed if
            a phase has adapters. Default: what it selects.
        optimizers: What trains them. Without any, rates and the memory of their state are unknown.
        inputs: The arguments of `forward` for a batch, for `count_flops`; only shapes and dtypes matter.
        entry: The part of the module whose `forward` takes them, by name. Default: the module itself.

    Raises:
        ConfigError: If a phase trains what the net does not have.
    """
    parameters = dict(module.named_parameters())
    free = frozenset(name for name, parameter in parameters.items() if parameter.requires_grad)
    if trained is None:
        selections = [free & names for names in _selections(phases, stages, parameters)]
    else:
        selections = [frozenset(names) for names in trained]
    everything = free.union(*selections)
    notes: list[str] = []
    flops = _flops(module, inputs, entry, [*selections, everything], notes)
    memory = _memory(optimizers, [{parameters[name] for name in names} for names in selections], notes)
    rates = {p: _base_rate(group) for made in optimizers for group in made.param_groups for p in group["params"]}
    costs = [
        _phase_cost(
            (number, phase),
            _stage_costs(phase, stages, parameters, names, rates),
            flops=flops[number],
            gradient_bytes=sum(parameters[name].nbytes for name in names),
            optimizer_bytes=memory[number],
            computed_once=_computed_once(module, stages, names, phase, inputs, entry),
        )
        for number, (phase, names) in enumerate(zip(phases, selections, strict=True))
    ]
    shapes = tuple(tuple(leaf.shape[1:]) for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor))
    return PlanCost(tuple(costs), flops[-1], tuple(type(made).__name__ for made in optimizers), shapes, tuple(notes))


def _selections(
    phases: Sequence[Phase], stages: Sequence[StageLike], parameters: Mapping[str, Parameter]
) -> Sequence[Set[str]]:
    sizes = {name: parameter.numel() for name, parameter in parameters.items()}
    outside = parameters.keys() - {name for stage in stages for name in stage.parameters}
    assert all(phase.adapt is None for phase in phases), "what adapters train is known once they are inserted"
    return [outside | trained_parameters(phase.train, stages, sizes) for phase in phases]


def _computed_once(
    module: nn.Module,
    stages: Sequence[StageLike],
    trained: Set[str],
    phase: Phase,
    inputs: Sequence[Any] | None,
    entry: str,
) -> str:
    held = held_modules(stages, frozenset(trained))
    if phase.norm == "frozen":
        held |= norms_with_statistics(module)
    return frontier_in_words(module, trained, held, inputs, entry)


def _phase_cost(numbered: tuple[int, Phase], rows: tuple[StageCost, ...], **costs: Any) -> PhaseCost:
    number, phase = numbered
    return PhaseCost(
        number=number,
        trains=_trains(phase),
        start=phase.start,
        start_in_words=phase.describe_start(),
        settings=_settings(phase),
        stages=rows,
        trained=sum(row.trained for row in rows),
        frozen=sum(row.frozen for row in rows),
        **costs,
    )


def _trains(phase: Phase) -> str:
    selected = phase.train if isinstance(phase.train, str) else ", ".join(phase.train)
    return selected if phase.adapt is None else f"{phase.adapt.kind} in {selected}"


def _settings(phase: Phase) -> tuple[str, ...]:
    others = [field for field in fields(Phase) if field.name not in ("train", "start", "patience", "adapt")]
    changed = [field.name for field in others if getattr(phase, field.name) != field.default]
    rank = [] if phase.adapt is None else [f"rank {phase.adapt.rank}"]
    return tuple([f"{name} {getattr(phase, name)}" for name in changed] + rank)


def _stage_costs(
    phase: Phase,
    stages: Sequence[StageLike],
    parameters: Mapping[str, Parameter],
    trained: frozenset[str],
    rates: Mapping[Parameter, float],
) -> tuple[StageCost, ...]:
    members = {stage.name: stage.parameters for stage in stages}
    inside = {name for names in members.values() for name in names}
    members[OUTSIDE] = tuple(name for name in parameters if name not in inside)
    factors = stage_factors(phase, stages)
    rows = []
    for stage, names in members.items():
        alive = [parameters[name] for name in names if name in trained]
        rows.append(
            StageCost(
                name=stage,
                trained=sum(parameter.numel() for parameter in alive),
                frozen=sum(parameters[name].numel() for name in names if name not in trained),
                learning_rates=tuple(sorted({rates[p] * factors.get(stage, 1.0) for p in alive if p in rates})),
            )
        )
    return tuple(row for row in rows if row.trained + row.frozen > 0)


def _base_rate(group: Mapping[str, Any]) -> float:
    """The rate of a group that schedulers multiply; a one-cycle schedule's highest."""
    return float(group.get("max_lr", group.get("initial_lr", group["lr"])))


def _flops(
    module: nn.Module, inputs: Sequence[Any] | None, entry: str, selections: Sequence[frozenset[str]], notes: list[str]
) -> list[Flops | None]:
    if inputs is None:
        notes.append("FLOPs are not counted: the shape of the input is not known.")
        return [None] * len(selections)
    try:
        counted = {trained: count_flops(module, inputs, trained, entry) for trained in dict.fromkeys(selections)}
    except ConfigError as error:
        notes.append(f"FLOPs cannot be counted. {error}")
        return [None] * len(selections)
    return [counted[trained] for trained in selections]


def _memory(
    optimizers: Sequence[Optimizer], selections: Sequence[Set[Parameter]], notes: list[str]
) -> Sequence[int | None]:
    if not optimizers:
        notes.append("Learning rates and optimizer state are unknown, because no optimizer is known.")
        return [None] * len(selections)
    try:
        return state_memory(optimizers, selections)
    except ConfigError as error:
        notes.append(f"The optimizer's state cannot be estimated. {error}")
        return [None] * len(selections)
