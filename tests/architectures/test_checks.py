from collections.abc import Sequence
from typing import Any, Literal

import pytest

from plt_nn.architectures import ConvNet, RecurrentNet, ResidualNet, TransformerNet
from plt_nn.architectures.checks import check_arguments
from plt_nn.errors import ConfigError


class Toy:
    """Has an argument of each kind."""

    def __init__(
        self,
        width: int | Sequence[int] = 1,
        patch: int | None = None,
        kind: Literal["max", "mean"] | None = None,
        dropout: float = 0.0,
        init: str | None = None,
        init_kwargs: dict[str, Any] | None = None,
    ) -> None:
        check_arguments(Toy, locals(), (lambda: width != 13, "width is 13; expected a lucky number"))


@pytest.mark.parametrize("size", [0, -3, 1.5, True, "4", [8, 0], [2.0]])
def test_a_size_is_at_least_1(size: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Toy(width=size)
    (fault,) = caught.value.faults
    assert fault.startswith(f"width is {size!r}; expected ")


def test_what_the_hints_allow_is_accepted() -> None:
    Toy(width=[3, 4], patch=2, kind="mean", dropout=0.5)
    Toy(width=[], patch=None, kind=None)


def test_other_checks() -> None:
    with pytest.raises(ConfigError) as caught:
        Toy(width=13, kind="maen", dropout=1.0)  # type: ignore[arg-type]
    assert caught.value.faults == (
        "kind is 'maen'. Did you mean 'mean'?",
        "dropout is 1.0; expected 0 <= dropout < 1",
        "width is 13; expected a lucky number",
    )


def test_the_arguments_of_a_subclass_are_its_own() -> None:
    class Half(Toy):
        def __init__(self, width: float) -> None:
            super().__init__(width=int(2 * width))

    Half(0.5)
    with pytest.raises(ConfigError, match="Toy cannot be used:\n  - width is 0"):
        Half(0.0)


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
    assert str(transformer.value).count("\n  - ") == 6
    with pytest.raises(ConfigError) as residual:
        ResidualNet(3, [8, 16], 2, blocks=[1], norm=None, zero_init=True, drop_path=-0.1)
    assert str(residual.value).count("\n  - ") == 3
