"""The cached features of one loader's samples, for as long as the same part of a net is frozen."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from plt_nn.features.cache_location import CacheLocation
from plt_nn.features.costs import Costs
from plt_nn.features.feature_folder import CacheEntry
from plt_nn.features.feature_loader import FeatureLoader, Serving
from plt_nn.features.forward import Forward
from plt_nn.features.lazy_inputs import LazyInputs, as_read
from plt_nn.features.recipe import Recipe, autocast_in_words
from plt_nn.frontier.cut import Crossing, Frontier, cut
from plt_nn.frontier.fingerprint import frontier_fingerprint
from plt_nn.frontier.guard import CutGuard
from plt_nn.frontier.verify import device_time, verify_first_batch
from plt_nn.text import byte_size, first_line

_PATIENCE = 3  # batches served before it is judged whether the step reads the inputs: logging may read the first
_MEASURED = 2  # the batch whose costs count: the first one also pays for what is made only once


@dataclass(frozen=True)
class CacheSetting:
    """The settings of a fit that a `CachedLoader` needs.

    Args:
        location: Where features may be cached.
        dtype: The dtype in which they are cached; None as they are computed.
        numerics: What else features depend on: precision, device, versions.
        passes: How often each sample will be seen.
        say: Prints a sentence for people.
        compiled: Compiles the forward pass of the part that is trained; None runs it as it is.
    """

    location: CacheLocation
    dtype: torch.dtype | None
    numerics: str
    passes: float
    say: Callable[[str], None]
    compiled: Callable[[nn.Module], Forward] | None = None


class CachedLoader:
    """Serves the cached features of a loader's samples, and computes and caches those that are missing.

    Args:
        name: The split: `training`, `validation` or `test`.
        module: The net that gets the loader's inputs.
        loader: The loader.
        setting: The settings of the fit.
    """

    def __init__(self, name: str, module: nn.Module, loader: FeatureLoader, setting: CacheSetting) -> None:
        self.name, self.loader, self._module, self._setting = name, loader, module, setting
        self.guard: CutGuard | None = None
        self._frontier: Frontier | None = None
        self._recipe: Recipe | None = None
        self._entry: CacheEntry | None = None
        self._key: str | None = None
        self._batches = 0  # that were computed and cached
        self._calls = 0  # of the net with batches that the loader serves
        self._is_unconfirmed = False  # whether features were cached since the frozen part was last checked
        self._open()

    def run(self, x: LazyInputs, forward: Forward) -> Any:
        """The net's output for a batch that the loader serves."""
        frontier, guard, recipe = self._frontier, self.guard, self._recipe
        self._calls += 1
        if self.loader.serving is not x.served_by or frontier is None or guard is None:
            return forward(x.inputs())
        if not guard.holds():
            self._setting.say(f"Features of the {self.name} samples rest until the next epoch: the net has changed.")
            return forward(x.inputs())
        if recipe is not None and recipe.autocast != autocast_in_words(x.device):
            self.close("they were computed under another autocast")
            return forward(x.inputs())
        if x.features is not None and recipe is not None:
            return frontier.after(recipe.crossing(x.features))
        return self._compute(frontier, x, forward)

    def check_step(self) -> None:
        """Stops caching after a step where it saves nothing: the inputs are read anyway, or changed before the net."""
        serving = self.loader.serving
        if serving is None:
            return
        if self._calls == 0 and serving.handed_out > _PATIENCE:  # Lightning takes one batch ahead
            self.close(f"the {self.name} step changes the inputs before the net gets them")
        elif serving.served >= _PATIENCE and serving.read_anyway > serving.served / 2:
            self.close(f"the {self.name} step looks at the inputs itself")

    def confirm(self) -> None:
        """After an epoch: removes what was cached in it if the frozen part has changed since; it may be wrong."""
        if self._is_unconfirmed and self.guard is not None and not self.guard.is_unchanged():
            self.discard()
            self.close("something else changes what is frozen")
        self._is_unconfirmed = False

    def discard(self) -> None:
        """Removes the cached features if this has computed some of them: they may be wrong."""
        if self._entry is not None and self._batches:
            self._entry.discard()
            self._entry = None

    def close(self, reason: str | None = None) -> None:
        """Stops serving and caching.

        Args:
            reason: Why, for people; None at a regular end.
        """
        self.loader.serving = None
        if self._entry is not None:
            self._entry.close()
            self._entry = None
        if reason is not None:
            self._setting.say(f"Features of the {self.name} samples are not cached: {reason}.")

    def _open(self) -> None:
        try:
            self._frontier = cut(self._module)
            self.guard = self._frontier.guard
            if self._setting.compiled is not None:
                self._frontier.suffix.forward = self._setting.compiled(self._frontier.suffix)
            self._key = self._fingerprint(self._frontier)
        except Exception as error:  # noqa: BLE001 -- NotCuttable, or of a net or data of any kind; training goes on
            return self.close(first_line(error))
        entry = self._setting.location.find(self._key)
        if entry is not None and self._reuse(entry):
            return self._setting.say(self._sentence(f"{entry.store.count():,} rows of earlier are there"))
        if self._setting.passes <= 1:
            return self.close("they are seen only once before more is trained")
        self.loader.serving = Serving(cached=self)
        return None

    def _reuse(self, entry: CacheEntry) -> bool:
        """Serves features of an earlier run, if they can be used."""
        try:
            recipe = Recipe.from_plain(entry.extra)
        except ValueError:
            recipe = None
        if recipe is None or entry.store.size != self.loader.source.size:
            entry.close()
            return False
        self._entry, self._recipe = entry, recipe
        self.loader.serving = Serving(entry.store, recipe.shape, recipe.dtype, self)
        return True

    def _fingerprint(self, frontier: Frontier) -> str | None:
        identity = self.loader.source.identity()
        computed = frontier_fingerprint(frontier) if identity is not None else None
        if computed is None:
            return None
        parts = [computed, identity, self._setting.numerics, str(self._setting.dtype)]
        return sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _compute(self, frontier: Frontier, x: LazyInputs, forward: Forward) -> Any:
        """Computes the features of a batch, caches them, and runs the rest of the net on them."""
        inputs, serving = x.inputs(), self.loader.serving
        assert serving is not None
        try:
            if self._entry is None:
                crossing, seconds, set_by_net = verify_first_batch(self._module, frontier, inputs)
                self.guard = self.guard and replace(self.guard, ignored=set_by_net)
                serving.store = self._make_entry(frontier, crossing, inputs).store
            else:
                began = device_time(inputs.device)
                crossing = frontier.before(inputs)
                seconds = device_time(inputs.device) - began
        except Exception as error:  # noqa: BLE001 -- NotCuttable, NoRoom; the net raises its own errors again
            self.close(first_line(error))
            return forward(inputs)
        rows = self._cache(x.rows, crossing, seconds)
        assert self._recipe is not None
        return frontier.after(self._recipe.crossing(rows))

    def _make_entry(self, frontier: Frontier, crossing: Crossing, inputs: Tensor) -> CacheEntry:
        self._recipe = recipe = Recipe.of(crossing, inputs)
        types = recipe.types(crossing.rows, self._setting.dtype)
        about = {"net": type(self._module).__name__, "up to": ", ".join(frontier.crosses), "samples": self.name}
        size = self.loader.source.size
        self._entry = self._setting.location.make(self._key, size, types, recipe.to_plain(), about)
        return self._entry

    def _cache(self, numbers: Tensor, crossing: Crossing, compute: float) -> list[Tensor]:
        """Caches the features of a batch; returns them as they will be read, so that all epochs are alike."""
        assert self._entry is not None
        store, began = self._entry.store, time.perf_counter()
        rows = [row.to(kind.dtype) for row, kind in zip(crossing.rows, store.types, strict=True)]
        try:
            store.put(numbers, rows)
        except (OSError, ValueError) as error:  # a full disk; features of another shape than the first ones
            self.close(getattr(error, "strerror", None) or str(error))
            return rows
        written, self._is_unconfirmed = time.perf_counter(), True
        self._batches += 1
        if self._batches == _MEASURED:
            store.get(numbers)
            costs = Costs(compute, written - began, time.perf_counter() - written, self._setting.passes)
            if costs.pays():
                self._setting.say(self._sentence(costs.in_words()))
            else:
                self.close(f"it would not pay ({costs.in_words()})")
        return rows

    def _sentence(self, why: str) -> str:
        assert self._entry is not None and self._frontier is not None  # noqa: PT018
        store, where = self._entry.store, ", ".join(self._frontier.crosses)
        place = str(self._entry.files.folder) if self._entry.files is not None else "memory"
        return (
            f"Features of the {self.name} samples are cached as they leave {where}: {byte_size(store.row_nbytes)} a "
            f"sample, {byte_size(store.nbytes)} in {place}; {why}."
        )


def run_net(forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What replaces the forward pass of a net: batches that have features continue from these."""
    given = [*args, *kwargs.values()]
    for x in given:
        cached = x.served_by.cached if isinstance(x, LazyInputs) and isinstance(x.served_by, Serving) else None
        if isinstance(cached, CachedLoader) and cached.loader.serving is x.served_by:
            if len(given) == 1:
                return cached.run(x, forward if args else lambda inputs: forward(**dict.fromkeys(kwargs, inputs)))
            cached.close("the net is given more than the inputs")
    return forward(*map(as_read, args), **{name: as_read(value) for name, value in kwargs.items()})
