"""Successive halving: all candidates on few samples, the better ones on more. Pure.

Jamieson & Talwalkar 2016 (https://arxiv.org/abs/1502.07943). A candidate is dropped only if it is significantly worse,
so few samples drop few candidates.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import numpy as np

from plt_nn.advice.probes.probe import Labels, LinearProbe, is_worse

Key = TypeVar("Key", bound=Hashable)


def rungs(size: int, least: int, most: float = 4) -> list[int]:
    """The sizes of the rounds, from small to the whole; each is twice as large as the one before.

    Args:
        size: Size of the last round: a number of samples, or of epochs.
        least: Minimum size of the first round.
        most: Maximum number of rounds.
    """
    sizes = [size]
    while len(sizes) < most and sizes[0] // 2 >= least:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def nested_order(labels: Labels, seed: int = 0) -> Labels:
    """An order of the samples, `(N,)`, of which every beginning has about the same shares of the classes as the whole.

    Args:
        labels: The class of each sample, `(N,)`.
        seed: Seed of the order.
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(labels))
    places = np.empty(len(labels))
    for code in np.unique(labels):
        members = shuffled[labels[shuffled] == code]
        places[members] = (np.arange(len(members)) + generator.random()) / len(members)
    return np.argsort(places, kind="stable").astype(np.int64)


def survivors(probes: Mapping[Key, LinearProbe]) -> list[Key]:
    """The candidates of the next round, the best first: the better half, and those not worse than the best.

    Args:
        probes: The probes of one round, on the same samples.
    """
    losses = {key: found.log_loss for key, found in probes.items()}
    return better_half(losses, lambda key, best: is_worse(probes[key], probes[best]))


def better_half(losses: Mapping[Key, float], is_worse: Callable[[Key, Key], bool]) -> list[Key]:
    """The better half, the best first, and the others that are not worse than the best.

    Args:
        losses: The loss of each.
        is_worse: Whether the first is significantly worse than the second.
    """
    order = sorted(losses, key=losses.__getitem__)
    half = (len(order) + 1) // 2
    return order[:half] + [key for key in order[half:] if not is_worse(key, order[0])]
