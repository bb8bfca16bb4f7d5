"""The loaders of training or of validation, and what is kept of their samples."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from plt_nn.callbacks.lightning.loops import reads_in_sequence
from plt_nn.features.cached_loader import CachedLoader, CacheSetting
from plt_nn.features.forward import FrozenState
from plt_nn.features.loader import FeatureLoader, feature_loader
from plt_nn.features.plain_loader.data_loader import DataLoaderSource, why_no_source
from plt_nn.features.plain_loader.reader import reason_of
from plt_nn.features.source import Source

_CHANGED = "the data have changed between epochs"


@dataclass
class _Wrapped:
    """A loader in whose place ours stands.

    Args:
        combined: Lightning's loader of which it is a part.
        at: Its place in that.
        loader: Ours.
        why_not: Why its samples cannot be kept; empty if they can; None if that is not known yet.
    """

    combined: Any
    at: int
    loader: FeatureLoader
    why_not: str | None = None

    def put_back(self) -> None:
        """Puts the loader back in its place."""
        self.loader.serving = None
        self.loader.source.forget()
        flattened = list(self.combined.flattened)
        if flattened[self.at] is self.loader:
            flattened[self.at] = self.loader.loader
            self.combined.flattened = flattened


class SplitCache:
    """What is kept of the samples of one kind of loaders.

    Args:
        name: `training` or `validation`.
        views: How many augmented views of a sample are kept; 0 for samples that are not augmented.
    """

    def __init__(self, name: str, views: int) -> None:
        self.name, self._views = name, views
        self.sites: list[CachedLoader] = []
        self.condition: FrozenState | None = None
        self.combined: Any = None  # the loaders for which this was last opened
        self._wrapped: list[_Wrapped] = []

    def open(self, net: nn.Module, fetcher: Any, setting: CacheSetting, is_made: bool) -> None:
        """Opens a site for each loader whose samples can be kept.

        Args:
            net: The net that gets the inputs.
            fetcher: Lightning's fetcher of the loaders.
            setting: What the callback says.
            is_made: Whether Lightning has made the iterator of the epoch to come.
        """
        # Of loaders that are made anew for a later epoch of training Lightning makes an iterator, and then another one.
        is_made = is_made and (self.combined in (None, fetcher.combined_loader) or self.name != "training")
        self.combined = fetcher.combined_loader
        for wrapped in self._wrapped:
            if wrapped.combined is not self.combined:
                wrapped.put_back()
        self._wrapped = [wrapped for wrapped in self._wrapped if wrapped.combined is self.combined]
        new = self._wrap(setting)
        for wrapped in self._wrapped:
            self._open_site(wrapped, net, setting)
        if is_made:
            _begin_anew(fetcher, new)

    def check(self) -> None:
        """Gives up where serving features saves no reading of the inputs, or is no longer right."""
        for site in self.sites:
            if site.loader.is_outdated:
                site.loader.is_outdated = False
                site.discard()
                site.close(_CHANGED)
            serving = site.loader.serving
            if serving is not None and serving.has_news():  # else the epoch is still one of the loader itself
                site.check()

    def close(self) -> None:
        """Serves nothing any more."""
        for site in self.sites:
            site.loader.source.look(reads=False)
            if site.loader.source.has_changed:
                site.discard()
            site.close()
        self.sites, self.condition = [], None

    def give_back(self) -> None:
        """Puts the loaders back in their places."""
        self.close()
        for wrapped in self._wrapped:
            wrapped.put_back()
        self._wrapped, self.combined = [], None

    def _wrap(self, setting: CacheSetting) -> list[_Wrapped]:
        """Puts ours in the place of the loaders; those that are new."""
        flattened = self.combined.flattened  # the list that an iterator goes through: it comes to those that are next
        if len(flattened) > 1 and not reads_in_sequence(self.combined):
            self._say_why_not(setting, "several loaders are read at once")
            return []
        new = []
        for at, loader in enumerate(flattened):
            if isinstance(loader, FeatureLoader):
                continue
            source = self._source(loader, setting)
            if source is not None:
                self._wrapped = [known for known in self._wrapped if known.at != at]
                new.append(_Wrapped(self.combined, at, feature_loader(loader, source)))
                flattened[at] = new[-1].loader
        self._wrapped += new
        self.combined.flattened = flattened
        return new

    def _source(self, loader: Any, setting: CacheSetting) -> Source | None:
        try:
            if hasattr(loader, "feature_source"):
                source: Source = loader.feature_source(self._views)
                return source
            why_not = why_no_source(loader)
            if why_not is None:
                return DataLoaderSource(loader)
        except Exception as error:  # noqa: BLE001  # a stranger's data are no reason to end a fit
            why_not = reason_of(error)
        self._say_why_not(setting, why_not)
        return None

    def _open_site(self, wrapped: _Wrapped, net: nn.Module, setting: CacheSetting) -> None:
        source = wrapped.loader.source
        try:
            if wrapped.why_not is None:
                wrapped.why_not = self._why_not(wrapped.loader)
            why_not = _CHANGED if source.has_changed else wrapped.why_not
            if not why_not:
                self.sites.append(CachedLoader(self.name, net, wrapped.loader, setting))
                return
        except Exception as error:  # noqa: BLE001  # a stranger's data are no reason to end a fit
            wrapped.loader.serving = None
            why_not = wrapped.why_not = f"they cannot be read one by one ({reason_of(error)})"
        self._say_why_not(setting, why_not)

    def _why_not(self, loader: FeatureLoader) -> str:
        source = loader.source
        if not source.is_random():
            return ""
        if isinstance(source, DataLoaderSource):
            return source.why_random
        has_views = self.name == "training" and hasattr(loader.loader, "feature_source")
        return "they are read at random" + ("; views=K keeps K augmented views of each" if has_views else "")

    def _say_why_not(self, setting: CacheSetting, reason: str) -> None:
        setting.say(f"Features of the {self.name} samples are not kept: {reason}.")


def _begin_anew(fetcher: Any, new: list[_Wrapped]) -> None:
    """Puts ours in the place of the iterator that Lightning has made of a loader that was there before.

    With an order that it alone knows it stays, and so it does where batches were taken of it.
    """
    first = next((wrapped.loader for wrapped in new if wrapped.at == 0), None)
    is_untouched = fetcher.length is not None and fetcher.fetched == 0
    if first is not None and first.serving is not None and is_untouched and not first.source.draws_ahead:
        first.source.is_begun()
        iter(fetcher)
