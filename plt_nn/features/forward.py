"""The module of a LightningModule that gets the inputs, and its forward pass taken over."""

from collections.abc import Callable
from types import MethodType
from typing import Any, NamedTuple

from torch import nn

from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.frontier.cut import STANDS_IN

Forward = Callable[..., Any]


def feature_net(module: nn.Module, net: str | None) -> nn.Module | None:
    """The module whose frozen part is computed once; None where nothing is frozen.

    Args:
        module: What is trained.
        net: The attribute that holds it. Default: the first child of which a part is frozen.

    Raises:
        ConfigError: If there is no such attribute.
    """
    children = {name: child for name, child in module.named_children() if any(True for _ in child.parameters())}
    if net is not None and net not in children:
        hint = did_you_mean(net, children)
        raise ConfigError(f"{type(module).__name__} has no net with parameters in an attribute {net!r}.{hint}")
    chosen = [children[net]] if net is not None else children.values()
    return next((child for child in chosen if not all(p.requires_grad for p in child.parameters())), None)


def is_compiled(module: nn.Module) -> bool:
    """Whether a module, or a part of it, is compiled: its forward pass must be left alone."""
    parts: list[Any] = list(module.modules())
    return any(hasattr(part, "_orig_mod") or part._compiled_call_impl is not None for part in parts)


class FrozenState(NamedTuple):
    """What decides where a module stops being frozen.

    Args:
        module: Its identity.
        needed: Which parameters get gradients.
        modes: Which submodules are in training mode.
        changes: How often what is frozen has been changed.
    """

    module: int
    needed: tuple[bool, ...]
    modes: tuple[bool, ...]
    changes: int

    def is_like(self, other: "FrozenState | None") -> bool:
        """Whether another one is the same but for changes of what is frozen."""
        return other is not None and self[:3] == other[:3]


def frozen_state(module: nn.Module) -> FrozenState:
    """The condition in which a module is now."""
    parameters = list(module.parameters())
    needed = tuple(parameter.requires_grad for parameter in parameters)
    changes = sum(parameter._version for parameter in parameters if not parameter.requires_grad)
    return FrozenState(id(module), needed, tuple(part.training for part in module.modules()), changes)


def take_over(module: nn.Module, run: Callable[[Forward, tuple[Any, ...], dict[str, Any]], Any]) -> Callable[[], None]:
    """Puts a function in the place of a module's forward pass.

    Args:
        module: The module.
        run: Gets the module's own forward pass and the arguments, by place and by keyword.

    Returns:
        A function that gives the module its forward pass back.
    """
    own, before = module.forward, vars(module).get("forward")

    def forward(this: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if this is not module:  # a copy, such as an average of weights: it has a forward pass of its own
            return type(this).forward(this, *args, **kwargs)
        return run(own, args, kwargs)

    setattr(forward, STANDS_IN, before is None or getattr(before, STANDS_IN, False))

    def give_back() -> None:
        if before is None:
            vars(module).pop("forward", None)
        else:
            vars(module)["forward"] = before

    vars(module)["forward"] = MethodType(forward, module)
    return give_back
