from itertools import product

import pytest
import torch
from torch import Tensor, nn

from plt_nn.architectures import TransformerNet
from plt_nn.architectures.transformer import EncoderBlock, Pooling, Positions
from plt_nn.errors import ConfigError, DataError

LENGTHS = torch.tensor([3, 7, 1, 5])
EVERY_KIND = pytest.mark.parametrize(
    ("pooling", "positions", "norm_first"),
    list(product(("mean", "token"), ("learned", "none", "sinusoidal"), (False, True))),
)


def _padded(padding: float) -> Tensor:
    torch.manual_seed(1)
    x = torch.randn(4, 9, 5)
    for row, length in zip(x, LENGTHS, strict=True):
        row[length:] = padding
    return x


@EVERY_KIND
def test_padding_has_no_influence(pooling: Pooling, positions: Positions, norm_first: bool) -> None:
    torch.manual_seed(0)
    net = TransformerNet(5, 8, 3, depth=2, pooling=pooling, positions=positions, norm_first=norm_first)
    x = _padded(padding=100.0).requires_grad_()
    alone = torch.cat([net(row[:length].unsqueeze(0)) for row, length in zip(x, LENGTHS, strict=True)])
    together = net(x, LENGTHS)
    assert together.allclose(alone, atol=1e-5)
    assert not net(x).allclose(alone, atol=1e-2)  # without lengths it has
    (gradient,) = torch.autograd.grad(together.square().sum(), x)
    for row, length in zip(gradient, LENGTHS, strict=True):
        assert row[length:].eq(0).all()
        assert row[:length].ne(0).any()


@EVERY_KIND
def test_one_trace_serves_with_and_without_lengths(pooling: Pooling, positions: Positions, norm_first: bool) -> None:
    net = TransformerNet(5, 8, 3, depth=1, pooling=pooling, positions=positions, norm_first=norm_first)
    traced = torch.fx.symbolic_trace(net)
    x = _padded(padding=1.0)
    assert traced(x, LENGTHS).equal(net(x, LENGTHS))
    assert traced(x).equal(net(x))


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_block_computes_what_torchs_own_layer_does(norm_first: bool) -> None:
    torch.manual_seed(0)
    block = EncoderBlock(8, heads=2, hidden=16, dropout=0.0, activation=nn.ReLU, norm_first=norm_first)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first)
    ours = dict(block.named_parameters())
    names = {
        "self_attn.in_proj_": "attention.qkv.",
        "self_attn.out_proj.": "attention.proj.",
        "linear1.": "mlp.fc1.",
        "linear2.": "mlp.fc2.",
        "norm1.": "norm1.",
        "norm2.": "norm2.",
    }
    for prefix, own in names.items():
        for key in ("weight", "bias"):
            layer.get_parameter(prefix + key).data.copy_(ours[own + key])
    x = torch.randn(3, 6, 8)
    assert block(x, None).allclose(layer(x), atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "token"])
def test_order_matters_only_with_positions(pooling: Pooling) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5)
    for positions, changes in (("none", False), ("learned", True), ("sinusoidal", True)):
        net = TransformerNet(5, 8, 3, depth=1, pooling=pooling, positions=positions)  # type: ignore[arg-type]
        assert net(x).allclose(net(x.flip(1)), atol=1e-5) is not changes


def test_sinusoids_are_those_of_the_paper() -> None:
    net = TransformerNet(5, 8, 3, positions="sinusoidal", max_length=50)
    assert net.stem.positions is not None
    assert net.stem.positions.shape == (1, 50, 8)
    expected = torch.tensor([7 / 10000 ** (2 * i / 8) for i in range(4)])
    assert net.stem.positions[0, 7, 0::2].allclose(expected.sin())
    assert net.stem.positions[0, 7, 1::2].allclose(expected.cos())
    assert "positions" not in net.state_dict()


@pytest.mark.parametrize(("size", "patches"), [((8, 8), 4), ((9, 8), 6), ((3, 2), 1)])
def test_an_image_is_read_as_whole_patches(size: tuple[int, int], patches: int) -> None:
    net = TransformerNet(3, 8, 5, depth=1, patch_size=4, max_length=patches)
    images = torch.randn(2, 3, *size)
    assert net.stem(images).shape == (2, patches, 8)
    assert net(images).shape == (2, 5)


def test_too_many_tokens_are_refused_also_by_a_trace() -> None:
    net = TransformerNet(5, 8, 3, depth=1, max_length=4)
    for module in (net, torch.fx.symbolic_trace(net)):
        with pytest.raises(ConfigError, match=r"9 tokens .*max_length=4; build the net with max_length=9"):
            module(_padded(padding=0.0))
    assert TransformerNet(5, 8, 3, max_length=4, positions="none")(_padded(padding=0.0)).shape == (4, 3)


def test_lengths_that_do_not_fit_are_refused() -> None:
    net = TransformerNet(5, 8, 3, depth=1)
    with pytest.raises(DataError, match="from 0 to 12; expected at least 1 and at most 9"):
        net(_padded(padding=0.0), torch.tensor([0, 12, 1, 1]))


def test_dropout_only_in_training() -> None:
    net = TransformerNet(5, 8, 3, depth=1, dropout=0.3)
    x = _padded(padding=0.0)
    assert not net(x).equal(net(x))
    net.eval()
    assert net(x).equal(net(x))


def test_half_precision_with_lengths() -> None:
    torch.manual_seed(0)
    net = TransformerNet(5, 8, 3, depth=1)
    x = _padded(padding=3.0)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(x, LENGTHS)
    assert half.dtype == torch.bfloat16
    assert half.float().allclose(net(x, LENGTHS), atol=0.05)


def test_parts_are_named_in_order() -> None:
    net = TransformerNet(5, 8, 3, pooling="token")
    assert [name for name, _ in net.named_children()] == ["stem", "blocks", "norm", "head"]
    assert not list(net.parameters(recurse=False))
