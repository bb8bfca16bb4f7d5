"""The memory of an optimizer's state, against what a real optimizer holds after real steps."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import timm.optim
import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils._pytree import tree_leaves

from plt_nn.errors import ConfigError
from plt_nn.freezing.costs.memory import state_memory

Make = Callable[[Iterable[Parameter]], Optimizer]


def of_timm(name: str) -> Make:
    create: Any = timm.optim.create_optimizer_v2  # type: ignore[attr-defined]
    return lambda parameters: create(list(parameters), opt=name, lr=1e-3)


def of_torch(name: str, **options: Any) -> Make:
    return lambda parameters: getattr(torch.optim, name)(parameters, lr=1e-3, **options)


MAKERS = {
    "SGD": of_torch("SGD"),
    "SGD with momentum": of_torch("SGD", momentum=0.9),
    "Adam, amsgrad": of_torch("Adam", amsgrad=True),
    "Adam, fused": of_torch("Adam", fused=True),
    **{name: of_torch(name) for name in ("AdamW", "Adagrad", "Adafactor", "ASGD", "NAdam", "RMSprop", "Rprop")},
    **{
        f"timm/{name}": of_timm(name)
        for name in ("lamb", "lion", "adafactor", "adafactorbv", "adamp", "kron", "madgrad", "muon", "novograd", "sgdp")
    },
}


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 10))


def held(optimizer: Optimizer) -> int:
    return sum(leaf.nbytes for leaf in tree_leaves(dict(optimizer.state)) if isinstance(leaf, Tensor))


@pytest.mark.filterwarnings("ignore:.*opt_einsum")  # timm's advice for Kron
@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_it_is_what_a_real_optimizer_holds(make: Make) -> None:
    net = small()
    head, everything = set(net[3].parameters()), set(net.parameters())
    told = state_memory([make(net.parameters())], [head, everything, head])
    optimizer, real = make(net.parameters()), []
    for trained in (head, everything, head):
        for parameter in net.parameters():
            parameter.requires_grad_(parameter in trained)
        net(torch.randn(4, 3, 8, 8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        real.append(held(optimizer))
    assert told == real


def test_options_of_groups_and_dtypes_make_a_difference() -> None:
    net = small().to(torch.bfloat16)
    groups: list[dict[str, Any]] = [
        {"params": list(net[0].parameters()), "momentum": 0.9},
        {"params": list(net[3].parameters())},
    ]
    made = torch.optim.SGD(groups, lr=0.1)
    assert state_memory([made], [set(net.parameters())]) == [2 * sum(p.numel() for p in net[0].parameters())]


def test_several_optimizers_add_up() -> None:
    net = small()
    first, second = (torch.optim.SGD(net[part].parameters(), lr=0.1, momentum=0.9) for part in (0, 3))
    assert state_memory([first, second], [set(net[3].parameters()), set(net.parameters())]) == [
        4 * sum(p.numel() for p in net[3].parameters()),
        4 * sum(p.numel() for part in (0, 3) for p in net[part].parameters()),
    ]


def test_the_optimizer_is_left_alone() -> None:
    net = small()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    OneCycleLR(optimizer, 0.1, 10)  # puts its own `step` over the optimizer's
    calls: list[object] = []
    optimizer.register_step_pre_hook(lambda *arguments: calls.append(arguments))
    weights = copy.deepcopy(net.state_dict())
    groups = [{**group, "params": list(group["params"])} for group in optimizer.param_groups]
    attributes = dict(vars(optimizer))
    state_memory([optimizer], [set(net.parameters())])
    assert not optimizer.state
    assert not calls
    assert vars(optimizer) == attributes
    for before, group in zip(groups, optimizer.param_groups, strict=True):
        assert all(old is new for old, new in zip(before.pop("params"), group["params"], strict=True))
        assert before == {key: value for key, value in group.items() if key != "params"}
    assert all(torch.equal(weights[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


class Wrapper(Optimizer):
    """Wraps another optimizer, as Lookahead does."""

    def __init__(self, inner: Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.inner = inner


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda parameters: torch.optim.LBFGS(parameters), "LBFGS"),
        (lambda parameters: torch.optim.SparseAdam(parameters), "sparse|dense"),
        (lambda parameters: Wrapper(torch.optim.SGD(parameters)), "wraps another optimizer"),
    ],
    ids=["closure", "sparse", "wrapper"],
)
def test_what_cannot_be_measured_gives_the_reason(make: Make, message: str) -> None:
    net = small()
    with pytest.raises(ConfigError, match=message):
        state_memory([make(list(net.parameters()))], [set(net.parameters())])
