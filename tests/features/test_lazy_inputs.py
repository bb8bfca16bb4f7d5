"""A deferred tensor is the inputs to whoever looks, and costs nothing where nobody does."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.fabric.utilities.apply_func import move_data_to_device
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.distributed.utils import _to_kwargs
from torch.utils._pytree import tree_map_only
from torch.utils.data import default_collate

from plt_nn.features.lazy_inputs import LazyInputs


class Made:
    """A deferred tensor, its inputs, and how often they were read."""

    def __init__(self) -> None:
        self.inputs = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
        self.expected = self.inputs.clone()
        self.reads = 0
        self.owner = object()
        self.features = (torch.ones(3, 5),)
        self.x = LazyInputs(
            self._read,
            (3, 2, 4),
            torch.float32,
            torch.device("cpu"),
            torch.tensor([7, 8, 9]),
            self.features,
            self.owner,
        )

    def _read(self, rows: Tensor) -> Tensor:
        self.reads += 1
        return self.inputs if len(rows) == 3 else self.inputs[rows - 7]


@pytest.fixture
def made() -> Made:
    return Made()


FACTS: dict[str, Callable[[Tensor], Any]] = {
    "shape": lambda x: x.shape,
    "size": lambda x: x.size(1),
    "ndim": lambda x: x.ndim,
    "dim": lambda x: x.dim(),
    "numel": lambda x: x.numel(),
    "len": len,
    "dtype": lambda x: x.dtype,
    "device": lambda x: x.device,
    "is_cuda": lambda x: x.is_cuda,
    "requires_grad": lambda x: x.requires_grad,
    "is_floating_point": lambda x: x.is_floating_point(),
    "isinstance": lambda x: isinstance(x, Tensor),
    "is_tensor": torch.is_tensor,
    "element_size": lambda x: x.element_size(),
}


@pytest.mark.parametrize("name", FACTS)
def test_facts_are_those_of_the_inputs_and_read_nothing(made: Made, name: str) -> None:
    assert FACTS[name](made.x) == FACTS[name](made.expected)
    assert made.reads == 0
    assert not made.x.was_read
    assert made.x.features is made.features
    assert made.x.served_by is made.owner


def test_its_text_reads_nothing(made: Made) -> None:
    assert repr(made.x) == str(made.x) == "LazyInputs(shape=(3, 2, 4), dtype=torch.float32, device='cpu')"
    assert made.reads == 0


LOOKS: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: x.sum(),
    "add": lambda x: x + 1,
    "added": lambda x: 1 + x,
    "twice": lambda x: x * x,
    "compare": lambda x: x > 0,
    "index": lambda x: x[1],
    "slice": lambda x: x[:, 1:, ::2],
    "mask": lambda x: x[x > 0],
    "rows": lambda x: torch.stack(list(x)),
    "cat": lambda x: torch.cat([x, x]),
    "stack": lambda x: torch.stack([x, torch.zeros(3, 2, 4)]),
    "view": lambda x: x.view(3, -1),
    "permute": lambda x: x.permute(2, 0, 1),
    "half": lambda x: x.half(),
    "dtype": lambda x: x.to(torch.float64),
    "format": lambda x: x[..., None].to(memory_format=torch.channels_last),
    "clone": lambda x: x.clone(),
    "function": lambda x: F.layer_norm(x, (4,)),
    "where": lambda x: torch.where(x > 0, x, 0),
    "flip": lambda x: x.flip(-1),
    "collate": lambda x: default_collate([x, x]),
    "deepcopy": copy.deepcopy,
    "numpy": lambda x: torch.from_numpy(x.numpy()),
    "array": lambda x: torch.from_numpy(np.asarray(x)),
    "array of doubles": lambda x: torch.from_numpy(np.asarray(x, dtype=np.float64)),
    "tolist": lambda x: torch.tensor(x.tolist()),
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "item": lambda x: torch.tensor(x.sum().item()),
}


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("name", LOOKS)
def test_whoever_looks_sees_the_inputs(made: Made, name: str, inference: bool) -> None:
    with torch.inference_mode(inference):
        found, expected = LOOKS[name](made.x), LOOKS[name](made.expected)
        assert type(found) is Tensor
        assert found.dtype is expected.dtype
        assert torch.equal(found, expected)
    assert made.reads == 1
    assert made.x.was_read


def test_saving_keeps_the_inputs(made: Made) -> None:
    file = io.BytesIO()
    torch.save({"x": made.x}, file)
    file.seek(0)
    assert torch.equal(torch.load(file)["x"], made.expected)


def test_a_net_gets_its_gradients(made: Made) -> None:
    net = nn.Linear(4, 2)
    net(made.x).square().sum().backward()
    assert net.weight.grad is not None
    found = net.weight.grad.clone()
    net.zero_grad()
    net(made.expected).square().sum().backward()
    assert torch.equal(found, net.weight.grad)


MOVES: dict[str, Callable[[Any], Any]] = {
    "to": lambda x: x.to("meta"),
    "device": lambda x: x.to(torch.device("meta"), non_blocking=True),
    "same dtype": lambda x: x.to("meta", torch.float32),
    "lightning": lambda x: move_data_to_device({"x": [x]}, torch.device("meta"))["x"][0],
    "collection": lambda x: apply_to_collection((x, 3), Tensor, lambda part: part.to("meta"))[0],
    "tree": lambda x: tree_map_only(Tensor, lambda part: part.to("meta"), [x])[0],
}


@pytest.mark.parametrize("name", MOVES)
def test_moving_it_moves_the_features_and_reads_nothing(made: Made, name: str) -> None:
    moved = MOVES[name](made.x)
    assert isinstance(moved, LazyInputs)
    assert (moved.shape, moved.dtype, moved.device.type) == (made.x.shape, made.x.dtype, "meta")
    assert moved.features is not None
    assert moved.features[0].device.type == "meta"
    assert moved.served_by is made.owner
    assert torch.equal(moved.rows, made.x.rows)
    assert made.reads == 0
    assert moved.inputs().device.type == "meta"
    assert made.reads == 1


def test_staying_where_it_is_reads_nothing(made: Made) -> None:
    for same in (made.x.to("cpu"), made.x.cpu(), made.x.float(), made.x.detach(), made.x.contiguous()):
        assert isinstance(same, LazyInputs)
        assert same.features is not None
    assert made.reads == 0


def test_ddp_hands_it_on(made: Made) -> None:
    (args,), (kwargs,) = _to_kwargs((made.x,), {"y": made.x}, torch.device("cpu"), False)
    assert args[0] is made.x
    assert kwargs["y"] is made.x
    (args,), _ = _to_kwargs((made.x,), {}, torch.device("meta"), False)
    assert isinstance(args[0], LazyInputs)
    assert args[0].features is not None
    assert made.reads == 0


def _set(x: Any) -> None:
    x[:, 0] = 5.0


CHANGES: dict[str, Callable[[Any], Any]] = {
    "add_": lambda x: x.add_(1),
    "+=": lambda x: x.__iadd__(1),
    "items": _set,
    "copy_": lambda x: x.copy_(torch.zeros(3, 2, 4)),
    "zero_": torch.zero_,
    "relu_": F.relu_,
    "a view": lambda x: x[0].add_(1),
    "a view of a view": lambda x: x.view(-1)[2:4].mul_(2),
    "rows": lambda x: [row.zero_() for row in x],
    "an array": lambda x: x.numpy().fill(3.0),
    "out": lambda x: torch.add(torch.ones(3, 2, 4), 1, out=x),
}


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_in_place_is_not_lost(made: Made, name: str, inference: bool) -> None:
    with torch.inference_mode(inference):
        made = Made()
        try:
            CHANGES[name](made.x)
        except (RuntimeError, TypeError):
            assert name == "out"  # refused aloud
            return
        CHANGES[name](made.expected)
        assert torch.equal(made.x.inputs(), made.expected)
        assert made.x.features is None
        assert made.x.served_by is None  # features do not belong to changed inputs


def test_whoever_wants_a_gradient_of_the_inputs_gets_it(made: Made) -> None:
    x = made.x
    x.requires_grad_()
    assert x.features is None
    assert x.served_by is None
    torch.autograd.backward((x.inputs() * 3).sum())
    assert x.grad is not None
    assert torch.equal(torch.as_tensor(x.grad), torch.full((3, 2, 4), 3.0))


PICKS: dict[str, Callable[[Tensor], Tensor]] = {
    "list": lambda x: x[[2, 0]],
    "index": lambda x: x[torch.tensor([2, 0])],
    "mask": lambda x: x[torch.tensor([True, False, True])],
    "index_select": lambda x: x.index_select(0, torch.tensor([1])),
    "none": lambda x: x[torch.tensor([], dtype=torch.int64)],
}


@pytest.mark.parametrize("pick", PICKS)
def test_only_the_samples_that_are_picked_are_read(pick: str, made: Made) -> None:
    found = PICKS[pick](made.x)
    assert type(found) is Tensor
    assert torch.equal(found, PICKS[pick](made.expected))
    assert not made.x.was_read
    assert made.x.features is made.features
    found.zero_()
    assert torch.equal(made.x.inputs(), made.expected), "a copy"
    assert made.x.was_read


def test_what_picks_more_than_samples_reads_all(made: Made) -> None:
    places = torch.tensor([1, 0])
    assert torch.equal(made.x.index_select(1, places), made.expected.index_select(1, places))
    assert made.x.was_read
    assert torch.equal(made.x[places, places], made.expected[places, places])


def test_inputs_at_hand_are_not_looked_at(made: Made) -> None:
    x = LazyInputs(made.inputs, (3, 2, 4), torch.float32, torch.device("cpu"), torch.arange(3))
    assert x.inputs() is made.inputs
    assert x.features is None
    assert not x.was_read


@pytest.mark.parametrize("is_inference", [False, True])
def test_moving_it_reads_nothing_in_any_mode(made: Made, is_inference: bool) -> None:
    with torch.inference_mode(is_inference):
        moved = [made.x.to("cpu"), made.x.cpu(), made.x.to("cpu", copy=True), made.x.to("cpu", non_blocking=True)]
        assert all(isinstance(one, LazyInputs) and one.served_by is made.owner for one in moved)
        assert made.reads == 0
        assert torch.equal(made.x.to(torch.float64), made.expected.double())
    assert made.reads == 1
