import pytest
import torch
from torch import nn

from plt_nn.architectures import ConvNet


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 8), (31, 17)])
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_takes_images_of_any_size(size: tuple[int, int], pooling: str) -> None:
    net = ConvNet(3, [4, 4, 4], 5, kernel_size=5, pooling=pooling).eval()  # type: ignore[arg-type]
    assert net(torch.randn(2, 3, *size)).shape == (2, 5)
    assert net.blocks(torch.randn(2, 3, *size)).shape[2:] == tuple(-(-pixels // 8) for pixels in size)


@pytest.mark.parametrize(("pooling", "expected"), [("max", 4.0), ("average", 2.5)])
def test_pooling_is_the_one_named(pooling: str, expected: float) -> None:
    net = ConvNet(1, [1], 1, pooling=pooling)  # type: ignore[arg-type]
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2)
    assert net.blocks[0].pool(image).item() == expected  # type: ignore[operator]


def test_average_of_a_border_window_counts_only_its_pixels() -> None:
    pool = ConvNet(1, [1], 1, pooling="average").blocks[0].pool
    assert pool(torch.ones(1, 1, 3, 3)).eq(1).all()  # type: ignore[operator]


def test_a_block_is_convolution_norm_activation_pool() -> None:
    net = ConvNet(3, [4, 8], 5, norm="group", activation="silu", dropout=0.5)
    leaves = [type(part) for part in net.modules() if not list(part.children())]
    block = [nn.Conv2d, nn.GroupNorm, nn.SiLU, nn.MaxPool2d]
    assert leaves == [*block, *block, nn.AdaptiveAvgPool2d, nn.Dropout, nn.Linear]
    assert {name.split(".")[0] for name, _ in net.named_parameters()} == {"blocks", "head"}


def test_bias_only_where_no_norm_follows() -> None:
    assert "blocks.0.conv.0.bias" not in dict(ConvNet(3, [4], 5).named_parameters())
    assert "blocks.0.conv.0.bias" in dict(ConvNet(3, [4], 5, norm=None).named_parameters())
