import pytest
import torch
from torch import nn

from plt_nn.architectures import ACTIVATIONS, create_activation
from plt_nn.errors import ConfigError


def test_every_elementwise_activation_of_torch_is_known() -> None:
    unknown = {name for name in nn.modules.activation.__all__ if name.lower() not in ACTIVATIONS}
    assert unknown == {"GLU", "LogSoftmax", "MultiheadAttention", "Softmax", "Softmax2d", "Softmin"}


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"threshold"}))
def test_acts_element_by_element(name: str) -> None:
    act = create_activation(name).eval()
    x = torch.linspace(-2, 2, 12)
    assert act(x.view(3, 4)).flatten().allclose(torch.stack([act(value) for value in x.view(12, 1)]).flatten())


def test_name_in_any_case_and_arguments() -> None:
    assert type(create_activation("ReLU")) is type(create_activation("relu")) is nn.ReLU
    leaky = create_activation("LeakyReLU", negative_slope=0.3)
    assert leaky(torch.tensor([-1.0])).item() == pytest.approx(-0.3)


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"activation is 'Gelo'.*Did you mean 'gelu'"):
        create_activation("Gelo")


def test_wrong_or_missing_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match=r"'ReLU' cannot be built with \{'slope': 1\}.*'slope'"):
        create_activation("relu", slope=1)
    with pytest.raises(ConfigError, match="'threshold' and 'value'"):
        create_activation("Threshold")
