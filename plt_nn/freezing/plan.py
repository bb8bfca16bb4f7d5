"""What a phase trains and what it keeps in eval mode: names in, names out. Pure."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from plt_nn.errors import ConfigError, did_you_mean

HEAD = "head"


class StageLike(Protocol):
    """What the plan needs to know of a stage; `plt_nn.backbones.Stage` is one."""

    @property
    def name(self) -> str:
        """The stage's name."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its parameters, as in `net.named_parameters()`."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of its modules that hold parameters or buffers or behave differently in training."""


def trained_parameters(
    train: str | Sequence[str], stages: Sequence[StageLike], sizes: Mapping[str, int]
) -> frozenset[str]:
    """The names of the parameters that a phase trains.

    Args:
        train: A phase's `train`; see `Phase`.
        stages: The net's stages from input to head; the last one is the head.
        sizes: Number of elements of each parameter by name.

    Raises:
        ConfigError: If it selects nothing, more stages than there are, or a name that does not exist.
    """
    trained = _selected(train, stages, sizes)
    if not trained:
        raise ConfigError(
            f"{train!r} selects no parameter: a net made without a classifier has an empty head. Train more of it."
        )
    return trained


def held_modules(stages: Sequence[StageLike], trained: frozenset[str]) -> frozenset[str]:
    """The names of the modules that stay in eval mode: those in which nothing is trained.

    That is a module with parameters of its own if none of them is trained; one without (Dropout, DropPath) if nothing
    in its stage is trained; a container if everything in it stays in eval mode.
    """
    held: dict[str, bool] = {}
    for stage in stages:
        stage_held = trained.isdisjoint(stage.parameters)
        own = {parameter.rpartition(".")[0] for parameter in stage.parameters}
        alive = {parameter.rpartition(".")[0] for parameter in stage.parameters if parameter in trained}
        held.update({name: name not in alive if name in own else stage_held for name in stage.modules})
    for name, is_held in list(held.items()):
        while name:  # every container up to the root, whose name is ""
            name = name.rpartition(".")[0]
            held[name] = held.get(name, True) and is_held
    return frozenset(name for name, is_held in held.items() if is_held)


def _selected(train: str | Sequence[str], stages: Sequence[StageLike], sizes: Mapping[str, int]) -> frozenset[str]:
    if not isinstance(train, str):
        return frozenset[str]().union(*(_matching(pattern, stages) for pattern in train))
    text = " ".join(train.split())
    if text == "all":
        return _parameters_of(stages)
    if text == HEAD:
        return _parameters_of(stages[-1:])
    if match := re.fullmatch(r"last (\d+) stages?", text):
        return _last_stages(int(match[1]), stages)
    if match := re.fullmatch(r"last (\d+(?:\.\d+)?) ?%", text):
        return _last_percent(float(match[1]), stages, sizes)
    return _matching(text, stages)


def _parameters_of(stages: Sequence[StageLike]) -> frozenset[str]:
    return frozenset(parameter for stage in stages for parameter in stage.parameters)


def _last_stages(count: int, stages: Sequence[StageLike]) -> frozenset[str]:
    before_head = len(stages) - 1
    if not 1 <= count <= before_head:
        names = ", ".join(stage.name for stage in stages)
        raise ConfigError(
            f"'last {count} stages' was requested, but this net has {before_head} before its head; "
            f"expected a number from 1 to {before_head}. Its stages: {names}."
        )
    return _parameters_of(stages[-1 - count :])


def _last_percent(percent: float, stages: Sequence[StageLike], sizes: Mapping[str, int]) -> frozenset[str]:
    if not 0 < percent <= 100:
        raise ConfigError(f"'last {percent:g}%' was requested; expected more than 0 and at most 100 percent.")
    wanted = sum(sizes.values()) * percent / 100
    reached, first = 0, len(stages)
    while reached < wanted and first > 0:
        first -= 1
        reached += sum(sizes[name] for name in stages[first].parameters)
    return _parameters_of(stages[first:])


def _matching(pattern: str, stages: Sequence[StageLike]) -> frozenset[str]:
    for stage in stages:
        if stage.name == pattern:
            return frozenset(stage.parameters)
    names = sorted(_parameters_of(stages))
    if pattern.startswith("re:"):
        try:
            found = frozenset(name for name in names if re.fullmatch(pattern[3:], name))
        except re.error as error:
            raise ConfigError(f"{pattern!r} is not a regular expression: {error}.") from error
    else:
        found = frozenset(name for name in names if fnmatchcase(name, pattern))
    if not found:
        number = re.search(r"\d+", pattern)
        valid = [HEAD, "all", f"last {number[0] if number else 1} stages", *(stage.name for stage in stages), *names]
        hint = did_you_mean(pattern, valid)
        raise ConfigError(
            f"{pattern!r} matches no stage and no parameter of the net.{hint} "
            f"Its stages: {', '.join(stage.name for stage in stages)}. Expected 'head', 'last N stages', 'last P%', "
            "'all', a stage, a glob over parameter names, or 're:' and a regular expression."
        )
    return found
