"""Whether a net is unchanged since it was cut: the one place that answers this, from cheap to expensive."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from plt_nn.frontier.module_attributes import Plain, Slot, are_unchanged, plain_attributes
from plt_nn.frontier.tracing import Traced


@dataclass(frozen=True)
class CutGuard:
    """What must stay unchanged for a cut to be right; collected once, because it is checked in every step.

    Args:
        tensors: Parameters and buffers of the prefix.
        parameters: The parameters among them; DDP writes to buffers in every pass.
        version: The sum of torch's counts of changes of these in place.
        fixed: Buffers whose values the graphs know.
        sums: Sums of the bits of all these, for changes that torch does not count (`tensor.data`).
        still: The submodules of the prefix that were in eval mode.
        modes: The modules that were traced into, whose mode is a part of the graphs, and that mode.
        attributes: Attributes of these modules whose values are a part of the graphs.
        settings: Attributes of the modules of the prefix.
        hooks: Where hooks of the prefix, and of the modules that were traced into, would be; the graphs call none.
        named: Tensors that the graphs take from the module, with the module and their names.
        ignored: Attributes that the modules set themselves, and that do not count.
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
    ignored: frozenset[Slot] = frozenset()

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
        """The guard of a net as it is now.

        Args:
            root: What was cut; its own hooks run around its forward pass, and do not matter.
            traced: What the trace has seen.
            prefix: The modules that belong to the prefix as a whole.
            tensors: Parameters and buffers of the prefix.
            fixed: Buffers whose values the graphs know.
            net: The module whose attributes the graphs take.
            named: The names of these attributes.
        """
        looked_into = [root, *(part for part in traced.looked_into if part is not root)]
        inner = [part for whole in prefix for part in whole.modules()]
        watched = tuple(tensor for tensor in tensors if not tensor.is_inference())
        parameters = tuple(tensor for tensor in watched if isinstance(tensor, nn.Parameter))
        return cls(
            watched,
            parameters,
            _versions(parameters),
            tuple(fixed),
            bit_sums([*watched, *fixed]),
            tuple(part for part in inner if not part.training),
            tuple((part, part.training) for part in looked_into),
            plain_attributes(looked_into, traced.read),
            plain_attributes(inner),
            tuple(hooks for part in (*inner, *looked_into) if part is not root for hooks in _hooks(part)),
            tuple((net, name, operator.attrgetter(name)(net)) for name in named),
        )

    def holds(self) -> bool:
        """Whether the net is unchanged, apart from changes that torch does not count; asked in every step."""
        return not self.is_rewritten() and self.is_current()

    def is_rewritten(self) -> bool:
        """Whether torch counts writes to the frozen weights, which may have written the same values."""
        return _versions(self.parameters) != self.version

    def is_current(self) -> bool:
        """Whether the same is frozen, in the same modes, with the same attributes, hooks and tensors."""
        return (
            not any(tensor.requires_grad for tensor in self.tensors)
            and not any(module.training for module in self.still)
            and all(module.training == mode for module, mode in self.modes)
            and are_unchanged(self.attributes)
            and not any(self.hooks)
            and all(operator.attrgetter(name)(module) is tensor for module, name, tensor in self.named)
        )

    def is_unchanged(self) -> bool:
        """Whether the bits of the tensors and the settings of the modules are unchanged: milliseconds for 100 MB."""
        try:
            return are_unchanged(self.settings, self.ignored) and bit_sums([*self.tensors, *self.fixed]) == self.sums
        except RuntimeError:  # of a device that is lost, or full
            return False

    def renewed(self) -> Self:
        """The guard after the same values were written to the weights again."""
        return replace(self, version=_versions(self.parameters))


def bit_sums(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    """The sum of each tensor's bits as integers, which training a tensor changes (all but certainly)."""
    sums = [_bits(tensor.detach()).sum(dtype=torch.int64) for tensor in tensors if tensor.device.type != "meta"]
    by_device: dict[torch.device, list[Tensor]] = {}
    for each in sums:
        by_device.setdefault(each.device, []).append(each)
    return tuple(number for each in by_device.values() for number in torch.stack(each).tolist())


def _bits(tensor: Tensor) -> Tensor:
    """The tensor's memory as the largest integers possible: these are summed fastest, and without a copy."""
    if tensor.is_sparse or tensor.layout is not torch.strided:
        return (tensor.coalesce() if tensor.is_sparse else tensor).values().view(torch.uint8)
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if tensor.ndim == 4 and not tensor.is_contiguous():
        tensor = tensor.permute(0, 2, 3, 1)  # the order in memory of `channels_last`
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
