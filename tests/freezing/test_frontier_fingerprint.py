"""Whatever changes what a prefix computes changes its fingerprint; what is behind it does not."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plt_nn.freezing.frontier import cut
from plt_nn.freezing.frontier_fingerprint import frontier_fingerprint


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
) -> str:
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
    assert len(set(found.values())) == len(VARIANTS)
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


SAME = """
import torch
from torch import nn
from plt_nn.freezing.frontier import cut
from plt_nn.freezing.frontier_fingerprint import frontier_fingerprint
from tests.freezing.test_frontier_fingerprint import Custom
class Odd(Custom):
    def forward(self, x):
        names = [name for name in ("a", "b", "c") if name in {"a", "c"}]
        return super().forward(x) * sum(map(lambda name: len(name), names))
torch.manual_seed(0)
net = nn.Sequential(Odd(fixed={"b", "a"}).eval().requires_grad_(False), nn.Linear(4, 2))
print(frontier_fingerprint(cut(net)))
"""


@pytest.mark.multiprocess
def test_it_is_the_same_in_every_process() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", SAME]
    other = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    with redirect_stdout(StringIO()) as own:  # this process has another seed
        exec(SAME, {"__name__": "__main__"})
    assert own.getvalue() == other
