"""The loaders of one split, and the cached features of their samples."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from plt_nn.callbacks.feature_cache.next_action import FrozenState
from plt_nn.callbacks.lightning.loops import LoopLoaders, Split
from plt_nn.features.cached_loader import CachedLoader, CacheSetting
from plt_nn.features.feature_loader import FeatureLoader, feature_loader
from plt_nn.features.plain_loader.data_loader import data_loader_source, why_no_source
from plt_nn.features.plain_loader.reader import reason_of
from plt_nn.features.source import Source
from plt_nn.frontier.guard import CutGuard

_CHANGED = "the data have changed between epochs"


@dataclass
class _Replaced:
    """A loader that ours replaces.

    Args:
        combined: Lightning's loader of which it is a part.
        at: Its place in that.
        loader: Ours.
        why_not: Why its samples cannot be cached; empty if they can; None if that is not known yet.
    """

    combined: Any
    at: int
    loader: FeatureLoader
    why_not: str | None = None

    def restore(self) -> None:
        """Puts the loader back in its place."""
        self.loader.serving = None
        self.loader.source.forget()
        flattened = list(self.combined.flattened)
        if flattened[self.at] is self.loader:
            flattened[self.at] = self.loader.loader
            self.combined.flattened = flattened


class SplitCache:
    """The cached features of the samples of one split.

    Args:
        name: The split.
        views: How many augmented views of a sample are cached; 0 for samples that are not augmented.
    """

    def __init__(self, name: Split, views: int) -> None:
        self.name, self._views = name, views
        self.cached: list[CachedLoader] = []
        self.opened_for: FrozenState | None = None
        self.combined: Any = None  # the loaders for which this was last opened
        self._replaced: list[_Replaced] = []

    def open(
        self, net: nn.Module, state: FrozenState, loaders: LoopLoaders, setting: CacheSetting, is_made: bool
    ) -> None:
        """Caches the features of each loader whose samples can be cached.

        Args:
            net: The net that gets the inputs.
            state: What is frozen of it.
            loaders: The loaders.
            setting: The settings of the fit.
            is_made: Whether Lightning has already made the iterator of the coming epoch.
        """
        # Of training loaders that are made anew for a later epoch Lightning makes an iterator, and then another one.
        is_made = is_made and (self.combined in (None, loaders.combined) or self.name != "training")
        self.opened_for, self.combined = state, loaders.combined
        for replaced in self._replaced:
            if replaced.combined is not self.combined:
                replaced.restore()
        self._replaced = [replaced for replaced in self._replaced if replaced.combined is self.combined]
        new = self._replace(loaders, setting)
        for replaced in self._replaced:
            self._open_one(replaced, net, setting)
        first = next((one.loader for one in new if one.at == 0 and one.loader.serving is not None), None)
        # An iterator stays if its order cannot be known, or if batches were taken from it.
        if is_made and first is not None and loaders.has_unused_iterator() and not first.source.draws_ahead():
            first.source.on_begun()
            loaders.replace_iterator()

    def check_step(self) -> None:
        """Stops after a step where serving features saves no reading of the inputs, or is no longer right."""
        for cached in self.cached:
            if cached.loader.is_outdated:
                cached.loader.is_outdated = False
                cached.discard()
                cached.close(_CHANGED)
            cached.check_step()

    def guards(self) -> list[CutGuard]:
        """The guards of the nets that were cut for the loaders."""
        return [cached.guard for cached in self.cached if cached.guard is not None]

    def renew(self) -> None:
        """Continues after the frozen weights were written again, bit for bit."""
        for cached in self.cached:
            cached.guard = cached.guard and cached.guard.renewed()

    def confirm(self) -> None:
        """Removes what was cached in the last epoch if the frozen part has changed meanwhile."""
        for cached in self.cached:
            cached.confirm()

    def close(self) -> None:
        """Stops serving."""
        for cached in self.cached:
            cached.loader.source.look(False)
            if cached.loader.source.has_changed():
                cached.discard()
            cached.close()
        self.cached, self.opened_for = [], None

    def restore(self) -> None:
        """Puts the loaders back in their places."""
        self.close()
        for replaced in self._replaced:
            replaced.restore()
        self._replaced, self.combined = [], None

    def _replace(self, loaders: LoopLoaders, setting: CacheSetting) -> list[_Replaced]:
        """Replaces the loaders that are not ours yet; returns these."""
        if loaders.are_read_together():
            self._say_why_not(setting, "several loaders are read at once")
            return []
        flattened = self.combined.flattened  # the list that a running iterator goes through
        new = []
        for at, loader in enumerate(flattened):
            source = None if isinstance(loader, FeatureLoader) else self._source(loader, setting)
            if source is not None:
                self._replaced = [known for known in self._replaced if known.at != at]
                new.append(_Replaced(self.combined, at, feature_loader(loader, source)))
                flattened[at] = new[-1].loader
        self._replaced += new
        self.combined.flattened = flattened
        return new

    def _source(self, loader: Any, setting: CacheSetting) -> Source | None:
        try:
            if hasattr(loader, "feature_source"):
                source: Source = loader.feature_source(self._views)
                return source
            why_not = why_no_source(loader)
            if why_not is None:
                return data_loader_source(loader)
        except Exception as error:  # noqa: BLE001  # a user's data are no reason to end a fit
            why_not = reason_of(error)
        self._say_why_not(setting, why_not)
        return None

    def _open_one(self, replaced: _Replaced, net: nn.Module, setting: CacheSetting) -> None:
        source = replaced.loader.source
        try:
            if replaced.why_not is None:
                replaced.why_not = self._why_not(replaced.loader)
            why_not = _CHANGED if source.has_changed() else replaced.why_not
            if not why_not:
                self.cached.append(CachedLoader(self.name, net, replaced.loader, setting))
                return
        except Exception as error:  # noqa: BLE001  # a user's data are no reason to end a fit
            replaced.loader.serving = None
            why_not = replaced.why_not = f"they cannot be read one by one ({reason_of(error)})"
        self._say_why_not(setting, why_not)

    def _why_not(self, loader: FeatureLoader) -> str:
        reason = loader.source.why_random()
        can_have_views = self.name == "training" and hasattr(loader.loader, "feature_source")
        return f"{reason}; views=K caches K augmented views of each" if reason and can_have_views else reason

    def _say_why_not(self, setting: CacheSetting, reason: str) -> None:
        setting.say(f"Features of the {self.name} samples are not cached: {reason}.")
