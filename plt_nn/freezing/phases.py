"""Phases of a freezing schedule: what is trained from when, checked before anything slow starts. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from typing import Any, Literal

from plt_nn.errors import ConfigError, did_you_mean, refuse
from plt_nn.freezing.adapters.adapt import Adapt, adapt_faults, as_number, is_number, parse_adapt

PLATEAU = "plateau"
_STEPS = re.compile(r"(\d{1,18}) ?steps?")
_NUMBERS: dict[str, tuple[Callable[[float], bool], str]] = {  # field -> (test, what is expected)
    "lr_scale": (lambda value: 0 < value < float("inf"), "a number above 0"),
    "layer_decay": (lambda value: 0 < value <= 1, "a number above 0 and at most 1"),
}
_COUNTS = {"warmup": 0, "patience": 1}  # field -> least value


@dataclass(frozen=True)
class Phase:
    """One phase of a freezing schedule: what is trained, from when, at which fraction of the learning rate.

    Args:
        train: `head`; `last N stages` (the head and the N stages before it); `last P%` (the smallest run of stages at
            the end that holds at least P percent of the parameters); `all`; or a list of stage names, globs over
            parameter names (`blocks.6.*`) and regular expressions over parameter names (`re:.*bias`).
        start: When the phase begins: an epoch, counted from 0; optimizer steps (`"500 steps"`, also in the middle of an
            epoch; those of all optimizers together, as Lightning counts them); or `plateau`: when the loss that the
            schedule monitors has not improved for `patience` checks in the phase before, whose best weights this one
            starts from. The first phase starts at 0. If the epoch or step of a later phase comes first, the plateau is
            no longer waited for.
        lr_scale: Factor on the optimizer's learning rate while the phase lasts; it multiplies with any scheduler.
        norm: `frozen` keeps the pretrained running statistics of every BatchNorm, also in the trained stages (whose
            scale and shift are trained); `train` lets those of the trained stages adapt, which with a few hundred
            images costs accuracy.
        layer_decay: Each stage learns at this factor times the rate of the stage behind it; at most 1. Default: 1.
        warmup: Optimizer steps at the phase's beginning over which the learning rate grows linearly from near 0.
        patience: With `start: plateau` alone: how many checks of the monitored loss may pass without improvement.
            Default: 2.
        adapt: Adapters to train in the selected stages in place of their weights; see `Adapt`. The head, if selected,
            is trained itself. Phases with the same rank, alpha and dropout train the same adapters on.
    """

    train: str | list[str]
    start: int | str = 0
    lr_scale: float = 1.0
    norm: Literal["frozen", "train"] = "frozen"
    layer_decay: float = 1.0
    warmup: int = 0
    patience: int | None = None
    adapt: Adapt | None = None

    @property
    def on_plateau(self) -> bool:
        """Whether it begins when the loss of the phase before no longer improves."""
        return self.start == PLATEAU

    @property
    def checks(self) -> int:
        """How many checks may pass without improvement before it begins, if it begins on a plateau."""
        return 2 if self.patience is None else self.patience

    def describe_start(self) -> str:
        """When it begins, in words."""
        if self.on_plateau:
            return f"after {self.checks} checks without improvement"
        return f"from epoch {self.start}" if isinstance(self.start, int) else f"from step {start_steps(self.start)}"


def parse_phases(phases: Sequence[Phase | Mapping[str, Any]]) -> tuple[Phase, ...]:
    """The phases as `Phase` objects, in order.

    Args:
        phases: `Phase` objects, or mappings with a `Phase`'s arguments as keys.

    Raises:
        ConfigError: Naming every fault at once: no phase, an unknown key, a value out of range, a phase that does not
            start after the one before it.
    """
    if isinstance(phases, str | Mapping):
        raise ConfigError(f"phases is {phases!r}; expected a list such as [{{train: head}}, {{train: all, start: 2}}].")
    faults: list[str] = [] if phases else ["there is no phase; give at least one, such as {train: head}"]
    parsed: list[Phase] = []
    for number, phase in enumerate(phases or ()):
        if not isinstance(phase, Phase | Mapping):
            faults.append(f"phases[{number}] is {phase!r}; expected a mapping such as {{train: {phase}}}")
            continue
        values = _values(phase)
        found = _faults(values, first=number == 0, earlier=parsed)
        faults += [f"phases[{number}]: {fault}" for fault in found]
        if not found:
            parsed.append(Phase(**{**values, "adapt": parse_adapt(values.get("adapt"))}))
    refuse("The freezing schedule", faults)
    return tuple(parsed)


def phase_at(phases: Sequence[Phase], epoch: int, step: int = 0, plateaus: Set[int] = frozenset()) -> int:
    """The number of the current phase: the last one that has begun.

    It is pure, so without plateaus a resumed run needs no state.

    Args:
        phases: The phases in order.
        epoch: The present epoch, from 0.
        step: Optimizer steps done so far.
        plateaus: The numbers of the phases whose plateau has been reached.
    """
    return max(number for number, phase in enumerate(phases) if _has_begun(phase, number, epoch, step, plateaus))


def start_steps(start: int | str) -> int | None:
    """The number of steps in a `start` such as `"500 steps"`; None if it is an epoch or a plateau."""
    match = _STEPS.fullmatch(start.strip()) if isinstance(start, str) else None
    return int(match[1]) if match else None


def _has_begun(phase: Phase, number: int, epoch: int, step: int, plateaus: Set[int]) -> bool:
    if isinstance(phase.start, int):
        return phase.start <= epoch
    steps = start_steps(phase.start)
    return number in plateaus if steps is None else steps <= step


def _values(phase: Phase | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(phase, Phase):
        return {field.name: getattr(phase, field.name) for field in fields(Phase)}
    given = {key: value for key, value in phase.items() if value is not None or key == "train"}
    return {key: as_number(value) if key in _NUMBERS or key in _COUNTS else value for key, value in given.items()}


def _faults(values: Mapping[str, Any], first: bool, earlier: Sequence[Phase]) -> list[str]:
    keys = [field.name for field in fields(Phase)]
    faults = [f"unknown key {key!r}.{did_you_mean(str(key), keys)}" for key in values if key not in keys]
    if "train" not in values:
        faults.append("'train' is missing; it says what is trained, for instance 'head' or 'last 2 stages'")
    elif not _is_selection(values["train"]):
        faults.append(f"train is {values['train']!r}; expected a text or a list of texts that is not empty")
    faults += _start_faults(values.get("start", 0), first, earlier)
    for key, (test, expected) in _NUMBERS.items():
        value = values.get(key, 1.0)
        if not is_number(value) or not test(value):
            faults.append(f"{key} is {value!r}; expected {expected}")
    for key, least in _COUNTS.items():
        value = values.get(key)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            faults.append(f"{key} is {value!r}; expected a whole number from {least}")
    if values.get("norm", "frozen") not in ("frozen", "train"):
        faults.append(f"norm is {values['norm']!r}; expected 'frozen' or 'train'")
    if values.get("patience") is not None and values.get("start") != PLATEAU:
        faults.append("patience is for a phase with 'start: plateau'; this one does not wait for a plateau")
    return faults + adapt_faults(values.get("adapt"))


def _start_faults(start: object, first: bool, earlier: Sequence[Phase]) -> list[str]:
    is_text = isinstance(start, str) and (start == PLATEAU or start_steps(start) is not None)
    if not is_text and (not isinstance(start, int) or isinstance(start, bool) or start < 0):
        return [
            f"start is {start!r}; expected an epoch, a whole number from 0; steps such as '500 steps'; or 'plateau'"
        ]
    if first:
        return [f"start is {start!r}; the first phase starts at epoch 0"] if start != 0 else []
    if isinstance(start, int):
        before = max((phase.start for phase in earlier if isinstance(phase.start, int)), default=-1)
        return (
            []
            if start > before
            else [f"start is {start}; expected an epoch after {before}, where an earlier phase starts"]
        )
    steps = start_steps(start)  # type: ignore[arg-type]  # a text, as seen above
    steps_before = max((start_steps(phase.start) or 0 for phase in earlier), default=0)
    if steps is not None and steps <= steps_before:
        return [f"start is {start!r}; expected more than {steps_before} steps, where an earlier phase starts"]
    return []


def _is_selection(train: object) -> bool:
    if isinstance(train, str):
        return bool(train.strip())
    return isinstance(train, list | tuple) and len(train) > 0 and all(isinstance(item, str) for item in train)
