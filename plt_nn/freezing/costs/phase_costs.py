"""What each phase of a freezing schedule trains, at which rate, and what it costs; known before any training."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from plt_nn.errors import ConfigError
from plt_nn.freezing.adapters.stage_adapters import Adapters
from plt_nn.freezing.costs.flops import Flops, count_flops
from plt_nn.freezing.costs.memory import state_memory
from plt_nn.freezing.costs.predicted_cut import frontier_in_words
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
    adapters: Adapters | None = None,
    optimizers: Sequence[Optimizer] = (),
    inputs: Sequence[Any] | None = None,
    entry: str = "",
    free: Set[str] | None = None,
) -> PlanCost:
    """What each phase trains, at which learning rate, and what it costs. Nothing that is given is changed.

    Args:
        phases: The phases in order.
        stages: The stages from input to head, their parameters named as in `module`.
        module: Holds the parameters.
        adapters: What `insert_adapters` has put into the module; needed if a phase has adapters.
        optimizers: What trains them. Without any, rates and the memory of their state are unknown.
        inputs: The arguments of `forward` for a batch, for `count_flops`; only shapes and dtypes matter.
        entry: The part of the module whose `forward` takes them, by name. Default: the module itself.
        free: The names of the parameters that required gradients before any freezing. Default: those that do now.

    Raises:
        ConfigError: If a phase trains what the net does not have.
    """
    parameters = dict(module.named_parameters())
    sizes = {name: parameter.numel() for name, parameter in parameters.items()}
    if adapters is None:
        assert all(phase.adapt is None for phase in phases), "what adapters train is known once they are inserted"
        selected = [trained_parameters(phase.train, stages, sizes) for phase in phases]
    else:
        stages, selected = adapters.stages, list(adapters.trained)
    if free is None:
        free = {name for name, parameter in parameters.items() if parameter.requires_grad}
    members = {stage.name: stage.parameters for stage in stages}
    members[OUTSIDE] = tuple(parameters.keys() - {name for names in members.values() for name in names})
    selections = [frozenset(free & (names | set(members[OUTSIDE]))) for names in selected]
    flops, memory, notes = _measured(module, [*selections, frozenset(free)], optimizers, inputs, entry)
    rates = {p: _base_rate(group) for made in optimizers for group in made.param_groups for p in group["params"]}
    costs = []
    for number, (phase, trained) in enumerate(zip(phases, selections, strict=True)):
        rows = _stage_costs(members, parameters, trained, rates, stage_factors(phase, stages))
        norms = norms_with_statistics(module) if phase.norm == "frozen" else frozenset()
        costs.append(
            PhaseCost(
                number=number,
                trains=_trains(phase),
                start=phase.start,
                start_in_words=phase.describe_start(),
                settings=_settings(phase),
                stages=rows,
                trained=sum(row.trained for row in rows),
                frozen=sum(row.frozen for row in rows),
                flops=flops[number],
                gradient_bytes=sum(parameters[name].nbytes for name in trained),
                optimizer_bytes=memory[number],
                computed_once=frontier_in_words(module, trained, held_modules(stages, trained) | norms, inputs, entry),
            )
        )
    shapes = tuple(tuple(leaf.shape[1:]) for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor))
    return PlanCost(tuple(costs), flops[-1], tuple(type(made).__name__ for made in optimizers), shapes, tuple(notes))


def _trains(phase: Phase) -> str:
    selected = phase.train if isinstance(phase.train, str) else ", ".join(phase.train)
    return selected if phase.adapt is None else f"{phase.adapt.kind} in {selected}"


def _settings(phase: Phase) -> tuple[str, ...]:
    others = [field for field in fields(Phase) if field.name not in ("train", "start", "patience", "adapt")]
    changed = [field.name for field in others if getattr(phase, field.name) != field.default]
    rank = [] if phase.adapt is None else [f"rank {phase.adapt.rank}"]
    return tuple([f"{name} {getattr(phase, name)}" for name in changed] + rank)


def _stage_costs(
    members: Mapping[str, Sequence[str]],
    parameters: Mapping[str, Parameter],
    trained: Set[str],
    rates: Mapping[Parameter, float],
    factors: Mapping[str, float],
) -> tuple[StageCost, ...]:
    rows = []
    for stage, names in members.items():
        alive = [parameters[name] for name in names if name in trained]
        count = sum(parameter.numel() for parameter in alive)
        frozen = sum(parameters[name].numel() for name in names) - count
        own = {rates[parameter] * factors.get(stage, 1.0) for parameter in alive if parameter in rates}
        rows.append(StageCost(stage, count, frozen, tuple(sorted(own))))
    return tuple(row for row in rows if row.trained + row.frozen > 0)


def _base_rate(group: Mapping[str, Any]) -> float:
    """The rate of a group that schedulers multiply; a one-cycle schedule's highest."""
    return float(group.get("max_lr", group.get("initial_lr", group["lr"])))


def _measured(
    module: nn.Module,
    selections: Sequence[frozenset[str]],
    optimizers: Sequence[Optimizer],
    inputs: Sequence[Any] | None,
    entry: str,
) -> tuple[Sequence[Flops | None], Sequence[int | None], list[str]]:
    """The FLOPs of each selection of parameters, the bytes of optimizer state of each but the last, and notes."""
    flops: Sequence[Flops | None] = [None] * len(selections)
    memory: Sequence[int | None] = [None] * len(selections)
    notes = []
    if inputs is None:
        notes.append("FLOPs are not counted: the shape of the input is not known.")
    else:
        try:
            counted = {trained: count_flops(module, inputs, trained, entry) for trained in dict.fromkeys(selections)}
            flops = [counted[trained] for trained in selections]
        except ConfigError as error:
            notes.append(f"FLOPs cannot be counted. {error}")
    if not optimizers:
        notes.append("Learning rates and optimizer state are unknown, because no optimizer is known.")
    else:
        try:
            memory = state_memory(optimizers, [set(map(module.get_parameter, trained)) for trained in selections[:-1]])
        except ConfigError as error:
            notes.append(f"The optimizer's state cannot be estimated. {error}")
    return flops, memory, notes
