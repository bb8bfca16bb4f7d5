import pytest
import torch

from plt_nn.architectures import create_norm
from plt_nn.architectures.normalisation import Norm
from plt_nn.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "images", "over"),
    [
        ("batch", False, (0,)),
        ("layer", False, (1,)),
        ("batch", True, (0, 2, 3)),
        ("layer", True, (1, 2, 3)),
    ],
)
def test_normalises_over_the_stated_dimensions(name: Norm, images: bool, over: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = 5 + 3 * torch.randn((16, 24, 5, 5) if images else (16, 24))
    y = create_norm(name, 24, images)(x)
    assert y.mean(over).abs().max() < 1e-5
    assert (y.var(over, correction=0) - 1).abs().max() < 1e-3


@pytest.mark.parametrize(("features", "groups"), [(64, 8), (12, 4), (7, 1)])
@pytest.mark.parametrize("images", [False, True])
def test_groups_divide_the_features(features: int, groups: int, images: bool) -> None:
    torch.manual_seed(0)
    x = 5 + 3 * torch.randn((4, features, 3, 3) if images else (4, features))
    y = create_norm("group", features, images)(x).reshape(4, groups, -1)
    assert y.mean(2).abs().max() < 1e-5


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"norm is 'bacth'\. Did you mean 'batch'"):
        create_norm("bacth", 8)  # type: ignore[arg-type]
