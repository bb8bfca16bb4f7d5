"""What our callbacks need of Lightning's strategies: whole parameters on every process."""

import gc
from collections.abc import Callable, Iterable
from typing import Any

from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from torch.nn.parallel import DistributedDataParallel

from plt_nn.errors import ConfigError

# Where DistributedDataParallel looks for names to leave alone
# (https://pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html).
_IGNORED = "_ddp_params_and_buffers_to_ignore"


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


def rebuild_ddp(strategy: Strategy, frozen: Iterable[str]) -> None:
    """Builds DistributedDataParallel again, so that its reducer takes only the parameters that are trained now.

    The reducer takes those that require gradients when it is built; parameters that are thawed later would never be
    averaged over the processes, with or without `find_unused_parameters`.

    Args:
        strategy: The trainer's strategy; nothing is done if it does not use DDP.
        frozen: Names of parameters and buffers that are equal on all processes and do not change. They are not sent;
            otherwise every forward pass would send the statistics of every frozen BatchNorm.
    """
    if isinstance(strategy, DDPStrategy) and isinstance(strategy.model, DistributedDataParallel):
        module = strategy.lightning_module
        assert module is not None
        strategy.model = module
        gc.collect()  # the old reducer is part of a reference cycle, and its hooks work until it is freed
        users = getattr(module, _IGNORED, None)
        setattr(module, _IGNORED, {*(users or ()), *frozen})
        try:
            strategy.configure_ddp()
        finally:
            if users is None:
                delattr(module, _IGNORED)
            else:
                setattr(module, _IGNORED, users)


def ignored_by_ddp(strategy: Strategy) -> set[str]:
    """Names of the parameters and buffers that the user keeps out of DistributedDataParallel."""
    return set(getattr(strategy.lightning_module, _IGNORED, ()))


def watch_buffer_exchange(strategy: Strategy, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Has functions called before and after each time that DistributedDataParallel exchanges buffers.

    It does so before it runs what it wraps. Nothing happens without it, or if it is watched already.
    """
    if not isinstance(strategy.model, DistributedDataParallel) or "_pre_forward" in vars(strategy.model):
        return
    wrapper: Any = strategy.model
    pre_forward = wrapper._pre_forward

    def watched(*inputs: Any, **named: Any) -> Any:
        before()
        try:
            return pre_forward(*inputs, **named)
        finally:
            after()

    wrapper._pre_forward = watched


def stop_watching_buffer_exchange(strategy: Strategy) -> None:
    """Ends what `watch_buffer_exchange` began; does nothing if that is not the case."""
    getattr(strategy.model, "__dict__", {}).pop("_pre_forward", None)
