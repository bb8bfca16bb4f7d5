"""What our callbacks need of Lightning's strategies: whole parameters on every process."""

import gc

from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from torch.nn.parallel import DistributedDataParallel

from plt_nn.errors import ConfigError


def require_whole_parameters(strategy: Strategy, user: str) -> None:
    """Refuses strategies that shard parameters or wrap them in a way of their own (FSDP, DeepSpeed).

    Args:
        strategy: The trainer's strategy.
        user: The name of the callback that asks.

    Raises:
        ConfigError: If the strategy is neither for one device nor DistributedDataParallel.
    """
    if type(strategy) is not DDPStrategy and not isinstance(strategy, SingleDeviceStrategy):
        raise ConfigError(
            f"{user} cannot be used with {type(strategy).__name__}: it needs whole parameters on every process. "
            "Use one device, or strategy 'ddp' or 'ddp_spawn'."
        )


def wrap_anew(strategy: Strategy) -> None:
    """Builds DistributedDataParallel again, so that its reducer takes just the parameters that are trained now.

    The reducer takes those that require gradients when it is built; what is thawed later would never be averaged over
    the processes, with or without `find_unused_parameters`.
    """
    if isinstance(strategy, DDPStrategy) and isinstance(strategy.model, DistributedDataParallel):
        strategy.model = strategy.lightning_module
        gc.collect()  # the old reducer is part of a reference cycle, and its hooks live until it is freed
        strategy.configure_ddp()
