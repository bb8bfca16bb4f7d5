"""The net inside a module that gets the inputs, and replacing its forward pass for a while."""

from collections.abc import Callable
from types import MethodType
from typing import Any

from torch import nn

from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.frontier.cut import STANDS_IN

Forward = Callable[..., Any]


def feature_net(module: nn.Module, net: str | None) -> nn.Module | None:
    """The net whose frozen part is computed once; None if nothing is frozen.

    Args:
        module: What is trained.
        net: The attribute that holds the net. Default: the first child of which a part is frozen.

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
    """Whether torch has compiled a module or a part of it: its forward pass must not be replaced."""
    parts: list[Any] = list(module.modules())
    return any(hasattr(part, "_orig_mod") or part._compiled_call_impl is not None for part in parts)


def take_over(module: nn.Module, run: Callable[[Forward, tuple[Any, ...], dict[str, Any]], Any]) -> Callable[[], None]:
    """Replaces a module's forward pass.

    Args:
        module: The module.
        run: Gets the module's own forward pass, and the arguments by position and by keyword.

    Returns:
        A function that restores the module's forward pass.
    """
    own, before = module.forward, vars(module).get("forward")

    def forward(this: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if this is not module:  # a copy, such as an average of weights, has a forward pass of its own
            return type(this).forward(this, *args, **kwargs)
        return run(own, args, kwargs)

    setattr(forward, STANDS_IN, before is None or getattr(before, STANDS_IN, False))

    def restore() -> None:
        if before is None:
            vars(module).pop("forward", None)
        else:
            vars(module)["forward"] = before

    vars(module)["forward"] = MethodType(forward, module)
    return restore
