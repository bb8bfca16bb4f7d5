"""The features of one loader's samples while one part of a net is frozen."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from plt_nn.features.cache_location import CacheEntry, CacheLocation
from plt_nn.features.costs import Costs
from plt_nn.features.forward import Forward
from plt_nn.features.lazy_inputs import LazyInputs
from plt_nn.features.loader import FeatureLoader, Serving
from plt_nn.features.recipe import Recipe, autocast_in_words
from plt_nn.frontier.cut import Crossing, Frontier, cut
from plt_nn.frontier.fingerprint import frontier_fingerprint
from plt_nn.frontier.module_attributes import Slot
from plt_nn.frontier.verify import now, verify_first_batch
from plt_nn.text import byte_size, first_line

_LOOKS = 3  # batches that were served before it is asked whether they are looked at: somebody may look at the first
_MEASURED = 2  # the batch whose cost counts: the first one pays for what is made only once


@dataclass(frozen=True)
class CacheSetting:
    """What a site is told by the callback.

    Args:
        place: Where features may be kept.
        dtype: In which dtype; None as they are computed.
        numerics: What else the features depend on: precision, device, versions.
        passes: How often each sample is still to be seen.
        say: Tells people a sentence.
        prepared: The forward pass of what is trained, as it is to be run; None as it is.
    """

    place: CacheLocation
    dtype: torch.dtype | None
    numerics: str
    passes: float
    say: Callable[[str], None]
    prepared: Callable[[nn.Module], Forward] | None = None


class CachedLoader:
    """Serves the features of a loader's samples, and keeps those that are not there yet.

    Args:
        name: What the loader is called: `training` or `validation`.
        module: The net that gets the loader's inputs.
        loader: The loader.
        setting: What the callback says.
    """

    def __init__(self, name: str, module: nn.Module, loader: FeatureLoader, setting: CacheSetting) -> None:
        self.name, self.loader, self._module, self._setting = name, loader, module, setting
        self._frontier: Frontier | None = None
        self._recipe: Recipe | None = None
        self._kept: CacheEntry | None = None
        self._key: str | None = None
        self._batches = 0  # whose features were kept
        self._steps = 0  # that were seen while serving
        self._asked = 0  # how often the net was run on what the loader serves
        self._notes: frozenset[Slot] = frozenset()  # attributes that the net sets itself
        self._is_written = False  # whether features were kept since the frozen part was last known to be as it was
        self._open()

    def run(self, x: LazyInputs, forward: Forward) -> Any:
        """The net's output for a batch that the loader serves.

        Args:
            x: The batch's inputs.
            forward: The net's own forward pass.
        """
        serving, frontier = self.loader.serving, self._frontier
        self._asked += 1
        if serving is None or frontier is None:
            return forward(x.inputs())
        if not frontier.is_valid():
            self._setting.say(f"Features of the {self.name} samples rest until the next epoch: the net has changed.")
            return forward(x.inputs())
        if self._recipe is not None and self._recipe.autocast != autocast_in_words(x.device):
            self.close("they were computed under another autocast")
            return forward(x.inputs())
        if x.features is not None and self._recipe is not None:
            return frontier.after(self._recipe.crossing(x.features))
        return self._compute(frontier, x, serving, forward)

    def check(self) -> None:
        """Gives up where keeping features saves nothing.

        So it is where the inputs are needed besides the net, and where the net gets something else than the inputs.
        """
        serving = self.loader.serving
        if serving is None:
            return
        self._steps += 1
        if self._asked == 0 and self._steps >= _LOOKS:
            self.close(f"the {self.name} step changes the inputs before the net gets them")
        elif serving.served >= _LOOKS and serving.looked_at > serving.served / 2:
            self.close(f"the {self.name} step looks at the inputs itself")

    def is_current(self) -> bool:
        """Whether the net is what it was when this was opened, so that this can go on."""
        return self._frontier is None or self._frontier.is_valid()

    def is_untouched(self) -> bool:
        """Whether every bit of the frozen part is what it was; asked once an epoch."""
        try:
            return self._frontier is None or self._frontier.is_untouched(self._notes)
        except RuntimeError:  # of a device that is lost, or full
            return False

    def renew(self) -> None:
        """Goes on after what is frozen was written again, bit for bit, as by who loads the weights of before."""
        self._frontier = self._frontier and self._frontier.renewed()

    def confirm(self) -> None:
        """After an epoch: removes what was kept in it if the frozen part was changed meanwhile; it may be wrong."""
        if self._is_written and not self.is_untouched():
            self.discard()
            self.close("something else changes what is frozen")
        self._is_written = False

    def discard(self) -> None:
        """Removes what was kept if this has had a part in it: nobody knows what it was made of."""
        if self._kept is not None and self._batches:
            self._kept.discard()
            self._kept = None

    def close(self, reason: str | None = None) -> None:
        """Serves and keeps nothing any more.

        Args:
            reason: Why, for people; None if it is the end of it.
        """
        self.loader.serving = None
        if self._kept is not None:
            self._kept.close()
            self._kept = None
        if reason is not None:
            self._setting.say(f"Features of the {self.name} samples are not kept: {reason}.")

    def _open(self) -> None:
        try:
            self._frontier = cut(self._module)
            if self._setting.prepared is not None:
                self._frontier.suffix.forward = self._setting.prepared(self._frontier.suffix)
            self._key = self._fingerprint(self._frontier)
        except Exception as error:  # noqa: BLE001 -- NotCuttable, or of a net or data of any kind; training goes on
            return self.close(first_line(error))
        kept = self._setting.place.find(self._key)
        if kept is not None and self._take(kept):
            return self._setting.say(self._sentence(f"{kept.store.count():,} rows of earlier are there"))
        if self._setting.passes <= 1:
            return self.close("they are seen only once before more is trained")
        self.loader.serving = Serving()
        return None

    def _take(self, kept: CacheEntry) -> bool:
        """Serves what was kept before, if it can be used."""
        try:
            recipe = Recipe.from_plain(kept.extra)
        except ValueError:
            recipe = None
        if recipe is None or kept.store.size != self.loader.source.size:
            kept.close()
            return False
        self._kept, self._recipe = kept, recipe
        self.loader.serving = Serving(kept.store, recipe.shape, recipe.dtype)
        return True

    def _fingerprint(self, frontier: Frontier) -> str | None:
        identity = self.loader.source.identity
        computed = frontier_fingerprint(frontier) if identity is not None else None
        if computed is None:
            return None
        parts = [computed, identity, self._setting.numerics, str(self._setting.dtype)]
        return sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _compute(self, frontier: Frontier, x: LazyInputs, serving: Serving, forward: Forward) -> Any:
        inputs = x.inputs()
        try:
            if self._kept is None:
                crossing, seconds, self._notes = verify_first_batch(self._module, frontier, inputs)
                serving.store = self._make_place(frontier, crossing, inputs).store
            else:
                began = now(inputs.device)
                crossing = frontier.before(inputs)
                seconds = now(inputs.device) - began
        except Exception as error:  # noqa: BLE001 -- NotCuttable, NoPlace; if it is the net's own, the net raises it again
            self.close(first_line(error))
            return forward(inputs)
        rows = self._keep(x.rows, crossing, seconds)
        assert self._recipe is not None
        return frontier.after(self._recipe.crossing(rows))

    def _make_place(self, frontier: Frontier, crossing: Crossing, inputs: Tensor) -> CacheEntry:
        self._recipe = recipe = Recipe.of(crossing, inputs)
        types = recipe.types(crossing.rows, self._setting.dtype)
        about = {"net": type(self._module).__name__, "up to": ", ".join(frontier.crosses), "samples": self.name}
        size = self.loader.source.size
        self._kept = self._setting.place.make(self._key, size, types, recipe.to_plain(), about)
        return self._kept

    def _keep(self, numbers: Tensor, crossing: Crossing, compute: float) -> list[Tensor]:
        """Keeps the features of a batch; gives them as they will be read, so that all passes are alike."""
        assert self._kept is not None
        store, began = self._kept.store, time.perf_counter()
        rows = [row.to(kind.dtype) for row, kind in zip(crossing.rows, store.types, strict=True)]
        try:
            store.put(numbers, rows)
        except (OSError, ValueError) as error:  # a full disk; features of another shape than the first ones
            self.close(getattr(error, "strerror", None) or str(error))
            return rows
        written, self._is_written = time.perf_counter(), True
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
        assert self._kept is not None and self._frontier is not None  # noqa: PT018
        store, where = self._kept.store, ", ".join(self._frontier.crosses)
        place = str(self._kept.files.entry.folder) if self._kept.files is not None else "memory"
        return (
            f"Features of the {self.name} samples are kept as they leave {where}: {byte_size(store.row_nbytes)} a "
            f"sample, {byte_size(store.nbytes)} in {place}; {why}."
        )
