"""Phases of a freezing schedule: what is trained from when, checked before anything slow starts. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from plt_nn.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Phase:
    """One phase of a freezing schedule: what is trained, from which epoch, at which fraction of the learning rate.

    Args:
        train: `head`; `last N stages` (the head and the N stages before it); `last P%` (the smallest run of stages at
            the end that holds at least P percent of the parameters); `all`; or a list of stage names, globs over
            parameter names (`blocks.6.*`) and regular expressions over parameter names (`re:.*bias`).
        start: The first epoch of the phase, counted from 0. The first phase starts at 0.
        lr_scale: Factor on the optimizer's learning rate while the phase lasts; it multiplies with any scheduler.
        norm: `frozen` keeps the running statistics of every BatchNorm as they were pretrained, also in the stages that
            are trained (their scale and shift are trained); `train` lets those of the trained stages adapt.
    """

    train: str | list[str]
    start: int = 0
    lr_scale: float = 1.0
    norm: Literal["frozen", "train"] = "frozen"


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
        values = asdict(phase) if isinstance(phase, Phase) else dict(phase)
        found = _faults(values, first=number == 0, previous=parsed[-1] if parsed else None)
        faults += [f"phases[{number}]: {fault}" for fault in found]
        if not found:
            parsed.append(Phase(**values))
    if faults:
        raise ConfigError("The freezing schedule cannot be used:\n" + "\n".join(f"  - {fault}" for fault in faults))
    return tuple(parsed)


def phase_at(phases: Sequence[Phase], epoch: int) -> int:
    """The number of the phase that holds in `epoch` (from 0); a pure function, so a resumed run needs no state."""
    return max(number for number, phase in enumerate(phases) if phase.start <= epoch)


def _faults(values: Mapping[str, Any], first: bool, previous: Phase | None) -> list[str]:
    keys = [field.name for field in fields(Phase)]
    faults = [f"unknown key {key!r}.{did_you_mean(str(key), keys)}" for key in values if key not in keys]
    if "train" not in values:
        faults.append("'train' is missing; it says what is trained, for instance 'head' or 'last 2 stages'")
    elif not _is_selection(values["train"]):
        faults.append(f"train is {values['train']!r}; expected a text or a list of texts that is not empty")
    faults += _start_faults(values.get("start", 0), first, previous)
    scale = values.get("lr_scale", 1.0)
    if not _is_number(scale) or not 0 < scale < float("inf"):
        faults.append(f"lr_scale is {scale!r}; expected a number above 0")
    if values.get("norm", "frozen") not in ("frozen", "train"):
        faults.append(f"norm is {values['norm']!r}; expected 'frozen' or 'train'")
    return faults


def _start_faults(start: object, first: bool, previous: Phase | None) -> list[str]:
    if not isinstance(start, int) or isinstance(start, bool) or start < 0:
        return [f"start is {start!r}; expected an epoch, a whole number from 0"]
    if first:
        return [f"start is {start}; the first phase starts at epoch 0"] if start != 0 else []
    if previous is not None and start <= previous.start:
        return [f"start is {start}; expected an epoch after {previous.start}, where the phase before it starts"]
    return []


def _is_selection(train: object) -> bool:
    if isinstance(train, str):
        return bool(train.strip())
    return isinstance(train, list | tuple) and len(train) > 0 and all(isinstance(item, str) for item in train)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
