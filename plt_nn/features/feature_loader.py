"""A loader that serves cached features of samples in place of their inputs, which are then not read."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from plt_nn.features.inputs import inputs_of, with_inputs
from plt_nn.features.lazy_inputs import LazyInputs
from plt_nn.features.rows import RowStore
from plt_nn.features.source import Source

Key = TypeVar("Key")
Value = TypeVar("Value")


def prefetched(gather: Callable[[Key], Value], keys: Sequence[Key], pool: ThreadPoolExecutor | None) -> Iterator[Value]:
    """Yields the value of each key; the next one is gathered meanwhile.

    Args:
        gather: Gives the value of a key.
        keys: The keys, in order.
        pool: The thread that gathers ahead; None to gather each value when it is asked for.
    """
    ahead: Future[Value] | None = None
    for at, key in enumerate(keys, 1):
        value = ahead.result() if ahead is not None else gather(key)
        ahead = pool.submit(gather, keys[at]) if pool is not None and at < len(keys) else None
        yield value


@contextmanager
def one_thread(is_wanted: bool) -> Iterator[ThreadPoolExecutor | None]:
    """A thread that has finished when the context is left; None if it is not wanted."""
    if not is_wanted:
        yield None
        return
    with ThreadPoolExecutor(1, thread_name_prefix="features") as pool:
        yield pool


class Serving:
    """What a loader serves, and counts of what was served.

    Args:
        store: The rows; None until it is known what they are made of.
        shape: Shape of one sample's inputs; None until it is known.
        dtype: Their dtype.
        cached: The `CachedLoader` whose features they are.
    """

    def __init__(
        self,
        store: RowStore | None = None,
        shape: tuple[int, ...] | None = None,
        dtype: torch.dtype = torch.float32,
        cached: object = None,
    ) -> None:
        self.store, self.shape, self.dtype, self.cached = store, shape, dtype, cached
        self.handed_out = 0  # batches with lazy inputs
        self.served = 0  # batches whose inputs were not read
        self.read_anyway = 0.0  # of these, how many were needed after all; a part counts as a fraction

    def has(self, rows: Tensor) -> bool:
        """Whether the features of rows can be served."""
        return self.store is not None and self.store.has(rows)


class FeatureLoader:
    """Replaces a loader, and gives its batches in its order.

    While it is `serving`, inputs are `LazyInputs`. Those with cached features are not read at all; the others are read
    as without it. When it is not serving it is the loader.
    """

    def __init__(self, loader: Any, source: Source) -> None:
        self.loader, self.source = loader, source
        self.gathers_ahead = _has_gpu()  # on a CPU it would take cores from the net
        self.serving: Serving | None = None
        self.is_outdated = False  # whether it has stopped serving because the samples have changed

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        if name in ("loader", "source"):  # not set yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.loader, name)

    def __iter__(self) -> Iterator[Any]:
        # A generator: what is served, and the epoch, are decided between the calls of iter() and next().
        if self.serving is None:
            self.source.forget()
            yield from self.loader
            return
        self.source.look(True)
        with one_thread(self.gathers_ahead) as pool:
            for portion in self.source.plan():
                yield from self._batches(portion, pool)

    def _batches(self, portion: Sequence[Any], pool: ThreadPoolExecutor | None) -> Iterator[Any]:
        at = 0
        while at < len(portion):
            self._stop_if_changed()
            serving, remaining = self.serving, portion[at:]
            is_cached = [self._is_cached(rows, serving) for rows in remaining]
            reader = self.source.read([rows for rows, known in zip(remaining, is_cached, strict=True) if not known])
            cached = [rows for rows, known in zip(remaining, is_cached, strict=True) if known]
            features = prefetched(partial(_features, serving), cached, pool)
            for rows, known in zip(remaining, is_cached, strict=True):
                if known and serving:
                    batch = self._cached_batch(rows, serving, next(features))
                else:
                    batch = self._read_batch(rows, next(reader), serving)
                at += 1
                self.source.on_served()
                yield batch
                if self.serving is not serving:
                    break  # other features are served now: the remaining batches are planned anew

    def _is_cached(self, rows: Any, serving: Serving | None) -> bool:
        """Whether a batch need not be read."""
        return isinstance(rows, Tensor) and serving is not None and self.source.knows(rows) and serving.has(rows)

    def _stop_if_changed(self) -> None:
        """Stops serving if the cached features are of samples that have changed."""
        if self.serving is not None and self.source.has_changed():
            self.serving, self.is_outdated = None, True

    def _read_batch(self, rows: Any, batch: Any, serving: Serving | None) -> Any:
        self._stop_if_changed()
        if serving is None or self.serving is None or not isinstance(rows, Tensor):
            return batch
        inputs = inputs_of(batch)
        if inputs is None or len(inputs) != len(rows):
            return batch
        if serving.shape is None:
            serving.shape, serving.dtype = tuple(inputs.shape[1:]), inputs.dtype
        if (tuple(inputs.shape[1:]), inputs.dtype) != (serving.shape, serving.dtype):
            return batch  # its features do not fit among the rows
        features = _features(serving, rows) if serving.has(rows) else None
        if features is not None:
            features = tuple(tensor.to(inputs.device) for tensor in features)
        serving.handed_out += 1
        lazy = LazyInputs(inputs, inputs.shape, inputs.dtype, inputs.device, rows, features, serving)
        return with_inputs(batch, lazy)

    def _cached_batch(self, rows: Tensor, serving: Serving, features: tuple[Tensor, ...]) -> Any:
        assert serving.shape is not None
        read = partial(self._read_anyway, len(rows), serving)
        serving.handed_out += 1
        serving.served += 1
        shape, cpu = (len(rows), *serving.shape), torch.device("cpu")
        return self.source.batch(rows, LazyInputs(read, shape, serving.dtype, cpu, rows, features, serving))

    def _read_anyway(self, size: int, serving: Serving, rows: Tensor) -> Tensor:
        serving.read_anyway += len(rows) / size
        return self.source.read_inputs(rows)


class ResumableFeatureLoader(FeatureLoader):
    """The same for a loader that can be resumed in the middle of an epoch."""

    def state_dict(self) -> dict[str, Any]:
        """How far the epoch has come."""
        state: dict[str, Any] = self.loader.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues an epoch."""
        self.loader.load_state_dict(state)


def feature_loader(loader: Any, source: Source) -> FeatureLoader:
    """A `FeatureLoader` that is resumable if the loader is."""
    is_resumable = hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")
    return ResumableFeatureLoader(loader, source) if is_resumable else FeatureLoader(loader, source)


def _features(serving: Serving | None, rows: Tensor) -> tuple[Tensor, ...]:
    assert serving is not None and serving.store is not None  # noqa: PT018
    features = serving.store.get(rows)
    return tuple(tensor.pin_memory() for tensor in features) if _has_gpu() else features


@cache
def _has_gpu() -> bool:
    """Asked once: without a GPU torch looks for its driver each time, which takes longer than gathering a batch."""
    return torch.cuda.is_available()
