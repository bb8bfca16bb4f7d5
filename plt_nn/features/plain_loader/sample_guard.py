"""Whether the samples of a DataLoader are still what they were when they were first read."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from plt_nn.features.inputs import inputs_of
from plt_nn.features.plain_loader.dataset_watch import DatasetWatch
from plt_nn.features.plain_loader.probe import is_equal, probe
from plt_nn.features.plain_loader.reader import read_apart
from plt_nn.features.plain_loader.target_cache import TargetCache
from plt_nn.features.rows import row_checksums

SHARE = 0.02  # of the time since the last check
AT_FIRST = 0.05  # seconds that all checks may take besides: most fits need no more
_WATCHED = 64  # samples
_AT_ONCE = 4


class SampleGuard:
    """Asks, from cheap to expensive: the data set's attributes, the samples that are read anyway, a few read again.

    Args:
        loader: The loader.
        size: Number of samples.
        targets: What is remembered of samples besides their inputs; forgotten when samples have changed.
    """

    def __init__(self, loader: DataLoader[Any], size: int, targets: TargetCache) -> None:
        self._loader, self._size, self._targets = loader, size, targets
        self._watch, self._checksums, self._throttle = DatasetWatch(loader.dataset), SampleChecksums(size), Throttle()
        self._do_attributes_suffice = type(loader.dataset) is TensorDataset
        self.has_changed = False

    def begin(self) -> None:
        """Notes the attributes of a data set and a collation that can be identified."""
        if not self._watch.has_begun:
            self._watch.begin()
        self._do_attributes_suffice |= isinstance(self._loader.collate_fn, FunctionType)  # nobody watches an object's

    def why_random(self) -> str:
        """Why samples differ the second time, or in a batch with others, or have no known inputs; reads a few."""
        began = time.perf_counter()
        found = probe(self._loader, self._size)
        # A look reads a sixth of these samples; a worker's start costs the same.
        self._throttle.expect((time.perf_counter() - began) / (1 if self._loader.num_workers else 6))
        self._watch.ignore(found.changed)
        if found.are_targets_mixed:
            self._targets.never_cache()
        return found.why_random()

    def look(self, may_read: bool) -> None:
        """Checks the attributes when an epoch begins, and now and then a few samples."""
        if self.has_changed:
            return
        try:
            is_unchanged = self._is_unchanged(may_read)
        except Exception:  # noqa: BLE001  # of a user's data set; it is raised again when the epoch reads
            is_unchanged = False
        if not is_unchanged:
            self._found_change()

    def remember(self, rows: Tensor, batch: Any) -> None:
        """Checks a batch that was read, and remembers its targets."""
        inputs = inputs_of(batch)
        if inputs is None or len(inputs) != len(rows) or self.has_changed:
            return
        if self._checksums.agree(rows, inputs):
            self._targets.put(rows, batch)
        else:
            self._found_change()

    def forget(self) -> None:
        """Forgets how samples were."""
        self._targets.forget()
        self._checksums.forget()
        self._watch.end()

    def _found_change(self) -> None:
        self.has_changed = True
        self.forget()

    def _is_unchanged(self, may_read: bool) -> bool:
        if may_read and not self._watch.has_begun:
            self._watch.begin()
        found = self._watch.changed()
        if found.others or not may_read:
            return not found.others
        if found.opened:  # reading shows whether more than a file was opened
            self._watch.begin()
            return self._is_read_unchanged()
        return self._do_attributes_suffice or not self._throttle.is_due() or self._is_read_unchanged()

    def _is_read_unchanged(self) -> bool:
        """Reads a few samples again and compares them with what was read before."""
        numbers = self._checksums.some()
        if not numbers:
            return True
        with self._throttle.doing():
            batch = read_apart(self._loader, [numbers])[0]
        rows, inputs = torch.tensor(numbers), inputs_of(batch)
        if inputs is None or len(inputs) != len(rows) or not self._checksums.agree(rows, inputs):
            return False
        return not self._targets.knows(rows) or is_equal(self._targets.batch(rows, inputs), batch)


class SampleChecksums:
    """Checksums of the inputs of a few chosen samples when they were first read."""

    def __init__(self, size: int) -> None:
        self._generator = torch.Generator().manual_seed(size)  # not the global one, from which the training draws
        self._watched = set(torch.randint(size, (_WATCHED,), generator=self._generator).tolist() if size else [])
        self._sums: dict[int, int] = {}

    def agree(self, rows: Tensor, inputs: Tensor) -> bool:
        """Whether the watched samples in a batch have the checksums of before; notes those of new ones."""
        at = [place for place, row in enumerate(rows.tolist()) if row in self._watched]
        if not at:
            return True
        found = zip(rows[at].tolist(), row_checksums(inputs[at].detach().cpu()).tolist(), strict=True)
        return all([self._sums.setdefault(row, checksum) == checksum for row, checksum in found])  # noqa: C419 -- all

    def some(self) -> list[int]:
        """A few of the samples that have a checksum, different ones each time."""
        seen = sorted(self._sums)
        order: Any = torch.randperm(len(seen), generator=self._generator)
        return [seen[at] for at in order[:_AT_ONCE].tolist()]

    def forget(self) -> None:
        """Forgets all checksums."""
        self._sums = {}


class Throttle:
    """Decides when a check may be made again, so that checks take a small share of the time."""

    def __init__(self) -> None:
        self._ended, self._cost, self._spent = time.perf_counter(), 0.0, 0.0

    def expect(self, cost: float) -> None:
        """Sets, before the first check, how many seconds a check is expected to take."""
        self._ended, self._cost = time.perf_counter(), cost

    def is_due(self) -> bool:
        """Whether a check may be made now."""
        passed = time.perf_counter() - self._ended
        return self._cost <= SHARE * passed or self._spent + self._cost <= AT_FIRST

    @contextmanager
    def doing(self) -> Iterator[None]:
        """Times the check that is made inside."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._ended = time.perf_counter()
            self._cost = self._ended - began
            self._spent += self._cost
