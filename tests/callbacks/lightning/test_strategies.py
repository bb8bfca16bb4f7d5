"""Strategies that shard parameters are refused, with the reason."""

import pytest
from lightning.pytorch.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    SingleDeviceStrategy,
    Strategy,
)

from plt_nn.callbacks.lightning.strategies import require_whole_parameters
from plt_nn.errors import ConfigError


@pytest.mark.parametrize("strategy", [FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy])
def test_sharding_strategies_are_refused(strategy: type[Strategy]) -> None:
    # Made without their constructors: DeepSpeed's needs its library, and none of them runs on a CPU.
    with pytest.raises(ConfigError, match=f"cannot be used with {strategy.__name__}: it needs whole parameters"):
        require_whole_parameters(object.__new__(strategy), "FreezingSchedule")


@pytest.mark.parametrize("strategy", [DDPStrategy(), SingleDeviceStrategy("cpu")])
def test_whole_parameters_are_taken(strategy: Strategy) -> None:
    require_whole_parameters(strategy, "FreezingSchedule")
