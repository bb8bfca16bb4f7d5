"""Where a net will stop being frozen in a phase, known before any training."""

from collections.abc import Sequence, Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from plt_nn.errors import NotCuttable
from plt_nn.freezing.costs.flops import uncompiled, without_memory
from plt_nn.freezing.freeze import flags_of, freeze
from plt_nn.frontier.cut import cut


def frontier_in_words(
    module: nn.Module, trained: Set[str], held: Set[str], inputs: Sequence[Any] | None = None, entry: str = ""
) -> str:
    """What of a net can be computed once for each sample while some parameters are trained, or why nothing can.

    A copy of the module without memory for its weights is cut; the module itself does not change.

    Args:
        module: Any module.
        trained: The names of the trained parameters, as in `module.named_parameters()`.
        held: The names of the modules that are in eval mode.
        inputs: The arguments of the net's `forward` for a batch, for the size of what crosses; only shapes matter.
        entry: The net in the module, by name. Default: the module itself, or its first child
            that can be cut.
    """
    with uncompiled():
        copy = without_memory(module, trained)
        freeze(copy, flags_of(copy.train()), trained, held)
        candidates = [copy.get_submodule(entry)] if entry else [copy, *copy.children()]
        reason = "nothing is frozen"
        for net in candidates:
            if all(parameter.requires_grad for parameter in net.parameters()):
                continue
            try:
                frontier = cut(net)
                size = "" if inputs is None else f", {_size(frontier, inputs)} values a sample"
                return f"all up to {', '.join(frontier.crosses)}{size}"
            except NotCuttable as none:
                reason = str(none)
        return f"nothing: {reason}"


def _size(frontier: Any, inputs: Sequence[Any]) -> str:
    with torch.device("meta"):
        batch = tree_map_only(Tensor, lambda tensor: torch.empty_like(tensor, device="meta"), tuple(inputs))
        try:
            rows = frontier.before(*batch).rows
        except NotCuttable:
            raise
        except Exception:  # noqa: BLE001 -- a part that reads values cannot run on tensors without any
            return "some"
    return f"{sum(row[0].numel() for row in rows):,}"
