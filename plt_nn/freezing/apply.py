"""The only file that flips `requires_grad` and train/eval modes."""

from collections.abc import Iterable, Set
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Condition:
    """How a net was found: which parameters required gradients and which modules were in training mode, by name."""

    requires_grad: dict[str, bool]
    training: dict[str, bool]


def condition_of(net: nn.Module) -> Condition:
    """The net's present condition, to be given back by `restore`."""
    return Condition(
        requires_grad={name: parameter.requires_grad for name, parameter in net.named_parameters()},
        training={name: module.training for name, module in net.named_modules()},
    )


def freeze(net: nn.Module, found: Condition, trained: Set[str], held: Set[str], norm_frozen: bool) -> list[nn.Module]:
    """Makes just the `trained` parameters require gradients and puts what is held still in eval mode.

    What the user had frozen or put in eval mode before stays so.

    Args:
        net: The net.
        found: Its condition before any freezing.
        trained: Names of the parameters to train.
        held: Names of the modules to keep in eval mode.
        norm_frozen: Whether every normalisation with running statistics is kept in eval mode as well.

    Returns:
        The modules that are to stay in eval mode, for `hold`.
    """
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(found.requires_grad[name] and name in trained)
        if not parameter.requires_grad:
            parameter.grad = None  # a gradient left over would still be applied, and decayed, by the optimizer
    still = []
    for name, module in net.named_modules():
        is_held = name in held or (norm_frozen and _has_running_statistics(module))
        module.training = found.training[name] and not is_held
        if is_held:
            still.append(module)
    return still


def hold(modules: Iterable[nn.Module]) -> None:
    """Puts the modules themselves, not their children, back in eval mode where someone called `.train()`."""
    for module in modules:
        if module.training:
            module.training = False


def restore(net: nn.Module, found: Condition) -> None:
    """Gives the net back as it was found."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(found.requires_grad[name])
    for name, module in net.named_modules():
        module.training = found.training[name]


def _has_running_statistics(module: nn.Module) -> bool:
    return getattr(module, "running_mean", None) is not None
