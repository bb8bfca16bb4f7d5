import pytest
from torch import nn

from plt_nn.backbones import create_backbone, inner_preprocessing


class Wrapped(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net


@pytest.fixture(scope="module")
def backbone() -> nn.Module:
    return create_backbone("timm/tf_efficientnet_lite0", pretrained=False, num_classes=2)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_backbone_is_found_at_net_however_deep(backbone: nn.Module, depth: int) -> None:
    module = backbone
    for _ in range(depth):
        module = Wrapped(module)
    found = inner_preprocessing(module)
    assert found is not None
    assert found.mean == found.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("module", [None, "net", nn.Linear(2, 2), Wrapped(nn.Linear(2, 2))], ids=str)
def test_without_a_backbone_there_is_none(module: object) -> None:
    assert inner_preprocessing(module) is None
