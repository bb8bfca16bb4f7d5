"""Which nets can be cut where they stop being frozen: every family of timm, every classification net of torchvision.

Run: python tests/benchmarks/frontier_coverage.py [NAME ...]

For several depths of freezing each net is cut in training mode, with dropout and stochastic depth at work, and in eval
mode. The outputs, and the gradients of all that is trained, of the suffix after the prefix are compared with those of
the net: bit for bit, with the same random numbers. Prints how many agree and how long the cut took (the trace, and the
fingerprint of the frozen part), and ends with exit code 1 if any differs.
"""

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from plt_nn import create_backbone, list_backbones, stages
from plt_nn.backbones import backbone_info
from plt_nn.errors import NotCuttable
from plt_nn.freezing.freeze import flags_of, freeze, restore_flags
from plt_nn.freezing.plan import held_modules, trained_parameters
from plt_nn.frontier.cut import Frontier, cut
from plt_nn.frontier.fingerprint import frontier_fingerprint

LARGEST = 60_000_000  # parameters; a net beyond that says nothing that its smaller sisters do not


_TRIES = 5  # the rounding of some nets depends on where their memory lies: they do not always agree with themselves
Forward = Callable[[Tensor], Any]


@dataclass(frozen=True)
class Outcome:
    """What a net has come to at one depth of freezing: `same`, `differs`, or why it cannot be told or was not cut."""

    net: str
    depth: str
    result: str
    seconds: float
    crosses: str = ""


def outcomes(name: str) -> Iterable[Outcome]:
    """Cuts a net at several depths."""
    torch.manual_seed(0)
    net = create_backbone(name, pretrained=False, num_classes=5)
    if sum(parameter.numel() for parameter in net.parameters()) > LARGEST:
        return
    info = backbone_info(net)
    assert info is not None
    size = info.preprocessing.size
    x = torch.randn(2, 3, *((size, size) if isinstance(size, int) else size))
    found, parts = flags_of(net.train()), stages(net)
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    deeper = sorted({1, len(parts) // 2, len(parts) - 2})
    for depth in ["head", *(f"last {count} stages" for count in deeper if 1 <= count < len(parts) - 1)]:
        trained = trained_parameters(depth, parts, sizes)
        freeze(net, found, trained, held_modules(parts, trained))
        yield _outcome(name, net, depth, x)
        restore_flags(net, found)


def _outcome(name: str, net: nn.Module, depth: str, x: Tensor) -> Outcome:
    began = time.perf_counter()
    try:
        frontier = cut(net)
        frontier_fingerprint(frontier)
        seconds = time.perf_counter() - began
        joined = _Joined(frontier)
        training = any(_agree(net, net, joined, x) for _ in range(_TRIES))
        itself = training or all(_agree(net, net, net, x) for _ in range(_TRIES))
        evaluation = cut(net.eval())
        with torch.no_grad():
            evaluated = any(_is_same(net(x), evaluation.after(evaluation.before(x))) for _ in range(_TRIES))
    except NotCuttable as reason:
        return Outcome(name, depth, str(reason), time.perf_counter() - began)
    result = "same" if training and evaluated else "differs" if itself else "the net differs from itself"
    return Outcome(name, depth, result, seconds, ", ".join(frontier.crosses))


class _Joined:
    """A net in two, as one."""

    def __init__(self, frontier: Frontier) -> None:
        self._frontier = frontier

    def __call__(self, x: Tensor) -> Any:
        return self._frontier.after(self._frontier.before(x))


def _agree(net: nn.Module, one: Forward, other: Forward, x: Tensor) -> bool:
    """Whether two ways of running a net give the same outputs and gradients."""
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    found = []
    for forward in (one, other):
        with torch.no_grad():
            for name, buffer in net.named_buffers():
                buffer.copy_(buffers[name])
        torch.manual_seed(1)
        net.zero_grad()
        output = _tensors(forward(x))
        torch.autograd.backward([leaf.float().square().sum() for leaf in output if leaf.requires_grad])
        gradients = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        found.append({**{str(place): leaf.detach() for place, leaf in enumerate(output)}, **gradients})
    return found[0].keys() == found[1].keys() and all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def _is_same(one: object, other: object) -> bool:
    return all(torch.equal(a, b) for a, b in zip(_tensors(one), _tensors(other), strict=True))


def _tensors(output: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def main() -> int:
    """Prints the table."""
    from tests.backbones.test_families import TIMM

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="nets, such as timm/resnet18; default: all families")
    names = parser.parse_args().names or [*(f"timm/{name}" for name in TIMM), *list_backbones("torchvision/*")]
    warnings.simplefilter("ignore")
    console = Console(width=120)
    found: list[Outcome] = []
    for name in names:
        for outcome in outcomes(name):
            found.append(outcome)
            line = f"{outcome.net:45} {outcome.depth:16} {outcome.result} {outcome.crosses} {outcome.seconds:.2f} s"
            print(line, file=sys.stderr, flush=True)
    _print(found, console)
    return int(any(outcome.result == "differs" for outcome in found))


def _print(found: list[Outcome], console: Console) -> None:
    table = Table("library", "nets", "cuts", "the same, bit for bit", "differ", "not cut", "slowest cut", box=MARKDOWN)
    for library in ("timm", "torchvision"):
        own = [outcome for outcome in found if outcome.net.startswith(f"{library}/")]
        if not own:
            continue
        kinds = Counter(o.result if o.result in ("same", "differs") else "not cut" for o in own)
        slowest = max(own, key=lambda outcome: outcome.seconds)
        counts = [str(len(own)), str(kinds["same"]), str(kinds["differs"]), str(kinds["not cut"])]
        table.add_row(library, str(len({o.net for o in own})), *counts, f"{slowest.seconds:.1f} s ({slowest.net})")
    console.print(table)
    for outcome in found:
        if outcome.result not in ("same",):
            console.print(f"- {outcome.net}, {outcome.depth}: {outcome.result}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
