"""Freezes a net for a phase: the only file that sets its `requires_grad` and puts BatchNorm and others in eval mode."""

from collections.abc import Set
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import Parameter


@dataclass(frozen=True)
class Flags:
    """The flags of a net by name: which parameters require gradients, and which modules are in training mode."""

    requires_grad: dict[str, bool]
    training: dict[str, bool]


@dataclass(frozen=True)
class FrozenBuffer:
    """A buffer of a module in eval mode, such as BatchNorm's mean, and its value when the phase began."""

    owner: nn.Module
    key: str
    tensor: Tensor
    value: Tensor

    def current(self) -> Tensor:
        """The tensor that the module holds now."""
        tensor = self.owner._buffers[self.key]
        assert tensor is not None, "a buffer of a frozen module was removed"
        return tensor


@dataclass(frozen=True)
class Frozen:
    """What a phase freezes, by the names in the net.

    Args:
        modules: The modules that stay in eval mode.
        parameters: The parameters that would be trained if the phase had not frozen them.
        buffers: The persistent buffers of `modules`, except those in parts that were wholly frozen before.
    """

    modules: tuple[nn.Module, ...]
    parameters: dict[str, Parameter]
    buffers: dict[str, FrozenBuffer]

    def tensors(self) -> dict[str, Tensor]:
        """Everything that must not change during the phase."""
        return {**self.parameters, **{name: buffer.current() for name, buffer in self.buffers.items()}}


def flags_of(net: nn.Module) -> Flags:
    """The present flags of a net, for `freeze` and `restore_flags`."""
    return Flags(
        requires_grad={name: parameter.requires_grad for name, parameter in net.named_parameters()},
        training={name: module.training for name, module in net.named_modules()},
    )


def updated_flags(net: nn.Module, before: Flags, frozen: Frozen) -> Flags:
    """The flags from before any freezing, with what the user has frozen or put in eval mode since then.

    Args:
        net: The net, in a phase.
        before: Its flags before any freezing.
        frozen: What the phase freezes, which says nothing about the user.
    """
    requires_grad, modes = dict(before.requires_grad), dict(before.training)
    for name, parameter in net.named_parameters():
        requires_grad[name] &= parameter.requires_grad or name in frozen.parameters
    held = set(frozen.modules)
    for name, module in net.named_modules():
        modes[name] &= module.training or module in held
    return Flags(requires_grad, modes)


def norms_with_statistics(net: nn.Module) -> frozenset[str]:
    """The names of the modules that keep running statistics, such as BatchNorm."""
    return frozenset(name for name, module in net.named_modules() if getattr(module, "running_mean", None) is not None)


def freeze(net: nn.Module, before: Flags, trained: Set[str], held: Set[str]) -> Frozen:
    """Lets only the `trained` parameters require gradients, and puts the `held` modules in eval mode.

    What the user had frozen or put in eval mode before stays so.

    Args:
        net: The net.
        before: Its flags before any freezing.
        trained: Names of the parameters to train.
        held: Names of the modules to keep in eval mode.

    Returns:
        What must not change from now on, for `keep_in_eval_mode`.
    """
    parameters = {}
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(before.requires_grad[name] and name in trained)
        if not parameter.requires_grad:
            parameter.grad = None  # the optimizer would still apply, and decay, an old gradient
            if before.requires_grad[name]:
                parameters[name] = parameter
    modules, buffers = [], {}
    for name, module in net.named_modules():
        module.training = before.training[name] and name not in held
        if name in held:
            modules.append(module)
            if not _was_frozen(name, before):
                buffers.update(_frozen_buffers(name, module))
    return Frozen(tuple(modules), parameters, buffers)


def keep_in_eval_mode(frozen: Frozen) -> None:
    """Puts the frozen modules themselves, not their children, back in eval mode after someone has called `.train()`."""
    for module in frozen.modules:
        if module.training:
            module.training = False


def reset_buffers(frozen: Frozen) -> None:
    """Resets the frozen buffers, after something that is known to change them, such as StochasticWeightAveraging."""
    for buffer in frozen.buffers.values():
        if buffer.current() is not buffer.tensor or not torch.equal(buffer.tensor, buffer.value):
            buffer.tensor.copy_(buffer.value)
            buffer.owner._buffers[buffer.key] = buffer.tensor


def restore_flags(net: nn.Module, before: Flags) -> None:
    """Restores the flags that a net had before any freezing."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(before.requires_grad[name])
    for name, module in net.named_modules():
        module.training = before.training[name]


def _was_frozen(name: str, before: Flags) -> bool:
    """Whether the module had parameters and none required gradients: a teacher that someone else updates."""
    inside = [needed for parameter, needed in before.requires_grad.items() if parameter.startswith(f"{name}.")]
    return bool(inside) and not any(inside)


def _frozen_buffers(name: str, module: nn.Module) -> dict[str, FrozenBuffer]:
    prefix = f"{name}." if name else ""
    return {
        f"{prefix}{key}": FrozenBuffer(module, key, tensor, tensor.detach().clone())
        for key, tensor in module.named_buffers(recurse=False)
        if key not in module._non_persistent_buffers_set
    }
