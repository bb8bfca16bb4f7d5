from collections.abc import Callable
from typing import Any

import pytest
from lightning.pytorch import Trainer
from torch import nn

from plt_nn.backbones import create_backbone
from plt_nn.data.net_preprocessing import net_preprocessing


class Wrapped(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net


@pytest.fixture(scope="module")
def backbone() -> nn.Module:
    return create_backbone("timm/tf_efficientnet_lite0", pretrained=False, num_classes=2)


def test_without_a_trainer_or_a_backbone_there_is_none(trainer: Callable[..., Trainer]) -> None:
    assert net_preprocessing(None) is None
    assert net_preprocessing(trainer()) is None


def test_the_backbone_is_found_at_net_however_deep(
    backbone: nn.Module, trainer: Callable[..., Trainer], recorder: Callable[..., Any]
) -> None:
    for net in (backbone, Wrapped(backbone)):
        runner = trainer()
        runner.strategy.connect(recorder(net))
        found = net_preprocessing(runner)
        assert found is not None
        assert found.mean == found.std == (0.5, 0.5, 0.5)


def test_another_net_has_none(trainer: Callable[..., Trainer], recorder: Callable[..., Any]) -> None:
    runner = trainer()
    runner.strategy.connect(recorder(nn.Linear(2, 2)))
    assert net_preprocessing(runner) is None
