"""What a graph would leave out of a forward pass prevents a cut, and what changes later is noticed."""

from collections.abc import Callable
from types import MethodType

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from plt_nn.errors import NotCuttable
from plt_nn.frontier.cut import cut
from tests.frontier.cuts import assert_same, freeze_all_but
from tests.frontier.handmade_nets import Parts


class Autocast(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x))
        with torch.autocast("cpu", enabled=False):
            y: Tensor = self.c(x.float())
        return y


class WithoutGradients(Parts):
    """Where the frozen part, or what is trained, gets no gradients."""

    def __init__(self, trained: bool) -> None:
        super().__init__()
        self.trained = trained

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.b(self.a(x))
            if self.trained:
                x = self.c(x)
        y: Tensor = self.c(x)
        return y


class Checkpointed(Parts):
    def __init__(self, trained: bool) -> None:
        super().__init__()
        self.trained = trained

    def forward(self, x: Tensor) -> Tensor:
        one, two = (self.a, self.c) if self.trained else (self.b, self.a)
        x = checkpoint(lambda x: two(one(x)).relu(), x, use_reentrant=False)
        y: Tensor = self.c(x)
        return y


class Penalty(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.a(x))
        self.penalty = y.square().mean()
        return y


class Collects(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(self.a(x))
        y: Tensor = self.c(self.seen[-1])
        return y


class Temperature(Parts):
    t: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.temperature, self.low, self.unknown = 1.0, [0.1], object()
        self.register_buffer("t", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.b(self.a(x))) / self.temperature / self.t.clamp(min=self.low[0])
        return y + torch.ones(4)


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (Autocast, "enters torch.autocast"),
        (lambda: WithoutGradients(trained=True), "c, which is not frozen, runs without gradients"),
        (lambda: Checkpointed(trained=True), "c, which is not frozen, runs without gradients or is checkpointed"),
        (Penalty, "Penalty changes its attribute 'penalty' in every forward pass"),
        (Collects, "Collects changes its attribute 'seen' in every forward pass"),
    ],
)
def test_what_a_graph_would_leave_out(net: Callable[[], nn.Module], why: str) -> None:
    made = freeze_all_but(net(), "c")
    before = dict(vars(made))
    with pytest.raises(NotCuttable, match=why):
        cut(made)
    assert vars(made) == before, "what the trace has left there is gone"
    assert not getattr(made, "seen", [])
    assert torch.autocast.__enter__ is torch.amp.autocast_mode.autocast.__enter__
    assert torch.autocast.__enter__.__name__ == "__enter__"


@pytest.mark.parametrize("net", [WithoutGradients, Checkpointed])
def test_what_is_frozen_may_run_so(net: Callable[..., nn.Module]) -> None:
    made = freeze_all_but(net(trained=False), "c")
    assert_same(made, cut(made), torch.randn(3, 4))


def test_a_forward_pass_of_an_object_s_own() -> None:
    net = freeze_all_but(Temperature(), "c")
    net.forward = MethodType(lambda self, x: self.c(self.a(x)), net)
    with pytest.raises(NotCuttable, match="this Temperature has a forward pass of its own"):
        cut(net)


def test_buffers_are_read_in_every_pass_and_nothing_is_left_behind() -> None:
    net = freeze_all_but(Temperature(), "c")
    before = set(vars(net))
    frontier = cut(net)
    assert set(vars(net)) == before
    assert_same(net, frontier, torch.randn(3, 4))
    frontier = cut(net)
    net.t.fill_(3.0)  # type: ignore[operator]
    assert frontier.guard.holds()
    x = torch.randn(3, 4)
    assert torch.equal(frontier.after(frontier.before(x)), net(x))


class AsksItsBuffer(Temperature):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (2 if bool(self.t > 0) else 3)


def test_a_buffer_whose_value_decides_something() -> None:
    net = AsksItsBuffer()
    frontier = cut(freeze_all_but(net, "c"))
    assert_same(net, frontier, torch.randn(3, 4))
    assert frontier.guard.is_unchanged()
    net.t.fill_(-1.0)
    assert not frontier.guard.is_unchanged()


def replaces_buffer(net: Parts) -> None:
    net.t = torch.full((1,), 2.0)


CHANGES: dict[str, Callable[[Parts], object]] = {
    "a number": lambda net: setattr(net, "temperature", 2.0),
    "a number in a list": lambda net: net.low.__setitem__(0, 5.0),  # type: ignore[operator]
    "another buffer": replaces_buffer,
    "a hook of the frozen part": lambda net: net.a.register_forward_hook(lambda *_: None),
    "a weight in place": lambda net: net.b.weight.requires_grad_(False).mul_(2),
    "thawed": lambda net: net.b.requires_grad_(True),
    "awake": lambda net: net.b.train(),
    "the mode": lambda net: net.train(),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_seen_at_once(what: str) -> None:
    net = Temperature()
    freeze_all_but(net, "c")
    if what == "the mode":
        net.eval()
    frontier = cut(net)
    assert frontier.guard.holds()
    CHANGES[what](net)
    assert not frontier.guard.holds()


NOTHING: dict[str, Callable[[Parts], object]] = {
    "an attribute that nobody reads": lambda net: setattr(net, "epoch", 3),
    "one of another kind": lambda net: setattr(net, "epoch", torch.ones(3)),
    "a hook of what is not used": lambda net: net.unused.register_forward_hook(lambda *_: None),  # type: ignore[union-attr]
    "the same once more": lambda net: net.load_state_dict(net.state_dict()),
}


@pytest.mark.parametrize("what", NOTHING)
def test_other_changes_make_no_difference(what: str) -> None:
    net = Temperature()
    net.unused = nn.Linear(4, 4)
    setattr(net, "epoch", float("nan"))  # noqa: B010  # mypy takes it for a module
    frontier = cut(freeze_all_but(net, "c"))
    assert frontier.guard.holds()
    NOTHING[what](net)
    assert frontier.guard.is_unchanged()
    assert frontier.guard.renewed().holds()
    assert what == "the same once more" or frontier.guard.holds()


HIDDEN: dict[str, Callable[[Parts], object]] = {
    "a weight, uncounted": lambda net: net.b.weight.data.mul_(1.0001),
    "a setting of a frozen layer": lambda net: setattr(net.a, "in_features", 5),
}


@pytest.mark.parametrize("what", HIDDEN)
def test_other_changes_are_seen_when_all_is_looked_at(what: str) -> None:
    net = Temperature()
    frontier = cut(freeze_all_but(net, "c"))
    assert frontier.guard.is_unchanged()
    HIDDEN[what](net)
    assert frontier.guard.holds()
    assert not frontier.guard.is_unchanged()
