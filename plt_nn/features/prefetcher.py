"""Gathers the next value in a thread while the current one is used."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

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
