"""A loader that serves the features of samples where they are stored, and their inputs where they are not."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from plt_nn.features.lazy_inputs import LazyInputs
from plt_nn.features.prefetcher import Prefetcher, one_thread
from plt_nn.features.rows import RowStore
from plt_nn.features.source import Source


class Serving:
    """What a loader serves.

    Args:
        store: The rows; None until it is known what they are made of.
        shape: Shape of one sample's inputs; None until it is known.
        dtype: Their dtype.
    """

    def __init__(
        self, store: RowStore | None = None, shape: tuple[int, ...] | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        self.store, self.shape, self.dtype = store, shape, dtype
        self.handed_out, self._told = 0, 0  # batches whose inputs are deferred
        self.served = 0  # batches of which the inputs were not read
        self.looked_at = 0.0  # of these, how many were needed after all; of some, a part

    def has_news(self) -> bool:
        """Whether a batch was handed out since this was last asked."""
        told, self._told = self._told, self.handed_out
        return self.handed_out > told

    def has(self, rows: Tensor) -> bool:
        """Whether the features of rows can be served."""
        return self.store is not None and self.store.has(rows)


class FeatureLoader:
    """Stands in the place of a loader, and gives its batches in its order.

    While it is `serving`, inputs are `LazyInputs`: with the features of those whose rows are stored, which are not read
    at all; the others are read as ever. Otherwise it is the loader.

    Args:
        loader: The loader.
        source: The same, as `Source`.
    """

    def __init__(self, loader: Any, source: Source) -> None:
        self.loader, self.source = loader, source
        self.gathers_ahead = _has_gpu()  # on a CPU the net's own threads would only be disturbed
        self.serving: Serving | None = None
        self.is_outdated = False  # whether it has stopped serving because the samples are others

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        if name in ("loader", "source"):  # not set yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.loader, name)

    def __iter__(self) -> Iterator[Any]:
        # A generator: what is served, and the epoch, are settled between the call of iter() and of next().
        if self.serving is None:
            self.source.forget()
            yield from self.loader
            return
        self.source.look()
        with one_thread(self.gathers_ahead) as pool:
            for portion in self.source.plan():
                yield from self._batches(portion, pool)

    def _batches(self, portion: Sequence[Any], pool: ThreadPoolExecutor | None) -> Iterator[Any]:
        at = 0
        while at < len(portion):
            self._stop_if_changed()
            serving, left = self.serving, portion[at:]
            ahead = Prefetcher(partial(_features, serving), pool)
            is_ready = [self._is_ready(rows, serving) for rows in left]
            reader = self.source.read([rows for rows, ready in zip(left, is_ready, strict=True) if not ready])
            stored = deque(rows for rows, ready in zip(left, is_ready, strict=True) if ready)
            for rows, ready in zip(left, is_ready, strict=True):
                if ready and serving:
                    stored.popleft()
                    batch = self._stored(rows, serving, ahead.get(rows, stored))
                else:
                    batch = self._read(rows, next(reader), serving)
                at += 1
                self.source.handed_out()
                yield batch
                if self.serving is not serving:
                    break  # what is stored has changed: what comes is planned anew

    def _is_ready(self, rows: Any, serving: Serving | None) -> bool:
        """Whether a batch need not be read."""
        return isinstance(rows, Tensor) and serving is not None and self.source.knows(rows) and serving.has(rows)

    def _stop_if_changed(self) -> None:
        """Serves nothing any more if what was kept is of samples that are no longer the same."""
        if self.source.has_changed and self.serving is not None:
            self.serving, self.is_outdated = None, True

    def _read(self, rows: Any, batch: Any, serving: Serving | None) -> Any:
        self._stop_if_changed()
        if serving is None or self.serving is None or not isinstance(rows, Tensor):
            return batch
        inputs = self.source.inputs_of(batch)
        if inputs is None or len(inputs) != len(rows):
            return batch
        if serving.shape is None:
            serving.shape, serving.dtype = tuple(inputs.shape[1:]), inputs.dtype
        if (tuple(inputs.shape[1:]), inputs.dtype) != (serving.shape, serving.dtype):
            return batch  # what is computed of it has no place among the rows
        features = _features(serving, rows) if serving.has(rows) else None
        if features is not None:
            features = tuple(tensor.to(inputs.device) for tensor in features)
        deferred = LazyInputs(inputs, inputs.shape, inputs.dtype, inputs.device, rows, features, serving)
        serving.handed_out += 1
        return self.source.with_inputs(batch, deferred)

    def _stored(self, rows: Tensor, serving: Serving, features: tuple[Tensor, ...]) -> Any:
        assert serving.shape is not None
        shape = (len(rows), *serving.shape)
        read = partial(self._look_at, len(rows), serving)
        serving.handed_out += 1
        serving.served += 1
        return self.source.batch(
            rows, LazyInputs(read, shape, serving.dtype, torch.device("cpu"), rows, features, serving)
        )

    def _look_at(self, size: int, serving: Serving, rows: Tensor) -> Tensor:
        serving.looked_at += len(rows) / size
        return self.source.read_inputs(rows)


class ResumableFeatureLoader(FeatureLoader):
    """The same for a loader that can be resumed in the middle of an epoch."""

    def state_dict(self) -> dict[str, Any]:
        """How far the epoch has come."""
        state: dict[str, Any] = self.loader.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on with an epoch."""
        self.loader.load_state_dict(state)


def feature_loader(loader: Any, source: Source) -> FeatureLoader:
    """A loader in the place of another one."""
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
