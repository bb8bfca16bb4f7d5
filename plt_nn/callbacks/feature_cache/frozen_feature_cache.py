"""Computes the output of a net's frozen part once for each sample, and trains the rest at the rest's own price."""

import math
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from plt_nn.callbacks.feature_cache.next_action import Action, FrozenState, frozen_state, next_action
from plt_nn.callbacks.feature_cache.split_cache import SplitCache
from plt_nn.callbacks.freezing.remaining_epochs import remaining_epochs
from plt_nn.callbacks.lightning.callback_order import callbacks_of, sort_callbacks
from plt_nn.callbacks.lightning.compiled import is_compiled_by_lightning
from plt_nn.callbacks.lightning.loops import LoopLoaders, Split
from plt_nn.callbacks.speed.compile_net import CompileNet
from plt_nn.errors import refuse
from plt_nn.features.cache_location import CacheLocation
from plt_nn.features.cached_loader import CacheSetting, run_net
from plt_nn.features.feature_folder import features_root
from plt_nn.features.forward import feature_net, is_compiled, take_over

_SPLITS: tuple[Split, ...] = ("training", "validation", "test")
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class FrozenFeatureCache(Callback):
    """Caches the output of the frozen part of a net for each sample, and continues from it in later epochs.

    What is frozen gives the same output for the same input, so a phase that trains only the head costs one pass through
    the net and then what the head costs; images are not even decoded. When a schedule unfreezes more, the frontier
    moves. The training and validation samples are cached, and those of tests if features outlive the run. Nothing else
    changes: the steps, losses and gradients are those of training without it. Works on any `LightningModule` that
    passes a batch's inputs to a net in an attribute, with loaders of plt_nn and any `DataLoader` over numbered samples.

    Where features could be wrong nothing is cached, and a line says why. The first batch of each phase is run with and
    without features and compared. A net is not cut if a trace would not follow its code (autocast of its own,
    attributes that it sets, randomness). If something else changes the frozen part, the data or the net, it is noticed.

    Training samples whose transform draws random numbers are cached only with `views`. In each phase a line says what
    is cached, or why nothing is; where it would not pay, as measured on the first batches, it is off.

    Features of known data (files, tensors) are stored in `folder` and used again by later runs with the same frozen
    part, data and preprocessing; `plt-nn features ls` lists them. Whatever changes one of these changes their name.

    Args:
        views: How many augmented views of each sample are cached if the training transform is random; epoch e uses view
            e modulo `views`. Default: such samples are not cached.
        dtype: The dtype in which features are cached: `float16` or `bfloat16` take half the space, and round. Default:
            as they are computed.
        net: The attribute of the LightningModule that holds the net. Default: its first child of which a part is
            frozen.
        folder: Where features are stored. Default: `features/` in the store of the run's logger, else
            `mlruns/features`.
        reuse: Whether they are stored in files that outlive the run. False: in memory.
        most_megabytes: How large `folder` may become; the least recently used features are removed first.
        memory_megabytes: How much memory the features of each loader may take: all features that are in memory, and
            what is held at a time of those in files.
        enabled: False: nothing is cached, also where `plt-nn fit` would cache by default.

    Raises:
        ConfigError: For arguments that cannot be used.
    """

    def __init__(
        self,
        views: int | None = None,
        dtype: Literal["float16", "bfloat16"] | None = None,
        net: str | None = None,
        folder: str | None = None,
        reuse: bool = True,
        most_megabytes: int = 20_000,
        memory_megabytes: int = 1_000,
        enabled: bool = True,
    ) -> None:
        checks = (
            ("views", views, views is None or views >= 1, "a number of at least 1, or none"),
            ("dtype", dtype, dtype is None or dtype in _DTYPES, "'float16', 'bfloat16' or none"),
            ("most_megabytes", most_megabytes, most_megabytes >= 1, "a number of at least 1"),
            ("memory_megabytes", memory_megabytes, memory_megabytes >= 1, "a number of at least 1"),
        )
        faults = [
            f"{name} is {value!r}; expected {expected}." for name, value, is_right, expected in checks if not is_right
        ]
        refuse("FrozenFeatureCache", faults)
        self.views, self.dtype, self.net = views, dtype, net
        self.folder, self.reuse, self.enabled = folder, reuse, enabled
        self._most_on_disk, self._most_in_memory = most_megabytes * 1_000_000, memory_megabytes * 1_000_000
        self._splits = {name: SplitCache(name, views or 0 if name == "training" else 0) for name in _SPLITS}
        self._given_up: dict[Split, FrozenState] = {}
        self._net: nn.Module | None = None
        self._restore_net: Callable[[], None] | None = None
        self._said: set[str] = set()
        self._is_first = True  # whether the first epoch of this fit is to come

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes its place in the order of callbacks."""
        sort_callbacks(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts anew; a run that is resumed in the middle of an epoch begins that epoch without a hook."""
        self._end()
        self._said, self._given_up, self._is_first = set(), {}, True
        if trainer.fit_loop.restarted_mid_epoch or trainer.fit_loop.restarted_on_epoch_end:
            self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adapts to what is frozen; Lightning has made the first epoch's iterator, and makes the others next."""
        self._adapt("training", trainer, pl_module, self._is_first)
        self._is_first = False

    def on_phase_start(self, trainer: Trainer, pl_module: LightningModule, number: int, batch_idx: int) -> None:
        """Adapts in the middle of an epoch; at its beginning the other callbacks come first."""
        if batch_idx > 0:
            self._adapt("training", trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Checks whether the step reads the inputs itself."""
        self._splits["training"].check_step()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks that the frozen part is unchanged."""
        self._splits["training"].confirm()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adapts to what is frozen, now that the net is in eval mode and has the weights that are to be measured."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._adapt("validation", trainer, pl_module, is_made=True)
        elif trainer.state.fn == "validate":
            self._adapt_outside_fit("validation", trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks whether the step reads the inputs itself, and that the frozen part is unchanged."""
        self._splits["validation"].check_step()
        self._splits["validation"].confirm()
        if trainer.state.fn == "validate":
            self._end()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Serves what an earlier test of the same frozen part has stored, or stores it for the next one."""
        self._adapt_outside_fit("test", trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores the net and the loaders."""
        self._splits["test"].confirm()
        self._end()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores the net and the loaders."""
        self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restores the net and the loaders."""
        for split in self._splits.values():
            split.confirm()
        self._end()

    def _adapt_outside_fit(self, name: Split, trainer: Trainer, pl_module: LightningModule) -> None:
        """Outside a fit each sample is seen once: only features that outlive the run are of use."""
        if self.reuse and any(not parameter.requires_grad for parameter in pl_module.parameters()):
            self._said = set()
            self._adapt(name, trainer, pl_module, is_made=True)

    def _adapt(self, name: Split, trainer: Trainer, pl_module: LightningModule, is_made: bool = False) -> None:
        """Does what `next_action` says about a split's features."""
        if not self.enabled:
            return
        split, net, loaders = self._splits[name], feature_net(pl_module, self.net), LoopLoaders(trainer, name)
        state = frozen_state(net) if net is not None else None
        has_compiled = is_compiled_by_lightning(pl_module) or is_compiled(pl_module)
        action = next_action(
            state,
            split.opened_for,
            self._given_up.get(name),
            is_compiled=has_compiled,
            is_unchanged=state != split.opened_for or all(guard.is_unchanged() for guard in split.guards()),
            is_rewritten=any(guard.is_rewritten() for guard in split.guards()),
            is_current=all(guard.is_current() for guard in split.guards()),
            are_loaders_new=split.combined is not None and split.combined is not loaders.combined,
        )
        if action is Action.RENEW:
            split.renew()
        if action in (Action.KEEP, Action.RENEW):
            return
        split.close()
        if state is None or net is None:
            return
        if has_compiled:
            self._say("Features are not cached: the net is compiled.")
        elif action is Action.GIVE_UP:
            self._given_up[name] = state
            self._say(f"Features of the {name} samples are not cached: something else changes what is frozen.")
        elif action is Action.REBUILD:
            self._take_over(net)
            split.open(net, state, loaders, self._setting(trainer, net), is_made)

    def _take_over(self, net: nn.Module) -> None:
        if net is not self._net:
            self._leave_net()
            self._net, self._restore_net = net, take_over(net, run_net)

    def _leave_net(self) -> None:
        if self._restore_net is not None:
            self._restore_net()
        self._net = self._restore_net = None

    def _end(self) -> None:
        for split in self._splits.values():
            split.restore()
        self._leave_net()

    def _setting(self, trainer: Trainer, net: nn.Module) -> CacheSetting:
        device = trainer.strategy.root_device.type
        numerics = f"{trainer.precision} {device} torch {torch.__version__} {platform.machine()} {_matmuls(device)}"
        dtype = _DTYPES[self.dtype] if self.dtype is not None else None
        root = Path(self.folder) if self.folder is not None else features_root(trainer.loggers)
        location = CacheLocation(root if self.reuse else None, self._most_on_disk, self._most_in_memory)
        passes = remaining_epochs(trainer) if trainer.state.fn == "fit" else math.inf
        compilers = callbacks_of(trainer, CompileNet)
        compiled = next((compiler.compiled for compiler in compilers if compiler.is_at_work_on(net)), None)
        return CacheSetting(location, dtype, numerics, passes, self._say, compiled)

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            rank_zero_info(sentence)


def _matmuls(device: str) -> str:
    """How precisely products of matrices and convolutions are computed."""
    precision = torch.get_float32_matmul_precision()
    return f"{precision} {torch.backends.cudnn.allow_tf32}" if device == "cuda" else precision
