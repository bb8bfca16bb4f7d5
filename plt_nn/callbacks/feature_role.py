"""The loaders of training or of validation, and what is kept of their samples."""

from collections.abc import Callable
from typing import Any

from torch import nn

from plt_nn.callbacks.feature_site import FeatureSite, Setting
from plt_nn.features.data_loader import DataLoaderSource, can_be_source
from plt_nn.features.loader import FeatureLoader, feature_loader
from plt_nn.features.source import Source


class FeatureRole:
    """What is kept of the samples of one kind of loaders.

    Args:
        name: `training` or `validation`.
        views: How many augmented views of a sample are kept; 0 for samples that are not augmented.
    """

    def __init__(self, name: str, views: int) -> None:
        self.name, self._views = name, views
        self.sites: list[FeatureSite] = []
        self.condition: tuple[object, ...] | None = None
        self._wrapped: list[tuple[Any, int, FeatureLoader]] = []  # where each loader stands
        self._is_random: dict[int, bool] = {}

    def open(self, net: nn.Module, fetcher: Any, setting: Setting, is_made: bool) -> None:
        """Opens a site for each loader whose samples can be kept.

        Args:
            net: The net that gets the inputs.
            fetcher: Lightning's fetcher of the loaders.
            setting: What the callback says.
            is_made: Whether Lightning has made the iterator of the epoch to come.
        """
        new = self._wrap(fetcher.combined_loader, setting.say)
        for _, _, loader in self._wrapped:
            if self._draws_random_numbers(loader.source):
                hint = "; views=K keeps K augmented views of each" if self.name == "training" else ""
                setting.say(f"Features of the {self.name} samples are not kept: they are read at random{hint}.")
            else:
                self.sites.append(FeatureSite(self.name, net, loader, setting))
        serving = [loader for loader in new if loader.serving is not None]
        # The iterator that was made is of the loader that was there before; with an order that it alone knows it stays.
        if is_made and serving and not any(loader.source.draws_ahead for loader in serving):
            for loader in serving:
                loader.source.is_begun()
            iter(fetcher)

    def check(self) -> None:
        """Gives up where serving features saves no reading of the inputs."""
        for site in self.sites:
            site.check()

    def close(self) -> None:
        """Serves nothing any more."""
        for site in self.sites:
            site.close()
        self.sites, self.condition = [], None

    def give_back(self) -> None:
        """Puts the loaders back in their places."""
        self.close()
        for combined, at, loader in self._wrapped:
            flattened = list(combined.flattened)
            if flattened[at] is loader:
                flattened[at] = loader.loader
                combined.flattened = flattened
        self._wrapped, self._is_random = [], {}

    def _wrap(self, combined: Any, say: Callable[[str], None]) -> list[FeatureLoader]:
        """Puts ours in the place of the loaders; those that are new."""
        flattened, new = list(combined.flattened), []
        for at, loader in enumerate(flattened):
            if isinstance(loader, FeatureLoader):
                continue
            source = self._source(loader)
            if source is None:
                kind = type(loader).__name__
                say(f"Features of the {self.name} samples are not kept: those of a {kind} cannot be told by number.")
                continue
            self._wrapped = [known for known in self._wrapped if (known[0], known[1]) != (combined, at)]
            flattened[at] = feature_loader(loader, source)
            new.append(flattened[at])
            self._wrapped.append((combined, at, flattened[at]))
        combined.flattened = flattened
        return new

    def _source(self, loader: Any) -> Source | None:
        if hasattr(loader, "feature_source"):
            source: Source = loader.feature_source(self._views)
            return source
        return DataLoaderSource(loader) if can_be_source(loader) else None

    def _draws_random_numbers(self, source: Source) -> bool:
        if id(source) not in self._is_random:
            self._is_random[id(source)] = source.is_random()
        return self._is_random[id(source)]
