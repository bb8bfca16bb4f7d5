"""How much memory an optimizer's state takes once a parameter has been trained."""

import copy
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence, Set
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from plt_nn.errors import ConfigError

_NOT_COPIED = ("param_groups", "state", "step")  # a scheduler's `step` is bound to the real one
_NAMES = ("params", "param_names", "name", "stage")


def state_memory(optimizers: Sequence[Optimizer], selections: Sequence[Set[Parameter]]) -> list[int]:
    """The bytes of state that optimizers hold in each phase: of all that has been trained so far, frozen again or not.

    It is measured: a copy of the optimizer makes one step on a parameter of the same shape that has no memory (torch's
    meta device), or on one that has if its algorithm reads values. The optimizers, their state and
    their parameters do not change.

    Args:
        optimizers: Any torch optimizers.
        selections: The parameters that each phase trains; those that no optimizer holds take none.

    Raises:
        ConfigError: With the reason, if an optimizer cannot make such a step: it wraps another, needs a closure or
            sparse gradients.
    """
    ever = set[Parameter]().union(*selections)
    needed = [(optimizer, _after_first_step(optimizer, ever)) for optimizer in optimizers]
    memory = []
    for number in range(len(selections)):
        so_far = set[Tensor]().union(*selections[: number + 1])
        # A few optimizers (Adagrad) make all of their state when they are made.
        held = [{p: _bytes_in(state) for p, state in optimizer.state.items()} for optimizer, _ in needed]
        grown = [{p: size for p, size in sizes.items() if p in so_far} for _, sizes in needed]
        memory.append(sum(sum((old | new).values()) for old, new in zip(held, grown, strict=True)))
    return memory


def _after_first_step(optimizer: Optimizer, parameters: set[Parameter]) -> dict[Tensor, int]:
    """The bytes of state for each of the parameters that the optimizer holds, once it has been trained."""
    measured: dict[Any, int] = {}
    sizes: dict[Tensor, int] = {}
    for group in optimizer.param_groups:
        # Neither parameters, nor names, nor learning rates make a difference to the state.
        options = repr({key: value for key, value in group.items() if key not in _NAMES and "lr" not in key})
        for parameter in parameters.intersection(group["params"]):
            key = (parameter.shape, parameter.dtype, parameter.device, options)
            if key not in measured:
                measured[key] = _after_one_step(optimizer, group, parameter)
            sizes[parameter] = measured[key]
    return sizes


def _after_one_step(optimizer: Optimizer, group: Mapping[str, Any], parameter: Parameter) -> int:
    failure: Exception | None = None
    for device in dict.fromkeys(("meta", "cpu", str(parameter.device))):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the optimizer's warnings will come in training
                return _measure(optimizer, group, parameter, device)
        except Exception as error:  # noqa: BLE001 -- an optimizer may be anyone's, and need values or a closure
            failure = error
    reason = " ".join(str(failure).split())[:200]
    raise ConfigError(f"{type(optimizer).__name__}: {type(failure).__name__}: {reason}") from failure


def _measure(optimizer: Optimizer, group: Mapping[str, Any], parameter: Parameter, device: str) -> int:
    if any(isinstance(value, Optimizer) for value in vars(optimizer).values()):
        raise NotImplementedError("it wraps another optimizer")
    like = Parameter(torch.zeros(parameter.shape, dtype=parameter.dtype, device=device))
    like.grad = torch.ones_like(like)
    twin = object.__new__(type(optimizer))  # the constructor's arguments cannot be had from an optimizer
    for name, value in vars(optimizer).items():
        if name not in _NOT_COPIED:
            setattr(twin, name, OrderedDict() if name.endswith("_hooks") else copy.deepcopy(value))
    twin.state = defaultdict(dict)
    twin.param_groups = [{**group, "params": [like]}]
    type(optimizer).step(twin)
    return _bytes_in(twin.state[like])


def _bytes_in(state: Mapping[str, Any]) -> int:
    return sum(leaf.nbytes for leaf in tree_leaves(dict(state)) if isinstance(leaf, Tensor))
