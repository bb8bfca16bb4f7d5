"""While one thread traces a net, others run and cut nets, and nothing of theirs is taken for the traced net's."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn

from plt_nn.frontier.cut import Frontier, cut


class Net(nn.Module):
    """A frozen body and a head that is trained; waits in the middle of its forward pass if it is told to."""

    def __init__(self, waits: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8)).requires_grad_(False)
        self.head = nn.Linear(8, 3)
        self.scale, self.unread = 2.0, 1.0
        self.entered, self.may_go_on = Event(), Event()
        if not waits:
            self.may_go_on.set()

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        self.entered.set()
        assert self.may_go_on.wait(60)
        y: Tensor = self.head(x) * self.scale
        return y


def is_right(net: nn.Module, frontier: Frontier, x: Tensor) -> bool:
    return torch.equal(frontier.after(frontier.before(x)), net(x))


def test_other_threads_run_nets_while_one_is_traced() -> None:
    traced, other, x = Net(waits=True), Net(), torch.randn(5, 4)
    expected, expected_of_traced = other(x), traced.body(x)
    with ThreadPoolExecutor() as pool:
        found = pool.submit(cut, traced)
        assert traced.entered.wait(60)
        with torch.autocast("cpu", enabled=False), torch.autograd.graph.save_on_cpu():
            outputs: list[Any] = [other(x), traced.body(x)]
            assert traced.unread == 1.0  # which the trace itself does not read
            traced.may_go_on.set()
            frontier = found.result(60)
    assert torch.equal(outputs[0], expected)
    assert torch.equal(outputs[1], expected_of_traced)
    assert is_right(traced, frontier, x)
    traced.unread = 3.0
    assert frontier.guard.holds(), "only what the traced net reads is watched"
    traced.scale = 3.0
    assert not frontier.guard.holds()


def test_threads_cut_nets_at_the_same_time() -> None:
    nets, x = [Net() for _ in range(8)], torch.randn(5, 4)
    with ThreadPoolExecutor(len(nets)) as pool:
        frontiers = list(pool.map(cut, nets))
    for net, frontier in zip(nets, frontiers, strict=True):
        assert is_right(net, frontier, x)
        net.unread = 3.0
        assert frontier.guard.holds()
        net.scale = 3.0
        assert not frontier.guard.holds()
