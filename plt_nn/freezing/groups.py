"""Optimizer groups by stage, made in place, and learning-rate factors that no scheduler sees."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch.nn import Parameter
from torch.optim import LBFGS, Optimizer

from plt_nn.errors import ConfigError

STAGE = "stage"
LR_FACTOR = "lr_factor"
_SCHEDULED_LR = "scheduled_lr"

# The per-group lists of torch's and timm's schedulers.
_PER_GROUP = (
    "base_lrs",
    "_last_lr",
    "lr_lambdas",
    "min_lrs",
    "max_lrs",
    "base_momentums",
    "max_momentums",
    "base_values",
)


def split_groups(
    optimizer: Optimizer, schedulers: Iterable[object], label: Callable[[Parameter], str], key: str = STAGE
) -> None:
    """Splits the optimizer's groups in place, so that all parameters of a group have the same label.

    Every option of a group is copied, and the schedulers' per-group state too: training continues exactly as if the
    groups had been made so from the start. Nothing is added to or removed from the optimizer. Each group gets a
    `name` that no other has, which `LearningRateMonitor` shows: the old group's name or number, and the label.

    Args:
        optimizer: Any torch optimizer, before or after its first step.
        schedulers: The schedulers that drive it, nested ones (`SequentialLR`) included.
        label: Gives each parameter its label.
        key: The key under which each new group stores its label.

    Raises:
        ConfigError: If the optimizer cannot have several groups (`LBFGS`).
    """
    before = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    groups, origins = [], []
    for number, group in enumerate(optimizer.param_groups):
        for name, members in _by_label(group["params"], label).items():
            named = _name(group, number if len(optimizer.param_groups) > 1 else None, name)
            groups.append({**group, **_pick(group, members), key: name, "name": named})
            origins.append(number)
    if isinstance(optimizer, LBFGS) and len(groups) > 1:
        raise ConfigError(
            "LBFGS keeps all parameters in one group, so no schedule can freeze a part; use another optimizer."
        )
    old_count = len(optimizer.param_groups)
    optimizer.param_groups[:] = groups
    for scheduler in schedulers:
        _split_scheduler(scheduler, old_count, origins)
    after = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(before) == sorted(after), "the groups no longer partition the optimizer's parameters"


def set_lr_factors(optimizer: Optimizer, factors: Mapping[str, float]) -> None:
    """Sets the factor on the learning rate of each group by its stage; other groups get 1."""
    for group in optimizer.param_groups:
        group[LR_FACTOR] = factors.get(group.get(STAGE, ""), 1.0)


def apply_lr_factors(optimizer: Optimizer) -> Callable[[], None]:
    """Multiplies each group's learning rate by its factor during each step only.

    Schedulers read and write the groups' `lr`; some compute the next value from the last, some from the base. They
    never see the factor, so it works with all of them, also with one that is stepped in a training step: Lightning
    runs that in the closure of the optimizer's step, and the factor is applied after the closure.

    Returns:
        A function that removes the hooks.
    """
    before = optimizer.register_step_pre_hook(_scale_after_closure)
    after = optimizer.register_step_post_hook(lambda opt, args, kwargs: unscale(opt))

    def remove() -> None:
        unscale(optimizer)
        before.remove()
        after.remove()

    return remove


def unscale(optimizer: Optimizer) -> None:
    """Restores the scheduler's learning rate of each group; needed only where an exception has ended a step."""
    for group in optimizer.param_groups:
        if _SCHEDULED_LR in group:
            group["lr"] = group.pop(_SCHEDULED_LR)


def _scale_after_closure(
    optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Scales at once, or after the closure if the step has one."""
    closure = kwargs.get("closure", args[1] if len(args) > 1 else None)  # args[0] is the optimizer
    if closure is None:
        _scale(optimizer)
        return None

    def then_scaled() -> Any:
        unscale(optimizer)
        result = closure()
        _scale(optimizer)
        return result

    if "closure" in kwargs:
        return args, {**kwargs, "closure": then_scaled}
    return (args[0], then_scaled, *args[2:]), kwargs


def _scale(optimizer: Optimizer) -> None:
    unscale(optimizer)
    for group in optimizer.param_groups:
        factor = group.get(LR_FACTOR, 1.0)
        if factor != 1.0:
            group[_SCHEDULED_LR] = group["lr"]
            group["lr"] = group["lr"] * factor


def _by_label(parameters: Sequence[Parameter], label: Callable[[Parameter], str]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for position, parameter in enumerate(parameters):
        members.setdefault(label(parameter), []).append(position)
    return members


def _name(group: Mapping[str, Any], number: int | None, label: str) -> str:
    old = group.get("name", "" if number is None else f"pg{number + 1}")
    return "/".join(part for part in (old, label or "other") if part)


def _pick(group: Mapping[str, Any], members: Sequence[int]) -> dict[str, list[Any]]:
    parallel = [key for key in ("params", "param_names") if key in group]
    return {key: [group[key][position] for position in members] for key in parallel}


def _split_scheduler(scheduler: object, old_count: int, origins: Sequence[int]) -> None:
    for name in _PER_GROUP:
        values = getattr(scheduler, name, None)
        if isinstance(values, list | tuple) and len(values) == old_count:
            setattr(scheduler, name, type(values)(values[number] for number in origins))
    for inner in getattr(scheduler, "_schedulers", ()):
        _split_scheduler(inner, old_count, origins)
