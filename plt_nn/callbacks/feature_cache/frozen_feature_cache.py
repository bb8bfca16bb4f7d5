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

from plt_nn.callbacks.feature_cache.split_cache import SplitCache
from plt_nn.callbacks.freezing.remaining_epochs import remaining_epochs
from plt_nn.callbacks.lightning.callback_order import callbacks_of, sort_callbacks
from plt_nn.callbacks.lightning.compiled import is_module_compiled
from plt_nn.callbacks.lightning.loops import data_fetcher
from plt_nn.callbacks.speed.compile_net import CompileNet
from plt_nn.errors import ConfigError
from plt_nn.features.cache_location import CacheLocation
from plt_nn.features.cached_loader import CachedLoader, CacheSetting
from plt_nn.features.forward import Forward, FrozenState, feature_net, frozen_state, take_over
from plt_nn.features.lazy_inputs import LazyInputs, inputs_of

_ROLES = ("training", "validation", "test")
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class FrozenFeatureCache(Callback):
    """Keeps the output of the frozen part of a net for each sample, and goes on from it in later epochs.

    What is frozen gives the same output for the same input, so a phase that trains only the head costs one pass through
    the net and then what the head costs; images are not even decoded. When more is thawed, the frontier moves. The
    training and the validation samples are kept, and those of tests where features outlive the run. Nothing else
    changes: the steps, losses and gradients are those of training without it. Works on any `LightningModule` that hands
    a batch's inputs to a net in an attribute, with loaders of plt_nn and any `DataLoader` over numbered samples.

    Where features could be wrong nothing is kept, and the line says why: the first batch of each phase is run with and
    without them and compared; a net is not cut whose code a trace would not follow (autocast of its own, attributes
    that it sets, chance); and it is noticed when something else changes what is frozen, the data, or the net.

    Training samples whose transform draws random numbers are kept only with `views`. In each phase it says in a line
    what is kept, or why nothing is: where it would not pay, as measured on the first batches, it is off.

    Features of known data (files, tensors) lie in `folder` and are used again by later runs of the same frozen part,
    data and preprocessing; `plt-nn features ls` lists them. Whatever changes one of these changes their name.

    Args:
        views: With a random training transform: how many augmented views of each sample are kept; epoch e uses view
            e modulo `views`. Default: such samples are not kept.
        dtype: The dtype in which features are kept: `float16` or `bfloat16` take half the space, and round. Default: as
            they are computed.
        net: The attribute of the LightningModule that holds the net. Default: its first child of which a part is
            frozen.
        folder: Where features are kept. Default: `features/` in the store of the run's logger, else `mlruns/features`.
        reuse: Whether they are kept in files that outlive the run. False: in memory.
        most_megabytes: How large `folder` may become; the least recently used features go first.
        memory_megabytes: How much memory features may take for each loader: all of those that are in memory, and what
            is held at a time of those that are in files.
        enabled: False: nothing is kept, as where `plt-nn fit` would have it by default.

    Raises:
        ConfigError: For an argument that cannot be used.
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
        faults = [
            f"{name} is {value!r}; expected {expected}."
            for name, value, is_right, expected in (
                ("views", views, views is None or views >= 1, "a number of at least 1, or none"),
                ("dtype", dtype, dtype is None or dtype in _DTYPES, "'float16', 'bfloat16' or none"),
                ("most_megabytes", most_megabytes, most_megabytes >= 1, "a number of at least 1"),
                ("memory_megabytes", memory_megabytes, memory_megabytes >= 1, "a number of at least 1"),
            )
            if not is_right
        ]
        if faults:
            raise ConfigError(" ".join(faults))
        self.views, self.dtype, self.net = views, dtype, net
        self.folder, self.reuse, self.enabled = folder, reuse, enabled
        self._most_on_disk, self._most_in_memory = most_megabytes * 1_000_000, memory_megabytes * 1_000_000
        self._roles = {name: SplitCache(name, views or 0 if name == "training" else 0) for name in _ROLES}
        self._net: nn.Module | None = None
        self._give_back: Callable[[], None] | None = None
        self._given_up: dict[str, FrozenState] = {}
        self._said: set[str] = set()
        self._is_first = True  # whether the first epoch of this fit is to come

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes its place: after the callbacks that freeze, and those that seed the order of the samples."""
        sort_callbacks(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts anew; a run that is resumed in the middle of an epoch begins that one without a hook."""
        self._end()
        self._said, self._given_up, self._is_first = set(), {}, True
        if trainer.fit_loop.restarted_mid_epoch or trainer.fit_loop.restarted_on_epoch_end:
            self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks what is frozen now; Lightning has made the first iterator already, and makes the others next."""
        self._settle("training", trainer, pl_module, data_fetcher(trainer.fit_loop), self._is_first)
        self._is_first = False

    def on_phase_start(self, trainer: Trainer, pl_module: LightningModule, number: int, batch_idx: int) -> None:
        """Moves the frontier in the middle of an epoch; at its beginning the other callbacks come first."""
        if batch_idx > 0:
            self._settle("training", trainer, pl_module, data_fetcher(trainer.fit_loop))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Sees whether the step needs the inputs themselves."""
        self._roles["training"].check()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sees whether what is frozen is what it was."""
        self._confirm("training")

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks what is frozen, now that the net is in eval mode, and has the weights that are to be measured."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            fetcher = data_fetcher(trainer.fit_loop.epoch_loop.val_loop)
            self._settle("validation", trainer, pl_module, fetcher, is_made=True)
        elif trainer.state.fn == "validate":
            self._settle_alone("validation", trainer, pl_module, data_fetcher(trainer.validate_loop))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sees whether the step needs the inputs themselves."""
        self._roles["validation"].check()
        self._confirm("validation")
        if trainer.state.fn == "validate":
            self._end()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Serves what an earlier test of the same frozen part has left in files, or leaves it for the next one."""
        self._settle_alone("test", trainer, pl_module, data_fetcher(trainer.test_loop))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives everything back as it was."""
        self._confirm("test")
        self._end()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives everything back as it was."""
        self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives everything back as it was."""
        for name in _ROLES:
            self._confirm(name)
        self._end()

    def _settle_alone(self, name: str, trainer: Trainer, pl_module: LightningModule, fetcher: Any) -> None:
        """Outside a fit each sample is seen once: only what outlives the run is of use."""
        if self.reuse and any(not parameter.requires_grad for parameter in pl_module.parameters()):
            self._said = set()
            self._settle(name, trainer, pl_module, fetcher, is_made=True)

    def _settle(
        self, name: str, trainer: Trainer, pl_module: LightningModule, fetcher: Any, is_made: bool = False
    ) -> None:
        """Sees to it that what is served fits what is frozen."""
        if not self.enabled:
            return
        role, net, combined = self._roles[name], feature_net(pl_module, self.net), fetcher.combined_loader
        found = frozen_state(net) if net is not None else None
        if found is not None and found.is_like(self._given_up.get(name)):
            return
        is_like = found is not None and found.is_like(role.condition)
        is_untouched = is_like and all(site.is_untouched() for site in role.sites)
        if is_untouched and found != role.condition:  # written again, and the same
            role.condition = found
            for site in role.sites:
                site.renew()
        is_reloaded = role.combined is not None and role.combined is not combined
        if is_untouched and not is_reloaded and all(site.is_current() for site in role.sites):
            return
        is_moving = is_like and not is_untouched
        role.close()
        if net is None or found is None:
            return
        if is_module_compiled(pl_module):
            self._say("Features are not kept: the net is compiled.")
            return
        if is_moving:  # such as an average of weights that are trained
            self._given_up[name] = found
            self._say(f"Features of the {name} samples are not kept: something else changes what is frozen.")
            return
        role.condition = found
        if net is not self._net:
            self._leave_net()
            self._net, self._give_back = net, take_over(net, self._run)
        role.open(net, fetcher, self._setting(trainer, net), is_made)

    def _confirm(self, name: str) -> None:
        for site in self._roles[name].sites:
            site.confirm()

    def _run(self, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The forward pass of the net."""
        given = [*args, *kwargs.values()]
        for x in given:
            site = self._site_of(x) if isinstance(x, LazyInputs) else None
            if site is not None and len(given) == 1:
                return site.run(x, forward if args else lambda inputs: forward(**dict.fromkeys(kwargs, inputs)))
            if site is not None:
                site.close("the net is given more than the inputs")
        return forward(*map(inputs_of, args), **{name: inputs_of(value) for name, value in kwargs.items()})

    def _site_of(self, x: LazyInputs) -> CachedLoader | None:
        """The site whose features a batch has."""
        sites = (site for role in self._roles.values() for site in role.sites)
        return next((s for s in sites if s.loader.serving is not None and x.source is s.loader.serving), None)

    def _setting(self, trainer: Trainer, net: nn.Module) -> CacheSetting:
        device = trainer.strategy.root_device.type
        numerics = f"{trainer.precision} {device} torch {torch.__version__} {platform.machine()} {_products(device)}"
        dtype = _DTYPES[self.dtype] if self.dtype is not None else None
        place = CacheLocation(self._root(trainer) if self.reuse else None, self._most_on_disk, self._most_in_memory)
        passes = remaining_epochs(trainer) if trainer.state.fn == "fit" else math.inf
        compilers = callbacks_of(trainer, CompileNet)
        compiled = next((compiler.compiled for compiler in compilers if compiler.is_at_work_on(net)), None)
        return CacheSetting(place, dtype, numerics, passes, self._say, compiled)

    def _root(self, trainer: Trainer) -> Path:
        if self.folder is not None:
            return Path(self.folder)
        folders = [getattr(logger, "features_dir", None) for logger in trainer.loggers]
        return next((folder for folder in folders if isinstance(folder, Path)), Path("mlruns", "features"))

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            rank_zero_info(sentence)

    def _end(self) -> None:
        for role in self._roles.values():
            role.give_back()
        self._leave_net()

    def _leave_net(self) -> None:
        if self._give_back is not None:
            self._give_back()
        self._net = self._give_back = None


def _products(device: str) -> str:
    """How exactly products of matrices and convolutions are computed."""
    told = torch.get_float32_matmul_precision()
    return f"{told} {torch.backends.cudnn.allow_tf32}" if device == "cuda" else told
