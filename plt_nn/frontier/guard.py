"""Whether a module is what it was when it was cut."""

import operator
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from plt_nn.frontier.module_attributes import Plain, Slot, are_the_same, plain_attributes
from plt_nn.frontier.tracing import Traced


@dataclass(frozen=True)
class CutGuard:
    """What of a module must be as it was; asked at every step, so that it is held ready.

    Args:
        tensors: Those of the prefix: frozen, and not changed.
        parameters: The parameters among them; DDP writes to buffers in every pass.
        version: How often these had been changed in place.
        fixed: Buffers whose values the graphs know.
        sums: Of the bits of all these, for changes that torch does not count (`tensor.data`).
        still: The submodules of the prefix that were in eval mode.
        modes: The modules that were looked into, whose mode is a part of the graphs, and that mode.
        attributes: What these modules have besides, and the graphs have the values of.
        settings: What the modules of the prefix have besides.
        hooks: Where hooks of the prefix, and of the modules that were looked into, would lie: the graphs call none.
        named: Tensors that the graphs take from the module, with their names, and the module.
    """

    tensors: tuple[Tensor, ...]
    parameters: tuple[Tensor, ...]
    version: int
    fixed: tuple[Tensor, ...]
    sums: tuple[int, ...]
    still: tuple[nn.Module, ...]
    modes: tuple[tuple[nn.Module, bool], ...]
    attributes: tuple[Plain, ...]
    settings: tuple[Plain, ...]
    hooks: tuple[Mapping[int, Any], ...]
    named: tuple[tuple[nn.Module, str, Tensor], ...]

    @classmethod
    def of(
        cls,
        root: nn.Module,
        traced: Traced,
        prefix: Sequence[nn.Module],
        tensors: Sequence[Tensor],
        fixed: Sequence[Tensor],
        net: nn.Module,
        named: Sequence[str],
    ) -> Self:
        """What must hold from now on.

        Args:
            root: What was cut; its own hooks run around its forward pass.
            traced: What was seen of it.
            prefix: The modules that are in the prefix as a whole.
            tensors: Those of the prefix.
            fixed: Buffers whose values the graphs know.
            net: The module whose attributes the graphs take.
            named: The names of these.
        """
        looked_into = [root, *(part for part in traced.looked_into if part is not root)]
        inner = [part for whole in prefix for part in whole.modules()]
        kept = tuple(tensor for tensor in tensors if not tensor.is_inference())
        parameters = tuple(tensor for tensor in kept if isinstance(tensor, nn.Parameter))
        return cls(
            kept,
            parameters,
            _versions(parameters),
            tuple(fixed),
            bit_sums([*kept, *fixed]),
            tuple(part for part in inner if not part.training),
            tuple((part, part.training) for part in looked_into),
            plain_attributes(looked_into, traced.read),
            plain_attributes(inner),
            tuple(hooks for part in (*inner, *looked_into) if part is not root for hooks in _hooks(part)),
            tuple((net, name, operator.attrgetter(name)(net)) for name in named),
        )

    def holds(self) -> bool:
        """Whether all is as it was, but for what torch does not count."""
        return (
            not any(tensor.requires_grad for tensor in self.tensors)
            and _versions(self.parameters) == self.version
            and not any(module.training for module in self.still)
            and all(module.training == mode for module, mode in self.modes)
            and are_the_same(self.attributes)
            and not any(self.hooks)
            and all(operator.attrgetter(name)(module) is tensor for module, name, tensor in self.named)
        )

    def is_untouched(self, but: Set[Slot]) -> bool:
        """Whether the tensors' bits and the modules' settings are what they were: some milliseconds for 100 MB.

        Args:
            but: Attributes that the modules set themselves.
        """
        return are_the_same(self.settings, but) and bit_sums([*self.tensors, *self.fixed]) == self.sums

    def renewed(self) -> Self:
        """The same for tensors that were written again."""
        return replace(self, version=_versions(self.parameters))


def bit_sums(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    """The sum of each tensor's bits as integers: another one, all but certainly, if somebody has trained it."""
    sums = [_bits(tensor.detach()).sum(dtype=torch.int64) for tensor in tensors if tensor.device.type != "meta"]
    by_device: dict[torch.device, list[Tensor]] = {}
    for each in sums:
        by_device.setdefault(each.device, []).append(each)
    return tuple(number for each in by_device.values() for number in torch.stack(each).tolist())


def _bits(tensor: Tensor) -> Tensor:
    """The same memory as integers, as large ones as it can be read as: these are summed without a copy."""
    if tensor.is_sparse or tensor.layout is not torch.strided:
        return (tensor.coalesce() if tensor.is_sparse else tensor).values().view(torch.uint8)
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if tensor.ndim == 4 and not tensor.is_contiguous():
        tensor = tensor.permute(0, 2, 3, 1)  # of `channels_last` the order in memory
    if tensor.is_contiguous() and tensor.numel() * tensor.element_size() % 8 == 0 and tensor.dtype != torch.bool:
        return tensor.reshape(-1).view(torch.int64)
    if not tensor.is_floating_point():
        return tensor
    return tensor.view({1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[tensor.element_size()])


def _versions(tensors: Sequence[Tensor]) -> int:
    return sum(tensor._version for tensor in tensors)


def _hooks(module: nn.Module) -> tuple[Mapping[int, Any], ...]:
    typed: Any = module
    return typed._forward_hooks, typed._forward_pre_hooks, typed._backward_hooks, typed._backward_pre_hooks
