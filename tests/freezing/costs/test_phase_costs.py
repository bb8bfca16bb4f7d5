"""What each phase trains and costs, against numbers worked out by hand on a small net."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LinearLR, OneCycleLR

from plt_nn.backbones import stages
from plt_nn.errors import ConfigError
from plt_nn.freezing import Phase
from plt_nn.freezing.adapters.stage_adapters import insert_adapters
from plt_nn.freezing.costs.flops import Flops
from plt_nn.freezing.costs.phase_costs import OUTSIDE, PhaseCost, StageCost, phase_costs
from plt_nn.freezing.phase_text import phases_from_text


class Net(nn.Module):
    """Three stages of 36, 20 and 10 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.second(self.first(x)).relu())
        return y


X = torch.empty(2, 8, device="meta")
PHASES = phases_from_text("head; last 1 stage @3 layer_decay=0.5; all @100 steps lr_scale=0.1 warmup=10 norm=train")


def plan_of(net: nn.Module, phases: Sequence[Phase], **options: float) -> Sequence[PhaseCost]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.4, momentum=0.9)
    return phase_costs(phases, stages(net), net, None, [optimizer], (X,)).phases


def test_the_numbers_are_those_worked_out_by_hand() -> None:
    head, last, everything = plan_of(Net(), PHASES)
    forward = 2 * (8 * 4 + 4 * 4 + 4 * 2)
    frozen = StageCost("first", 0, 36, ())
    assert head == PhaseCost(
        number=0,
        trains="head",
        start=0,
        start_in_words="from epoch 0",
        settings=(),
        stages=(frozen, StageCost("second", 0, 20, ()), StageCost("head", 10, 0, (0.4,))),
        trained=10,
        frozen=56,
        flops=Flops(forward, 2 * 4 * 2),
        gradient_bytes=40,
        optimizer_bytes=40,
        computed_once=head.computed_once,
    )
    assert head.computed_once == "all up to relu, 4 values a sample"
    assert last.computed_once == "all up to first, 4 values a sample"
    assert everything.computed_once == "nothing: nothing is frozen"
    assert last.stages == (frozen, StageCost("second", 20, 0, (0.2,)), StageCost("head", 10, 0, (0.4,)))
    assert (last.trained, last.frozen) == (30, 36)
    assert (last.start, last.start_in_words, last.settings) == (3, "from epoch 3", ("layer_decay 0.5",))
    assert last.flops == Flops(forward, 2 * 2 * 4 * 2 + 2 * 4 * 4)
    assert (last.gradient_bytes, last.optimizer_bytes) == (120, 120)
    assert everything.settings == ("lr_scale 0.1", "norm train", "warmup 10")
    assert everything.start_in_words == "from step 100"
    assert [rate for stage in everything.stages for rate in stage.learning_rates] == pytest.approx([0.04] * 3)
    assert everything.flops == Flops(forward, 2 * 2 * 4 * 2 + 2 * 2 * 4 * 4 + 2 * 8 * 4)
    assert (everything.trained, everything.frozen, everything.gradient_bytes) == (66, 0, 264)


def test_the_optimizer_keeps_the_state_of_what_is_frozen_again() -> None:
    first, second = plan_of(Net(), [Phase("head"), Phase("second", start=1)])
    assert (first.gradient_bytes, first.optimizer_bytes) == (40, 40)
    assert (second.gradient_bytes, second.optimizer_bytes) == (80, 120)


def test_what_the_user_froze_stays_frozen() -> None:
    net = Net()
    net.second.weight.requires_grad_(False)
    (cost,) = plan_of(net, [Phase("all")])
    assert cost.stages[1] == StageCost("second", 4, 16, (0.4,))
    assert cost.flops is not None
    assert cost.flops.backward == 2 * 2 * 4 * 2 + 2 * 4 * 4 + 2 * 8 * 4, "all but the gradient of that weight"


def test_parameters_in_no_stage_are_always_trained() -> None:
    net = nn.ModuleDict({"net": Net(), "temperature": nn.Linear(1, 1)})
    inside = stages(net["net"])
    moved = [type(s)(s.name, tuple(f"net.{name}" for name in s.parameters), ()) for s in inside]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.4)
    plan = phase_costs([Phase("head", lr_scale=0.5)], moved, net, None, [optimizer], (X,), entry="net")
    assert plan.phases[0].stages[-2:] == (StageCost("head", 10, 0, (0.2,)), StageCost(OUTSIDE, 2, 0, (0.4,)))
    assert plan.phases[0].trained == 12


def test_rates_are_those_that_the_schedulers_start_from_or_rise_to() -> None:
    net = Net()
    groups: list[dict[str, Any]] = [{"params": net.first.parameters()}, {"params": net.second.parameters(), "lr": 0.2}]
    first = torch.optim.SGD(groups, lr=0.1)
    LinearLR(first, start_factor=0.01)
    second = torch.optim.SGD(net.head.parameters(), lr=1e-5)
    OneCycleLR(second, max_lr=0.8, total_steps=10)
    plan = phase_costs([Phase("all", lr_scale=0.5)], stages(net), net, None, [first, second])
    assert [stage.learning_rates for stage in plan.phases[0].stages] == [(0.05,), (0.1,), (0.4,)]


def test_a_stage_in_several_groups_has_several_rates() -> None:
    net = Net()
    groups = [{"params": [net.head.weight], "lr": 0.1}, {"params": [net.head.bias], "lr": 0.2}]
    plan = phase_costs([Phase("head")], stages(net), net, None, [torch.optim.SGD(groups)])
    assert plan.phases[0].stages[-1].learning_rates == (0.1, 0.2)


def test_what_is_not_known_is_said() -> None:
    net = Net()
    plan = phase_costs([Phase("head")], stages(net), net)
    assert (plan.phases[0].flops, plan.phases[0].optimizer_bytes, plan.everything) == (None, None, None)
    assert plan.phases[0].gradient_bytes == 40
    assert "FLOPs are not counted" in plan.notes[0]
    assert "no optimizer" in plan.notes[1]
    plan = phase_costs(
        [Phase("head")], stages(net), net, None, [torch.optim.LBFGS(net.parameters())], (torch.empty(2, 9),)
    )
    assert plan.phases[0].flops is None
    assert plan.phases[0].optimizer_bytes is None
    assert "FLOPs cannot be counted. Net: RuntimeError" in plan.notes[0]
    assert "cannot be estimated. LBFGS" in plan.notes[1]


def test_adapters_are_counted() -> None:
    pytest.importorskip("peft")
    net = Net()
    phases = phases_from_text("head; all @1 adapt.rank=2")
    parts = stages(net)
    adapters = insert_adapters(net, parts, phases)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    told = phase_costs(phases, parts, net, adapters, [optimizer], (X,))
    assert [phase.trained for phase in told.phases] == [10, 10 + 2 * (8 + 4) + 2 * (4 + 4)]
    assert (told.phases[1].trains, told.phases[1].settings) == ("lora in all", ("rank 2",))
    assert not told.notes
    assert told.phases[1].flops is not None


def test_the_caller_may_say_what_was_free_in_a_net_that_is_frozen_by_now() -> None:
    net = Net()
    expected = plan_of(net, PHASES[:1])
    net.first.requires_grad_(False)
    net.second.requires_grad_(False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.4, momentum=0.9)
    free = {name for name, _ in net.named_parameters()}
    assert phase_costs(PHASES[:1], stages(net), net, None, [optimizer], (X,), free=free).phases == tuple(expected)


def test_a_stage_that_does_not_exist_is_refused() -> None:
    net = Net()
    with pytest.raises(ConfigError, match="Did you mean 'second'"):
        phase_costs([Phase("secnd")], stages(net), net)


def test_nothing_that_is_given_is_changed() -> None:
    net = Net()
    net.first.requires_grad_(False)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    weights = copy.deepcopy(net.state_dict())
    phase_costs(PHASES, stages(net), net, None, [optimizer], (torch.randn(2, 8),))
    assert all(torch.equal(weights[name], value) for name, value in net.state_dict().items())
    assert [p.requires_grad for p in net.parameters()] == [False, False, True, True, True, True]
    assert all(p.grad is None for p in net.parameters())
    assert not optimizer.state
    assert "stage" not in optimizer.param_groups[0]
