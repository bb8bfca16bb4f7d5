"""Gathers the next value in a thread while the current one is used."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Prefetcher(Generic[Key, Value]):
    """Gathers in a thread the value that will be needed next.

    Args:
        gather: Gives the value of a key.
        pool: The thread; None to gather each value when it is needed.
    """

    def __init__(self, gather: Callable[[Key], Value], pool: ThreadPoolExecutor | None) -> None:
        self._gather, self._pool = gather, pool
        self._next: tuple[Key, Future[Value]] | None = None

    def get(self, key: Key, following: Sequence[Key]) -> Value:
        """The value of a key.

        Args:
            key: The key.
            following: The keys to come; the value of the first is gathered meanwhile.
        """
        known, self._next = self._next, None
        value = known[1].result() if known is not None and known[0] is key else self._gather(key)
        if self._pool is not None and following:
            self._next = following[0], self._pool.submit(self._gather, following[0])
        return value


@contextmanager
def one_thread(is_wanted: bool) -> Iterator[ThreadPoolExecutor | None]:
    """A thread that has finished when the context is left; None if it is not wanted."""
    if not is_wanted:
        yield None
        return
    with ThreadPoolExecutor(1, thread_name_prefix="features") as pool:
        yield pool
