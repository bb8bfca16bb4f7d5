"""Whatever changes what a prefix computes changes its fingerprint; what is behind it does not."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plt_nn.frontier.cut import cut
from plt_nn.frontier.fingerprint import frontier_fingerprint
from tests.fingerprint.user_code import load
from tests.frontier.cuts import freeze_all_but
from tests.frontier.test_features_and_head import Untraceable


class Custom(nn.Module):
    """A part with attributes of all kinds, which only its forward pass knows."""

    fixed: Any

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self._scale, self.act, self.sizes, self.plain = 1.0, F.relu, [1, 2], torch.ones(4)
        self.options: dict[str, Any] = {"a": (1, 2)}
        for name, value in options.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self._shift(self.act(self.linear(x)) * self._scale + self.plain)
        return y

    def _shift(self, x: Tensor) -> Tensor:
        return x + 1


class OtherHelper(Custom):
    def _shift(self, x: Tensor) -> Tensor:
        return x + 2


class Relu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.linear(x))


def with_sigmoid() -> type[nn.Module]:
    class Relu(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.linear(x))

    Relu.__qualname__ = "Relu"
    return Relu


def fingerprint(
    part: nn.Module, head: nn.Module | None = None, change: Callable[[nn.Module], object] | None = None
) -> str | None:
    """Of a frozen part, with all of its weights at 0.1, before a head."""
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.fill_(0.1)
    part.requires_grad_(False).eval()
    if change is not None:
        change(part)
    return frontier_fingerprint(cut(nn.Sequential(part, head or nn.Linear(4, 2))))


def powered(power: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x**power


VARIANTS: dict[str, Callable[[], nn.Module]] = {
    "as it is": Custom,
    "a private number": lambda: Custom(_scale=2.0),
    "a function": lambda: Custom(act=F.gelu),
    "a function with settings": lambda: Custom(act=partial(F.leaky_relu, negative_slope=0.1)),
    "other settings": lambda: Custom(act=partial(F.leaky_relu, negative_slope=0.2)),
    "a function in a function": lambda: Custom(act=powered(2)),
    "another one": lambda: Custom(act=powered(3)),
    "a list": lambda: Custom(sizes=[1, 3]),
    "a tensor that is no buffer": lambda: Custom(plain=torch.zeros(4)),
    "a dict": lambda: Custom(options={"a": (1, 3)}),
    "a dtype": lambda: Custom(fixed=torch.float16),
    "a helper": OtherHelper,
    "a function by another name": Relu,
    "another name alone": lambda: with_sigmoid()(),
    "norm": lambda: nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)),
    "norm with another epsilon": lambda: nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4, eps=1e-3)),
}


def test_each_setting_and_each_code_has_a_fingerprint_of_its_own() -> None:
    found = {name: fingerprint(make()) for name, make in VARIANTS.items()}
    assert len({*found.values()} - {None}) == len(VARIANTS)
    assert {name: fingerprint(make()) for name, make in VARIANTS.items()} == found


def _nudge(part: nn.Module) -> None:
    with torch.no_grad():
        next(part.parameters())[0, 0] += 1e-7


def test_weights_and_buffers_count() -> None:
    assert fingerprint(Custom(), change=_nudge) != fingerprint(Custom())

    def count(part: nn.Module) -> None:
        part[1].running_mean.add_(1)  # type: ignore[index]

    norm = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    assert fingerprint(norm) != fingerprint(norm, change=count)


def test_what_is_behind_the_frontier_does_not_count() -> None:
    assert fingerprint(Custom(), nn.Linear(4, 2)) == fingerprint(Custom(), nn.Linear(4, 7))
    assert fingerprint(Custom(), nn.Linear(4, 2)) == fingerprint(
        Custom(), nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2))
    )


# A module of which TOP, FORWARD and MORE are one thing or another.
SOURCE = """
import torch
from torch import nn
TOP
class Encoder(nn.Module):
    def __init__(self, number):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        MORE
    FORWARD
"""
PLAIN = "def forward(self, x): return self.linear(x)"
CODES: dict[str, tuple[str, str, str]] = {
    "a decorated forward": ("", "@torch.no_grad()\n    def forward(self, x): return self.linear(x) * AAA", ""),
    "a constant": ("SCALE = AAA", "def forward(self, x): return self.linear(x) * SCALE", ""),
    "a helper": ("def scaled(x): return x * AAA", "def forward(self, x): return scaled(self.linear(x))", ""),
    "a static method": ("", f"{PLAIN}\n    @staticmethod\n    def f(x): return x * AAA", ""),
    "a class method": ("", f"{PLAIN}\n    @classmethod\n    def f(cls, x): return x * AAA", ""),
    "a property": ("", f"{PLAIN}\n    @property\n    def f(self): return AAA", ""),
    "a constant of the class": ("", f"{PLAIN}\n    scale = AAA", ""),
    "an object": ("class C:\n    def __init__(self, s): self.s = s", PLAIN, "self.c = C(number)"),
    "an object's code": ("class C:\n    def f(self): return AAA", PLAIN, "self.c = C()"),
    "a data class": (
        "from dataclasses import dataclass\n@dataclass(repr=False)\nclass C:\n    s: float",
        PLAIN,
        "self.c = C(number)",
    ),
    "a module's weights in a list": (
        "",
        PLAIN,
        "self.c = [nn.Linear(4, 4, False)]; nn.init.constant_(self.c[0].weight, number)",
    ),
    "a module in a list": ("", PLAIN, "self.c = [nn.ELU(number)]"),
    "a forward of its own": ("", PLAIN, "self.linear.forward = lambda x: x * number"),
    "a sequence's own forward": (
        "",
        "def forward(self, x): return self.f(x)",
        "self.f = nn.Sequential(); self.f.forward = lambda x: x * number",
    ),
}


def encoder(name: str, number: float) -> nn.Module:
    top, forward, more = (part.replace("AAA", str(number)) for part in CODES[name])
    found: nn.Module = load(
        SOURCE.replace("TOP", top).replace("FORWARD", forward).replace("MORE", more or "pass")
    ).Encoder(number)
    return found


@pytest.mark.parametrize("name", CODES)
def test_code_counts_wherever_it_is(name: str) -> None:
    first = fingerprint(encoder(name, 1.0))
    assert first is not None
    assert fingerprint(encoder(name, 1.0)) == first
    assert fingerprint(encoder(name, 2.0)) not in (first, None)


def test_a_function_that_is_a_node_counts_by_its_code() -> None:
    def of(number: float) -> str | None:
        scaled = load(f"def scaled(x): return x * {number}").scaled
        net = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 2))
        frontier = cut(net)
        graph = frontier.prefix.graph
        (crosses,) = (node for node in graph.nodes if node.op == "call_module")
        with graph.inserting_after(crosses):
            graph.call_function(scaled, (crosses,))
        torch.nn.init.ones_(frontier.tensors["0.weight"])
        torch.nn.init.ones_(frontier.tensors["0.bias"])
        return frontier_fingerprint(frontier)

    assert of(1.0) == of(1.0) != of(2.0)


def test_parts_that_are_shared_count_wherever_they_are() -> None:
    def of(*which: int) -> str | None:
        layers = [nn.Linear(4, 4), nn.Linear(4, 4)]
        return fingerprint(nn.Sequential(*(layers[place] for place in which)))

    assert of(0, 1, 0) == of(0, 1, 0)
    assert len({of(0, 1), of(0, 1, 0), of(0, 1, 1), of(0, 0, 1)}) == 4

    def tied(place: int) -> str | None:
        layers = [nn.Linear(4, 4) for _ in range(3)]
        layers[2].weight = layers[place].weight
        return fingerprint(nn.Sequential(*layers))

    assert tied(0) == tied(0) != tied(1)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_what_cannot_be_told_has_no_fingerprint() -> None:
    assert fingerprint(Custom(fixed=iter([1]))) is None
    assert fingerprint(Custom(act=torch.jit.script(nn.ReLU()))) is None
    scripted = torch.jit.script(Relu().eval())
    for parameter in scripted.parameters():
        parameter.requires_grad_(False)
    assert frontier_fingerprint(cut(nn.Sequential(scripted, nn.Linear(4, 2)))) is None


def test_a_net_in_two_steps_may_have_its_forward_taken_over() -> None:
    from plt_nn.features.forward import take_over  # with Lightning, which the other process can do without

    net = freeze_all_but(Untraceable(), "head", "drop")
    first = frontier_fingerprint(cut(net))
    assert first is not None
    give_back = take_over(net, lambda forward, args, kwargs: forward(*args, **kwargs))
    assert frontier_fingerprint(cut(net)) == first
    give_back()
    assert frontier_fingerprint(cut(net)) == first


def test_a_net_in_two_steps_may_hold_its_head_in_a_list() -> None:
    net: Any = freeze_all_but(Untraceable(), "head", "drop")
    net.parts = [net.body, net.head]
    first = frontier_fingerprint(cut(net))
    nn.init.zeros_(net.head.weight)
    assert frontier_fingerprint(cut(net)) == first is not None
