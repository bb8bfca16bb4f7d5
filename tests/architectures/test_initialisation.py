import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.special import ndtr

from plt_nn.architectures import INITIALISERS, create_activation, initialise
from plt_nn.errors import ConfigError


def _drawn(part: nn.Module, init: str, seed: int = 0, key: str = "weight", **kwargs: Any) -> Tensor:
    torch.manual_seed(seed)
    initialise(part, init, **kwargs)
    return part.get_parameter(key).detach()


def _kolmogorov_smirnov(sample: Tensor, cdf: Callable[[Tensor], Tensor]) -> float:
    """The greatest distance between two distribution functions, times the root of the sample's size."""
    values = sample.flatten().sort().values
    steps = torch.arange(1, len(values) + 1) / len(values)
    return ((steps - cdf(values)).abs().max() * math.sqrt(len(values))).item()


FAN_IN, FAN_OUT = 600, 200
# initialisation: (its arguments, the standard deviation that theory asks of a linear layer, whether it is normal)
THEORY: dict[str, tuple[dict[str, Any], float, bool]] = {
    "kaiming_normal": ({}, math.sqrt(2 / FAN_IN), True),
    "kaiming_uniform": ({}, math.sqrt(2 / FAN_IN), False),
    "normal": ({"std": 0.05}, 0.05, True),
    "uniform": ({"a": -0.3, "b": 0.3}, 0.3 / math.sqrt(3), False),
    "xavier_normal": ({}, math.sqrt(2 / (FAN_IN + FAN_OUT)), True),
    "xavier_uniform": ({}, math.sqrt(2 / (FAN_IN + FAN_OUT)), False),
}


@pytest.mark.parametrize("init", THEORY)
def test_weights_have_the_distribution_of_the_name(init: str) -> None:
    kwargs, std, normal = THEORY[init]
    weight = _drawn(nn.Linear(FAN_IN, FAN_OUT), init, **kwargs)
    # five standard errors of 120,000 draws
    assert weight.mean().abs() < 5 * std / math.sqrt(weight.numel())
    assert weight.std() == pytest.approx(std, rel=5 / math.sqrt(2 * weight.numel()))
    to_normal = _kolmogorov_smirnov(weight, lambda x: ndtr(x / std))
    to_uniform = _kolmogorov_smirnov(weight, lambda x: (0.5 + x / (math.sqrt(12) * std)).clamp(0, 1))
    right, wrong = (to_normal, to_uniform) if normal else (to_uniform, to_normal)
    assert right < 1.95  # which one sample in a thousand exceeds
    assert wrong > 5  # the test can tell the two shapes apart


def test_truncated_normal_is_cut_at_two_standard_deviations() -> None:
    weight = _drawn(nn.Linear(FAN_IN, FAN_OUT), "trunc_normal", std=0.1)
    assert 0.19 < weight.abs().max() <= 0.2
    assert weight.std() == pytest.approx(0.1 * 0.8796, rel=0.02)  # of the standard normal cut at +-2
    low, high = ndtr(torch.tensor([-2.0, 2.0]))
    assert _kolmogorov_smirnov(weight, lambda x: (ndtr(x / 0.1) - low) / (high - low)) < 1.95


@pytest.mark.parametrize("init", sorted(set(INITIALISERS) - {"zeros"}))
def test_the_seed_decides(init: str) -> None:
    first, same, other = (_drawn(nn.Conv2d(8, 16, 3), init, seed) for seed in (3, 3, 4))
    assert first.equal(same)
    assert not first.eq(other).any()


@pytest.mark.parametrize(
    ("init", "activation", "kwargs", "gain"),
    [
        ("xavier_normal", "ReLU", {}, math.sqrt(2)),
        ("xavier_uniform", "tanh", {}, 5 / 3),
        ("xavier_normal", "GELU", {}, 1),
        ("kaiming_normal", "GELU", {}, math.sqrt(2)),
        ("kaiming_uniform", "SELU", {}, 3 / 4),
        ("kaiming_normal", "LeakyReLU", {"negative_slope": 1.0}, 1),
        ("orthogonal", "relu", {}, math.sqrt(2)),
    ],
)
def test_gain_follows_the_activation(init: str, activation: str, kwargs: dict[str, float], gain: float) -> None:
    weight = _drawn(nn.Linear(400, 400), init, activation=create_activation(activation, **kwargs))
    assert weight.std() == pytest.approx(gain / math.sqrt(400), rel=0.02)


def test_an_argument_outweighs_the_activation() -> None:
    weight = _drawn(nn.Linear(400, 400), "xavier_normal", activation=nn.ReLU(), gain=3.0)
    assert weight.std() == pytest.approx(3 / math.sqrt(400), rel=0.02)


@pytest.mark.parametrize(("cell", "gates"), [(nn.RNN, 1), (nn.LSTM, 4), (nn.GRU, 3)])
def test_each_gate_is_a_matrix_of_its_own(cell: type[nn.RNN | nn.LSTM | nn.GRU], gates: int) -> None:
    rnn = cell(32, 32, num_layers=2, bidirectional=True)
    initialise(rnn, "orthogonal")
    for key in ("weight_ih_l0", "weight_hh_l1_reverse"):
        for matrix in rnn.get_parameter(key).chunk(gates):
            assert (matrix @ matrix.T).allclose(torch.eye(32), atol=1e-5)
    assert all(p.eq(0).all() for key, p in rnn.named_parameters() if "bias" in key)


def test_query_key_and_value_are_matrices_of_their_own() -> None:
    from timm.layers.attention import Attention

    torchs, timms = nn.MultiheadAttention(32, 4), Attention(32, 4)
    for module, key in ((torchs, "in_proj_weight"), (timms, "qkv.weight")):
        initialise(module, "orthogonal")
        for matrix in module.get_parameter(key).chunk(3):
            assert (matrix @ matrix.T).allclose(torch.eye(32), atol=1e-5)


def test_biases_become_zero_and_norms_and_embeddings_stay() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Embedding(5, 8), nn.LayerNorm(8), nn.Linear(8, 2))
    kept = {key: p.clone() for key, p in net.named_parameters() if key[0] in "123"}
    initialise(net, "normal", std=0.1)
    assert all(net.get_parameter(key).equal(p) for key, p in kept.items())
    assert all(net.get_parameter(key).eq(0).all() for key in ("0.bias", "4.bias"))
    assert all(p.requires_grad and p.is_leaf for p in net.parameters())


def test_none_changes_nothing_and_draws_nothing() -> None:
    net = nn.Linear(4, 4)
    before, state = net.weight.clone(), torch.get_rng_state()
    initialise(net, None)
    assert net.weight.equal(before)
    assert torch.get_rng_state().equal(state)


def test_zeros() -> None:
    assert _drawn(nn.Linear(4, 4), "zeros").eq(0).all()


def test_what_cannot_be_used_is_named() -> None:
    with pytest.raises(ConfigError, match=r"init is 'xavier_unifrom'.*Did you mean 'xavier_uniform'"):
        initialise(nn.Linear(2, 2), "xavier_unifrom")
    with pytest.raises(ConfigError, match=r"arguments \{'std': 0.1\} need an init. Valid: kaiming_normal"):
        initialise(nn.Linear(2, 2), None, std=0.1)
    with pytest.raises(ConfigError, match=r"init 'normal' takes no argument 'sdt'\. Did you mean 'std'"):
        initialise(nn.Linear(2, 2), "normal", sdt=0.1)
