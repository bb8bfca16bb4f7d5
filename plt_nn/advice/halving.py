"""Successive halving: all candidates on little data or for few epochs, the better ones on more.

Jamieson & Talwalkar 2016 (https://arxiv.org/abs/1502.07943). A candidate is dropped only if it is significantly worse,
so few samples drop few candidates.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from plt_nn.advice.probes.probe import Labels
from plt_nn.advice.processes import gathered, share
from plt_nn.errors import PltNNError
from plt_nn.text import one_line


class Evidence(Protocol):
    """What a round shows about a candidate."""

    @property
    def size(self) -> int:
        """Size of the round: a number of samples, or of epochs."""

    @property
    def loss(self) -> float:
        """The loss on samples that were not seen; the candidates are ordered by it."""

    def is_worse(self, other: Any) -> bool:
        """Whether it is significantly worse than other evidence of the same round."""


Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found", bound=Evidence)


@dataclass(frozen=True)
class _Outcome(Generic[Key, Found]):
    """The result of a candidate in a round: evidence, or why there is none."""

    candidate: Key
    evidence: Found | None = None
    trouble: str = ""
    is_late: bool = False


def halving(
    candidates: Sequence[Key],
    sizes: Sequence[int],
    judge: Callable[[Key, int, Found | None], Found],
    is_over: Callable[[], bool],
    of_size: str,
) -> tuple[list[Found], list[str]]:
    """Judges candidates in rounds, shared by the processes of `process_group`.

    A round that is not finished in time does not count, because evidence from rounds of different sizes cannot be
    compared; in the first round, the candidates that come first are then ordered without the others.

    Args:
        candidates: The candidates, in the order in which they are judged.
        sizes: The sizes of the rounds; of a single candidate only the last (`rungs`).
        judge: Gives the evidence for a candidate in a round of some size; also gets its evidence of the round before.
        is_over: Whether nothing new may begin.
        of_size: The size in words, such as `on {} images`.

    Returns:
        The evidence, the best first: that of the last round, then that of candidates that were dropped earlier. And
        sentences that say what failed or was not finished.
    """
    found, left_out, remaining = dict[Key, Found](), list[str](), list(candidates)

    def outcome(one: Key, size: int) -> _Outcome[Key, Found]:
        if is_over():
            return _Outcome(one, None, f"{one}: not tried {of_size.format(size)}, because the time was over.", True)
        try:
            return _Outcome(one, judge(one, size, found.get(one)))
        except (PltNNError, RuntimeError, ValueError, OSError) as error:  # the others go on
            return _Outcome(one, None, f"{one}: {one_line(error)}")

    for size in sizes if len(remaining) > 1 else sizes[-1:]:
        outcomes = gathered([outcome(one, size) for one in share(remaining)])
        left_out += [one.trouble for one in outcomes if one.trouble]
        if found and any(one.is_late for one in outcomes):
            words = of_size.format(size)
            left_out.append(f"The round {words} was not finished: the order is that of the round before.")
            break
        fresh = {one.candidate: one.evidence for one in outcomes if one.evidence is not None}
        found |= fresh
        better = survivors(fresh)
        remaining = [one for one in remaining if one in better]
        if not remaining or any(gathered([is_over()])):  # all processes go on, or none
            break
    return sorted(found.values(), key=lambda one: (-one.size, one.loss)), left_out


def rungs(size: int, least: int, most: float = 4) -> list[int]:
    """The sizes of at most `most` rounds, from at least `least` to `size`; each is twice as large as the one before."""
    sizes = [size]
    while len(sizes) < most and sizes[0] // 2 >= least:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def nested_order(labels: Labels, seed: int = 0) -> Labels:
    """An order of samples, `(N,)`, every beginning of which has about the same shares of the classes as the whole."""
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(labels))
    places = np.empty(len(labels))
    for code in np.unique(labels):
        members = shuffled[labels[shuffled] == code]
        places[members] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(places, kind="stable").astype(np.int64)


def survivors(round_: Mapping[Key, Found]) -> list[Key]:
    """The candidates of the next round, the best first: the better half, and those not worse than the best."""
    order = sorted(round_, key=lambda key: round_[key].loss)
    half = (len(order) + 1) // 2
    return order[:half] + [key for key in order[half:] if not round_[key].is_worse(round_[order[0]])]
