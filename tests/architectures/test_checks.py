import pytest

from plt_nn.architectures import ConvNet, RecurrentNet, ResidualNet, TransformerNet
from plt_nn.architectures.checks import not_empty, one_of, positive, probability
from plt_nn.errors import ConfigError


@pytest.mark.parametrize("size", [0, -3, 1.5, True, "4", [8, 0], [2.0]])
def test_positive_refuses_what_is_no_size(size: int) -> None:
    (fault,) = positive(width=size)
    assert fault.startswith(f"width is {size!r}; expected ")


def test_positive_accepts_sizes() -> None:
    assert positive(width=1, widths=[3, 4], none=[]) == []


def test_other_checks() -> None:
    assert not_empty(a=[1], b=[]) == ["b is empty; expected at least one number"]
    assert probability(p=0.0, q=0.5, r=1.0) == ["r is 1.0; expected 0 <= r < 1"]
    assert one_of(["max", "mean"], kind="maen", other=None) == ["kind is 'maen'. Did you mean 'mean'?"]


def test_every_net_reports_all_faults_together() -> None:
    with pytest.raises(ConfigError) as convnet:
        ConvNet(0, [], 3, kernel_size=4, pooling="maxx", norm="bacth", activation="relo", init="xavier")  # type: ignore[arg-type]
    assert str(convnet.value).count("\n  - ") == 7
    for part in ("in_channels", "channels", "odd", "'max'", "'batch'", "'relu'", "'xavier_normal'"):
        assert part in str(convnet.value)
    with pytest.raises(ConfigError) as recurrent:
        RecurrentNet(4, -1, 3, num_layers=0, cell="lsmt", readout="first", dropout=1.5)  # type: ignore[arg-type]
    assert str(recurrent.value).count("\n  - ") == 5
    with pytest.raises(ConfigError) as transformer:
        TransformerNet(4, 10, 3, heads=4, depth=0, patch_size=0, pooling="men", positions="sine", mlp_ratio=0.0)  # type: ignore[arg-type]
    assert str(transformer.value).count("\n  - ") == 5
    with pytest.raises(ConfigError) as residual:
        ResidualNet(3, [8, 16], 2, blocks=[1], norm=None, zero_init=True, drop_path=-0.1)
    assert str(residual.value).count("\n  - ") == 3
