"""How many floating-point operations a net needs per sample, forward and backward, without computing any."""

import copy
import sys
import warnings
from collections.abc import Callable, Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from plt_nn.errors import ConfigError


@dataclass(frozen=True)
class Flops:
    """Floating-point operations per sample; a multiplication and an addition count as two.

    Counted are matrix products, convolutions and attention, as `torch.utils.flop_counter` does; all else is negligible.

    Args:
        forward: Of the whole net.
        backward: Of the gradients of the trained weights, and of the activations down to the first of them.
    """

    forward: float
    backward: float


def count_flops(module: nn.Module, inputs: Sequence[Any], trained: Set[str], entry: str = "") -> Flops:
    """Counts what one step of training costs when some of the parameters are trained.

    A copy of the module without memory for its weights (torch's meta device) is run once. The module itself does
    not change, and neither do torch's random numbers.

    Args:
        module: Any module.
        inputs: The arguments of `forward`. Their tensors are only asked for shape and dtype, and may be on the
            meta device; the first one's first dimension is the number of samples, best at least 2 (BatchNorm).
        trained: The names of the trained parameters, as in `module.named_parameters()`.
        entry: The part of the module whose `forward` is run, by name. Default: the module itself.

    Raises:
        ConfigError: With the reason, if the module cannot be copied or run so: it reads values of its input or weights,
            runs no `forward`, or does not take these inputs.
    """
    with uncompiled(), torch.enable_grad(), torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the net's own warnings will come in training
        try:
            net = without_memory(module, trained).get_submodule(entry)
            batch = tree_map_only(Tensor, lambda tensor: torch.empty_like(tensor, device="meta"), tuple(inputs))
            forward, output = _counted(lambda: net(*batch))
            losses = [leaf.sum() for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.requires_grad]
            backward, _ = _counted(lambda: torch.autograd.backward(losses)) if losses else (0, None)
            samples = next(leaf.shape[0] for leaf in tree_leaves(batch) if isinstance(leaf, Tensor))
        except Exception as error:  # the user's forward runs on tensors without values, which may raise anything
            reason = " ".join(str(error).split()) or "no reason given"
            raise ConfigError(f"{type(module).__name__}: {type(error).__name__}: {reason[:200]}") from error
    return Flops(forward / samples, backward / samples)


def _counted(run: Callable[[], Any]) -> tuple[int, Any]:
    with FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter:
        result = run()
    return counter.get_total_flops(), result


def without_memory(module: nn.Module, trained: Set[str]) -> nn.Module:
    """A copy whose tensors have a shape and a dtype but no values.

    Args:
        module: Any module.
        trained: The names of the parameters of the copy that require gradients.
    """
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    copies: dict[int, Any] = {}
    for part in module.modules():
        for tensor in [*part.parameters(recurse=False), *part.buffers(recurse=False), *vars(part).values()]:
            if isinstance(tensor, nn.Parameter):
                empty = torch.empty_like(tensor, device="meta")
                copies[id(tensor)] = nn.Parameter(empty, requires_grad=names.get(id(tensor)) in trained)
            elif isinstance(tensor, Tensor):
                copies[id(tensor)] = torch.empty_like(tensor, device="meta")
    return copy.deepcopy(module, copies)


def uncompiled() -> Any:
    """Runs compiled code as it was written; does not import the compiler if nothing was compiled."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def _convolution_backward(
    grad_output: Sequence[int], x: Sequence[int], weight: Sequence[int], *arguments: Any, **_: Any
) -> int:
    """As many as forward for the gradient of the input, and as many for that of the weight.

    torch (2.15) counts the gradient of a grouped convolution's weight `groups` times: 20 times too much for a whole
    EfficientNet.
    """
    _bias, _stride, _padding, _dilation, transposed, _output_padding, _groups, wanted = arguments
    once = conv_flop_count(list(x), list(weight), list(grad_output), transposed)
    return int(once * sum(wanted[:2]))


_FORMULAS = {torch.ops.aten.convolution_backward: _convolution_backward}
