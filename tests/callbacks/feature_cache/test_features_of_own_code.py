"""Code of a user's own that features could be wrong for: the fit is the one without them, step by step."""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.callbacks.feature_cache.cached_fits import Computed, cache
from tests.callbacks.feature_cache.small_nets import Net, Trained, losses

pytestmark = pytest.mark.usefixtures("caching_pays")


class ByKeyword(Trained):
    def scores(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x=x)
        return scores


class WithMask(Trained):
    def scores(self, x: Tensor) -> Tensor:
        scores: Tensor = self.net(x, torch.ones(16))
        return scores


class UnderAutocast(Trained):
    def scores(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().scores(x)


class KeywordsAlone(Net):
    def forward(self, *, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)


def test_arguments_by_keyword_alone(tmp_path: Path) -> None:
    found = losses(lambda: ByKeyword(KeywordsAlone()), cache(tmp_path))
    assert found == losses(lambda: ByKeyword(KeywordsAlone()), None)


def test_optional_arguments_and_arguments_by_keyword(tmp_path: Path) -> None:
    for number, kind in enumerate((Trained, ByKeyword)):
        with Computed() as computed:
            found = losses(kind, cache(tmp_path / str(number)))
        assert found == losses(kind, None)
        assert computed.samples == 40 + 1, "each sample once, and one alone; those of the validation are the same"


@pytest.mark.parametrize(
    ("kind", "precision", "why"),
    [
        (WithMask, "32-true", "the net is given more than the inputs"),
        (Trained, "bf16-true", "the training step changes the inputs before the net gets them"),
    ],
)
def test_what_the_net_is_given_besides(
    kind: type[Trained], precision: str, why: str, tmp_path: Path, info: list[str]
) -> None:
    assert losses(kind, cache(tmp_path), precision=precision) == losses(kind, None, precision=precision)
    assert any(why in line for line in info)


def test_features_of_one_autocast_are_not_those_of_another(tmp_path: Path, info: list[str]) -> None:
    assert losses(UnderAutocast, cache(tmp_path)) == losses(UnderAutocast, None)
    assert losses(Trained, cache(tmp_path)) == losses(Trained, None)
    assert any("computed under another autocast" in line for line in info)


class ReturnsItsFeatures(Net):
    """What crosses cannot be written to a file."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        found = torch.max(self.body(x).unflatten(1, (4, 4)), 2)  # a named tuple of torch's own
        y: Tensor = self.head(self.body(x)) + found.values.sum()
        return y


class Wrong(Net):
    """Gives something else when it is looked at a second time."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = [0]

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y: Tensor = self.head(self.body(x)) * self.factor()
        return y

    def factor(self) -> float:
        return 1.0 if isinstance(self.body, nn.Sequential) and torch.is_tensor(self.head.weight) and _is_real() else 2.0


def _is_real() -> bool:
    """Whether nobody traces."""
    frame: Any = sys._getframe()
    while frame is not None and "tracing" not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is None


@pytest.mark.parametrize("net", [ReturnsItsFeatures, Wrong])
def test_parts_that_are_not_the_net_are_not_used(net: type[Net], tmp_path: Path, info: list[str]) -> None:
    assert losses(lambda: Trained(net()), cache(tmp_path)) == losses(lambda: Trained(net()), None)
    if net is Wrong:
        assert any("do not give what the net gives" in line for line in info)


class DecidesByChance(Net):
    def __init__(self, draw: Callable[[], float]) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        factor = 0.5 if self.training and self.draw() < 0.5 else 1.0
        y: Tensor = self.head(self.body(x) * factor)
        return y


class HeadOfChance(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + np.random.rand()) * (1 + random.random())


@pytest.mark.parametrize("draw", [random.random, np.random.rand, lambda: float(torch.rand(()))])
def test_chance_in_the_code_of_a_net(draw: Callable[[], float], tmp_path: Path, info: list[str]) -> None:
    assert losses(lambda: Trained(DecidesByChance(draw)), cache(tmp_path)) == losses(
        lambda: Trained(DecidesByChance(draw)), None
    )
    assert any("decides by random numbers what its forward pass does" in line for line in info)


def test_chance_in_what_is_trained(tmp_path: Path) -> None:
    def make() -> Trained:
        net = Net()
        net.head = HeadOfChance(16, 3)
        return Trained(net)

    with Computed() as computed:
        assert losses(make, cache(tmp_path)) == losses(make, None)
    assert computed.samples == 41


class WritesToItsInputs(Net):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x += 1
        return super().forward(x, mask)


def test_a_net_that_writes_to_its_inputs(tmp_path: Path) -> None:
    cached = losses(lambda: Trained(WritesToItsInputs()), cache(tmp_path))
    assert cached == losses(lambda: Trained(WritesToItsInputs()), None)
