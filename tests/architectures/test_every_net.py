"""What holds for every net: plain values build it, every part learns, it can be traced, and the seed decides."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plt_nn.architectures import ACTIVATIONS

BuildNet = Callable[..., nn.Module]

# name: (class, its arguments, the shape of one sample); every net has three outputs
CASES: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "mlp": ("MLP", {"in_features": 5, "hidden": [16, 8]}, (5,)),
    "mlp, norm": ("MLP", {"in_features": 12, "hidden": [16], "norm": "layer", "flatten": True}, (3, 2, 2)),
    "mlp, linear": ("MLP", {"in_features": 20, "hidden": []}, (20,)),
    "convnet": ("ConvNet", {"in_channels": 1, "channels": [8, 8]}, (1, 8, 8)),
    "convnet, average": (
        "ConvNet",
        {"in_channels": 3, "channels": [8, 16], "pooling": "average", "norm": "group", "kernel_size": 5},
        (3, 7, 9),
    ),
    "convnet, no norm": ("ConvNet", {"in_channels": 3, "channels": [16], "norm": None}, (3, 6, 6)),
    "recurrent, rnn": ("RecurrentNet", {"in_features": 4, "hidden_size": 16, "cell": "rnn"}, (6, 4)),
    "recurrent, lstm": (
        "RecurrentNet",
        {"in_features": 4, "hidden_size": 8, "cell": "lstm", "num_layers": 2, "bidirectional": True},
        (6, 4),
    ),
    "recurrent, gru": ("RecurrentNet", {"in_features": 4, "hidden_size": 16, "readout": "mean"}, (6, 4)),
    "recurrent, image": (
        "RecurrentNet",
        {"in_features": 8, "hidden_size": 8, "image_rows": True, "readout": "max", "bidirectional": True},
        (1, 8, 8),
    ),
    "transformer": ("TransformerNet", {"in_features": 4, "dim": 16, "depth": 2}, (6, 4)),
    "transformer, token": (
        "TransformerNet",
        {"in_features": 4, "dim": 16, "depth": 2, "pooling": "token", "positions": "sinusoidal", "norm_first": False},
        (6, 4),
    ),
    "transformer, patches": (
        "TransformerNet",
        {"in_features": 3, "dim": 16, "depth": 1, "patch_size": 4, "positions": "none", "mlp_ratio": 2.0},
        (3, 9, 8),
    ),
    "residual": ("ResidualNet", {"in_channels": 1, "channels": [8, 16], "blocks": 1}, (1, 8, 8)),
    "residual, wide": (
        "ResidualNet",
        {
            "in_channels": 3,
            "channels": [8, 8],
            "blocks": [1, 2],
            "norm": "layer",
            "stem_stride": 4,
            "activation": "silu",
        },
        (3, 17, 19),
    ),
    "residual, no norm": ("ResidualNet", {"in_channels": 3, "channels": [8], "blocks": 1, "norm": None}, (3, 5, 5)),
}
EVERY_NET = pytest.mark.parametrize(("name", "arguments", "shape"), CASES.values(), ids=CASES)


def _batch(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(6, *shape), torch.tensor([0, 1, 2, 0, 1, 2])


@EVERY_NET
def test_head_is_the_last_layer_and_gives_the_outputs(
    build_net: BuildNet, name: str, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    net = build_net(name, out_features=3, **arguments)
    x, _ = _batch(shape)
    out = net(x)
    assert out.shape == (6, 3)
    assert out.isfinite().all()
    assert isinstance(net.head, nn.Linear)
    assert list(net.modules())[-1] is net.head
    assert net(x[:2]).shape == (2, 3)


@EVERY_NET
def test_gradient_flows_to_every_parameter(
    build_net: BuildNet, name: str, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    net = build_net(name, out_features=3, **arguments)
    x, y = _batch(shape)
    torch.autograd.backward(F.cross_entropy(net(x), y))
    without = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@EVERY_NET
def test_overfits_a_small_batch(
    build_net: BuildNet, name: str, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    net = build_net(name, out_features=3, **arguments)
    x, y = _batch(shape)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(250):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        if loss < 0.005:
            return
        torch.autograd.backward(loss)
        optimizer.step()
    raise AssertionError(f"the loss is {loss}")


@EVERY_NET
@pytest.mark.parametrize("training", [False, True])
def test_is_traced_by_fx(
    build_net: BuildNet, name: str, arguments: dict[str, Any], shape: tuple[int, ...], training: bool
) -> None:
    net = build_net(name, out_features=3, **arguments).train(training)
    x, _ = _batch(shape)
    traced = torch.fx.symbolic_trace(net)
    assert traced(x).equal(net(x))
    assert traced(x[:2]).equal(net(x[:2]))


@EVERY_NET
def test_same_seed_same_net(build_net: BuildNet, name: str, arguments: dict[str, Any], shape: tuple[int, ...]) -> None:
    x, _ = _batch(shape)
    outputs = [build_net(name, seed=seed, out_features=3, **arguments)(x) for seed in (7, 7, 8)]
    assert outputs[0].equal(outputs[1])
    assert not outputs[0].allclose(outputs[2])


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("case", ["mlp", "convnet", "transformer", "residual"])
def test_takes_every_activation(build_net: BuildNet, case: str, activation: str) -> None:
    name, arguments, shape = CASES[case]
    kwargs = {"threshold": 0.1, "value": 0.0} if activation == "threshold" else {}
    net = build_net(name, out_features=3, **arguments, activation=activation, activation_kwargs=kwargs)
    assert any(type(part) is ACTIVATIONS[activation] for part in net.modules())
    x, _ = _batch(shape)
    assert net(x).isfinite().all()


@EVERY_NET
def test_init_reaches_the_weights(
    build_net: BuildNet, name: str, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    net = build_net(name, out_features=3, **arguments, init="uniform", init_kwargs={"a": 2.0, "b": 3.0})
    assert isinstance(net.head, nn.Linear)
    assert net.head.weight.min() >= 2
    assert net.head.bias.eq(0).all()
