"""Gathers what comes next while somebody works on what is there."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Prefetcher(Generic[Key, Value]):
    """Gathers in a thread what will be asked for next.

    Args:
        gather: Gives what belongs to a key.
        pool: The thread; None to gather what is asked for when it is asked for.
    """

    def __init__(self, gather: Callable[[Key], Value], pool: ThreadPoolExecutor | None) -> None:
        self._gather, self._pool = gather, pool
        self._next: tuple[Key, Future[Value]] | None = None

    def get(self, key: Key, following: Sequence[Key]) -> Value:
        """What belongs to a key.

        Args:
            key: The key.
            following: The keys to come; the first is gathered meanwhile.
        """
        known, self._next = self._next, None
        value = known[1].result() if known is not None and known[0] is key else self._gather(key)
        if self._pool is not None and following:
            self._next = following[0], self._pool.submit(self._gather, following[0])
        return value


@contextmanager
def one_thread(is_wanted: bool) -> Iterator[ThreadPoolExecutor | None]:
    """A thread that has ended its work when it is left; None if it is not wanted."""
    if not is_wanted:
        yield None
        return
    with ThreadPoolExecutor(1, thread_name_prefix="features") as pool:
        yield pool
