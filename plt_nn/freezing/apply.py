"""The only file that flips `requires_grad` and train/eval modes."""

from collections.abc import Set
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import Parameter


@dataclass(frozen=True)
class Condition:
    """How a net was found: which parameters required gradients and which modules were in training mode, by name."""

    requires_grad: dict[str, bool]
    training: dict[str, bool]


@dataclass(frozen=True)
class HeldBuffer:
    """A buffer of a module in eval mode, and what it held when the phase began."""

    owner: nn.Module
    key: str
    tensor: Tensor
    value: Tensor


@dataclass(frozen=True)
class Frozen:
    """What a phase keeps still, by the names in the net.

    Args:
        modules: The modules that stay in eval mode.
        parameters: The parameters that would have been trained if the phase had not frozen them.
        buffers: The persistent buffers of `modules`, but for those in parts that were wholly frozen before.
    """

    modules: tuple[nn.Module, ...]
    parameters: dict[str, Parameter]
    buffers: dict[str, HeldBuffer]

    def tensors(self) -> dict[str, Tensor]:
        """All that must not change while the phase lasts."""
        return {**self.parameters, **{name: _present(buffer) for name, buffer in self.buffers.items()}}


def condition_of(net: nn.Module) -> Condition:
    """The net's present condition, to be given back by `restore`."""
    return Condition(
        requires_grad={name: parameter.requires_grad for name, parameter in net.named_parameters()},
        training={name: module.training for name, module in net.named_modules()},
    )


def condition_since(net: nn.Module, found: Condition, frozen: Frozen) -> Condition:
    """The condition that the net was found in, with what the user has frozen or put in eval mode since then.

    Args:
        net: The net, in a phase that trains.
        found: Its condition before any freezing.
        frozen: What the phase keeps still, which says nothing about the user.
    """
    requires_grad, modes = dict(found.requires_grad), dict(found.training)
    for name, parameter in net.named_parameters():
        requires_grad[name] &= parameter.requires_grad or name in frozen.parameters
    held = set(frozen.modules)
    for name, module in net.named_modules():
        modes[name] &= module.training or module in held
    return Condition(requires_grad, modes)


def normalisations(net: nn.Module) -> frozenset[str]:
    """The names of the modules that keep running statistics, such as BatchNorm."""
    return frozenset(name for name, module in net.named_modules() if getattr(module, "running_mean", None) is not None)


def freeze(net: nn.Module, found: Condition, trained: Set[str], held: Set[str]) -> Frozen:
    """Makes just the `trained` parameters require gradients and puts what is held still in eval mode.

    What the user had frozen or put in eval mode before stays so.

    Args:
        net: The net.
        found: Its condition before any freezing.
        trained: Names of the parameters to train.
        held: Names of the modules to keep in eval mode.

    Returns:
        What is to stay as it is, for `hold`.
    """
    frozen = {}
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(found.requires_grad[name] and name in trained)
        if not parameter.requires_grad:
            parameter.grad = None  # a gradient left over would still be applied, and decayed, by the optimizer
            if found.requires_grad[name]:
                frozen[name] = parameter
    still, buffers = [], {}
    for name, module in net.named_modules():
        module.training = found.training[name] and name not in held
        if name in held:
            still.append(module)
            if not _was_frozen(name, found):
                buffers.update(_held_buffers(name, module))
    return Frozen(tuple(still), frozen, buffers)


def hold(frozen: Frozen) -> None:
    """Puts the modules themselves, not their children, back in eval mode where someone called `.train()`."""
    for module in frozen.modules:
        if module.training:
            module.training = False


def hold_buffers(frozen: Frozen) -> None:
    """Puts the held buffers back, after something that is known to replace them, as StochasticWeightAveraging does."""
    for held in frozen.buffers.values():
        if _present(held) is not held.tensor or not torch.equal(held.tensor, held.value):
            held.tensor.copy_(held.value)
            held.owner._buffers[held.key] = held.tensor


def restore(net: nn.Module, found: Condition) -> None:
    """Gives the net back as it was found."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(found.requires_grad[name])
    for name, module in net.named_modules():
        module.training = found.training[name]


def _was_frozen(name: str, found: Condition) -> bool:
    """Whether the module had parameters and none of them required gradients: a teacher that someone else changes."""
    inside = [needed for parameter, needed in found.requires_grad.items() if parameter.startswith(f"{name}.")]
    return bool(inside) and not any(inside)


def _held_buffers(name: str, module: nn.Module) -> dict[str, HeldBuffer]:
    prefix = f"{name}." if name else ""
    return {
        f"{prefix}{key}": HeldBuffer(module, key, tensor, tensor.detach().clone())
        for key, tensor in module.named_buffers(recurse=False)
        if key not in module._non_persistent_buffers_set
    }


def _present(held: HeldBuffer) -> Tensor:
    tensor = held.owner._buffers[held.key]
    assert tensor is not None, "a buffer of a frozen module was removed"
    return tensor
