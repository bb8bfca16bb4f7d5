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
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from plt_nn import create_backbone, list_backbones, stages
from plt_nn.backbones import backbone_info
from plt_nn.freezing import condition_of, freeze, held_modules, restore, trained_parameters
from plt_nn.freezing.frontier import Frontier, NoFrontier, cut
from plt_nn.freezing.frontier_fingerprint import frontier_fingerprint

LARGEST = 150_000_000  # parameters; a net beyond that says nothing that its smaller sisters do not


@dataclass(frozen=True)
class Outcome:
    """What a net has come to at one depth of freezing: `same`, `differs`, or why it was not cut."""

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
    found, parts = condition_of(net.train()), stages(net)
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    deeper = sorted({1, len(parts) // 2, len(parts) - 2})
    for depth in ["head", *(f"last {count} stages" for count in deeper if 1 <= count < len(parts) - 1)]:
        trained = trained_parameters(depth, parts, sizes)
        freeze(net, found, trained, held_modules(parts, trained))
        yield _outcome(name, net, depth, x)
        restore(net, found)


def _outcome(name: str, net: nn.Module, depth: str, x: Tensor) -> Outcome:
    began = time.perf_counter()
    try:
        frontier = cut(net)
        frontier_fingerprint(frontier)
        seconds = time.perf_counter() - began
        training = _agrees(net, frontier, x)
        modes = {module: module.training for module in net.modules()}
        evaluation = _agrees(net, cut(net.eval()), x)
        for module, mode in modes.items():
            module.training = mode
    except NoFrontier as reason:
        return Outcome(name, depth, str(reason), time.perf_counter() - began)
    result = "same" if training and evaluation else "differs"
    return Outcome(name, depth, result, seconds, ", ".join(frontier.crosses))


def _agrees(net: nn.Module, frontier: Frontier, x: Tensor) -> bool:
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    found = []
    for forward in (net, lambda x: frontier.after(frontier.before(x))):
        with torch.no_grad():
            for name, buffer in net.named_buffers():
                buffer.copy_(buffers[name])
        torch.manual_seed(1)
        net.zero_grad()
        output = [leaf for leaf in tree_leaves(forward(x)) if isinstance(leaf, Tensor)]
        torch.stack([leaf.float().square().sum() for leaf in output if leaf.requires_grad]).sum().backward()
        gradients = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        found.append({**{str(place): leaf.detach() for place, leaf in enumerate(output)}, **gradients})
    one, other = found
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


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
