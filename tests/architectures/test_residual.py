import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from plt_nn.architectures import ResidualNet
from plt_nn.architectures.residual import ResidualBlock


@pytest.mark.parametrize("size", [(1, 1), (5, 8), (33, 20)])
@pytest.mark.parametrize("stem_stride", [1, 2, 4])
def test_takes_images_of_any_size_and_halves_them(size: tuple[int, int], stem_stride: int) -> None:
    net = ResidualNet(3, [4, 8, 12], 5, blocks=[1, 2, 1], stem_stride=stem_stride).eval()
    x = torch.randn(2, 3, *size)
    assert net(x).shape == (2, 5)
    shrunk = tuple(-(-pixels // stem_stride) for pixels in size)
    assert net.stem(x).shape[2:] == shrunk
    assert net.blocks(net.stem(x)).shape == (2, 12, *(-(-pixels // 4) for pixels in shrunk))


def test_a_stage_for_each_number_of_channels() -> None:
    net = ResidualNet(3, [4, 8], 5, blocks=[1, 3])
    assert [len(stage) for stage in net.blocks] == [1, 3]  # type: ignore[arg-type]
    assert [name for name, _ in net.named_children()] == ["stem", "blocks", "pool", "dropout", "head"]


def test_zero_init_makes_each_branch_start_as_its_shortcut() -> None:
    net = ResidualNet(3, [4, 8], 5, zero_init=True, init="kaiming_normal")
    x = torch.randn(2, 4, 6, 6)
    for block in (part for part in net.modules() if isinstance(part, ResidualBlock)):
        expected = block.shortcut(x).relu()
        assert block(x).equal(expected)
        x = expected
    net(torch.randn(2, 3, 6, 6)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_drop_path_rises_linearly_and_skips_whole_branches_in_training_only() -> None:
    net = ResidualNet(3, [4, 4], 5, blocks=2, drop_path=0.6)
    rates = [part.p for part in net.modules() if isinstance(part, StochasticDepth)]
    assert rates == pytest.approx([0.2, 0.4, 0.6])  # the first block has none
    torch.manual_seed(0)
    block = net.blocks[1][1]  # type: ignore[index]
    x = torch.randn(200, 4, 3, 3)
    skipped = (block(x) == x.relu()).flatten(1).all(1)
    assert 0.5 < skipped.float().mean() < 0.7
    assert not (block.eval()(x) == x.relu()).flatten(1).all(1).any()


def test_activation_follows_the_sum() -> None:
    net = ResidualNet(3, [4], 5, activation="sigmoid", norm=None)
    features = net.blocks(net.stem(torch.randn(2, 3, 6, 6)))
    assert features.min() > 0
    assert features.max() < 1
    assert not any(isinstance(part, nn.ReLU) for part in net.modules())
