"""Operations of a step of training against formulas, and the net left alone while they are counted."""

import copy

import pytest
import torch
from torch import Tensor, nn

from plt_nn.errors import ConfigError
from plt_nn.freezing.costs.flops import Flops, count_flops


def names(net: nn.Module, prefix: str = "") -> set[str]:
    return {name for name, _ in net.named_parameters() if name.startswith(prefix)}


def dense() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


@pytest.mark.parametrize(
    ("trained", "backward"),
    [
        ("", 2 * 8 * 16 + 2 * 16 * 4 + 2 * 16 * 4),  # both weights, and the activations between them
        ("0.", 2 * 8 * 16 + 2 * 16 * 4),  # the first weight, and the activations down to it
        ("2.", 2 * 16 * 4),  # the last weight alone
        ("nothing", 0),
    ],
)
def test_a_linear_layer_costs_two_operations_per_weight_and_gradient(trained: str, backward: int) -> None:
    net = dense()
    for batch in (1, 7):
        counted = count_flops(net, (torch.randn(batch, 8),), names(net, trained))
        assert counted == Flops(forward=2 * (8 * 16 + 16 * 4), backward=backward)


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_a_convolution_costs_its_weights_at_every_place_in_each_group(groups: int) -> None:
    net = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 24, 3, padding=1, stride=2, groups=groups, bias=False))
    pointwise = 2 * 8 * 8 * 10 * 10
    grouped = 2 * 24 * (8 // groups) * 3 * 3 * 5 * 5
    counted = count_flops(net, (torch.empty(2, 8, 10, 10, device="meta"),), names(net))
    assert counted == Flops(forward=pointwise + grouped, backward=pointwise + 2 * grouped)


def test_a_transposed_convolution_costs_its_weights_at_every_place_of_its_input() -> None:
    net = nn.Sequential(nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2))
    once = 2 * 6 * (4 // 2) * 2 * 2 * 5 * 5
    assert count_flops(net, (torch.empty(3, 6, 5, 5),), names(net)) == Flops(forward=once, backward=once)


@pytest.mark.parametrize("training", [True, False])
def test_attention_is_counted_whatever_the_mode(training: bool) -> None:
    length, width = 5, 16
    net = nn.TransformerEncoderLayer(width, 2, dim_feedforward=32, batch_first=True).train(training)
    linear = 2 * length * (4 * width * width + 2 * width * 32)
    attention = 2 * 2 * length * length * width
    assert count_flops(net, (torch.randn(2, length, width),), names(net)).forward == linear + attention


class Odd(nn.Module):
    """Two inputs, a nested output, a tensor that is neither parameter nor buffer, and tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.second.weight = self.first.weight
        self.offset = torch.ones(8)

    def forward(self, x: Tensor, lengths: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        return {"out": (self.second(self.first(x + self.offset)), lengths)}


def test_any_inputs_and_outputs_will_do() -> None:
    net = Odd()
    counted = count_flops(net, (torch.randn(4, 8), torch.ones(4, dtype=torch.int64)), names(net))
    assert counted == Flops(forward=2 * 2 * 64, backward=3 * 2 * 64)


def test_a_part_of_a_module_is_run_by_its_name() -> None:
    holder = nn.ModuleDict({"net": dense()})
    assert count_flops(holder, (torch.randn(2, 8),), names(holder, "net.2"), entry="net").backward == 2 * 16 * 4


def test_a_compiled_net_costs_what_the_net_costs() -> None:
    net = dense()
    expected = count_flops(net, (torch.randn(2, 8),), names(net))
    compiled = torch.compile(net)
    assert isinstance(compiled, nn.Module)
    assert count_flops(compiled, (torch.randn(2, 8),), names(compiled)) == expected


class Looks(nn.Module):
    """Looks at the values of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y if x.sum().item() > 0 else -y


class Silent(nn.Module):
    """Has no forward."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)


@pytest.mark.parametrize(
    ("net", "message"),
    [(Looks(), "Looks: "), (Silent(), "forward"), (nn.Linear(9, 4), "Linear: RuntimeError: ")],
    ids=["values", "no forward", "another shape"],
)
def test_what_cannot_be_counted_gives_the_reason(net: nn.Module, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        count_flops(net, (torch.randn(2, 8),), names(net))


def test_the_net_and_the_random_numbers_are_left_alone() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 36, 2))
    net[0].requires_grad_(False)
    net[1].eval()
    x = torch.randn(2, 3, 8, 8)
    net(x).sum().backward()
    weights, state = copy.deepcopy(net.state_dict()), torch.random.get_rng_state()
    parameters = list(net.parameters())
    conditions = [(p.requires_grad, p.grad, None if p.grad is None else p.grad.clone()) for p in parameters]
    modes = [module.training for module in net.modules()]
    count_flops(net, (x,), names(net))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(weights[name], value) for name, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes
    for old, new, (requires_grad, grad, values) in zip(parameters, net.parameters(), conditions, strict=True):
        assert new is old
        assert new.requires_grad == requires_grad
        assert new.grad is grad
        assert grad is None or (values is not None and torch.equal(grad, values))
