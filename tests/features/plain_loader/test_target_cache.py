"""All but the inputs of samples is remembered where it can be, and not more than there is memory for."""

from typing import Any

import pytest
import torch
from torch import Tensor

from plt_nn.features.plain_loader import target_cache
from plt_nn.features.plain_loader.target_cache import TargetCache

ROWS = torch.tensor([3, 1])
X, Y = torch.rand(2, 3), torch.tensor([30, 10])
INPUTS = torch.zeros(1, 3)

BATCHES: dict[str, tuple[Any, bool]] = {
    "pair": ([X, Y], True),
    "inputs alone": (X, True),
    "inputs twice": ((X, X), True),
    "by name": ({"label": Y, "image": X}, True),
    "by name, twice": ({"label": X, "image": X}, True),
    "text": ((X, ["a", "b"]), False),
    "another size": ((X, torch.zeros(5)), False),
    "one number": ((X, torch.tensor(1)), False),
    "no inputs": ({"label": Y}, False),
}


@pytest.mark.parametrize("name", BATCHES)
def test_what_is_remembered(name: str) -> None:
    batch, is_cached = BATCHES[name]
    targets = TargetCache(5)
    targets.put(ROWS, batch)
    assert targets.knows(ROWS) is is_cached
    assert not targets.knows(torch.tensor([3, 2]))
    if is_cached:
        found = targets.batch(torch.tensor([1]), INPUTS)
        assert type(found) is type(batch)
        values = list(found.values()) if isinstance(found, dict) else [found] if isinstance(found, Tensor) else found
        assert sum(value is INPUTS for value in values) == 1
        assert all(torch.equal(value, Y[1:]) or torch.equal(value, X[1:]) for value in values if value is not INPUTS)
    targets.forget()
    assert not targets.knows(ROWS)


@pytest.mark.parametrize("other", [(X, Y.float()), [X, Y[:, None]], {"x": X, "y": Y}, (X, Y, Y)])
def test_a_batch_that_is_made_in_another_way_is_not_mixed_with_the_others(other: Any) -> None:
    targets = TargetCache(5)
    targets.put(torch.tensor([0, 2]), (X, Y))
    targets.put(ROWS, other)
    assert not targets.knows(ROWS)
    assert targets.knows(torch.tensor([0, 2]))


def test_too_much_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_cache, "MOST", 40)
    for size, is_cached in ((5, True), (6, False)):
        targets = TargetCache(size)
        targets.put(ROWS, (X, Y))
        assert targets.knows(ROWS) is is_cached


def test_what_depends_on_the_batch_is_never_remembered() -> None:
    targets = TargetCache(5)
    targets.never_cache()
    targets.put(ROWS, (X, Y))
    assert not targets.knows(ROWS)


@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def test_tensors_on_any_device(device: str) -> None:
    targets = TargetCache(5)
    targets.put(ROWS, (X.to(device), Y.to(device)))
    assert torch.equal(targets.batch(ROWS, INPUTS)[1].cpu(), Y)
