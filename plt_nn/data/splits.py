"""Splits of a labelled data set, stratified by class."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from plt_nn.errors import ConfigError
from plt_nn.text import quoted


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Check the shares of the data, by the name of their split, that are not used for training.

    Raises:
        ConfigError: A share is not in [0, 1), or nothing remains for training.
    """
    if all(0.0 <= fraction < 1.0 for fraction in fractions.values()) and sum(fractions.values()) < 1.0:
        return
    received = ", ".join(f"{name}_fraction={fraction}" for name, fraction in fractions.items())
    raise ConfigError(f"{received}: each must be at least 0, and their sum less than 1 so that training gets the rest.")


def size_faults(class_names: Sequence[str], labels: Tensor, fractions: Mapping[str, float]) -> list[str]:
    """The fault of classes with too few samples for `stratified_split`, which must leave one for training.

    `class_names` has the name of each class code; the other arguments are those of `stratified_split`.

    Returns:
        One sentence that names them, or nothing.
    """
    sizes = dict(zip(class_names, torch.bincount(labels, minlength=len(class_names)).tolist(), strict=True))
    small = [name for name, size in sizes.items() if size and _is_too_small(size, fractions)]
    if not small:
        return []
    shares = " and ".join(f"{name}_fraction={fraction}" for name, fraction in fractions.items() if fraction)
    return [
        f"too few samples of the class(es) {quoted(small)} ({sizes[small[0]]} of {small[0]!r}) to hold out {shares}"
        " and have one for training. Add samples, remove the class(es), or hold out less."
    ]


def hold_out(labels: Tensor, fractions: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """A `stratified_split` in which classes that are too small for it stay in training; nothing for no samples."""
    if len(labels) == 0:
        return {}
    too_small = torch.tensor([_is_too_small(size, fractions) for size in torch.bincount(labels).tolist()])[labels]
    if not too_small.any():
        return stratified_split(labels, fractions, seed)
    (divided,), (whole,) = torch.where(~too_small), torch.where(too_small)
    split = stratified_split(labels[divided], fractions, seed) if len(divided) else {}
    indices = {name: divided[chosen] for name, chosen in split.items()}
    return indices | {"train": torch.cat([indices.get("train", divided), whole]).sort().values}


def stratified_split(labels: Tensor, fractions: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """Split the samples so that each split has about the same share of each class, and at least one sample of it.

    Args:
        labels: Class code of each sample, int64 `(N,)`; all zero to ignore classes. No class may be too small
            (`size_faults`).
        fractions: Split name -> share of each class; a share of 0 gives no split.
        seed: Seed of the choice.

    Returns:
        Split name -> ascending sample indices, int64; the rest is named `train`, and comes first.
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    parts: dict[str, list[Tensor]] = {name: [] for name in ("train", *fractions)}
    for code in torch.unique(labels).tolist():
        members = shuffled[labels[shuffled] == code]
        held_out = [_held_out(len(members), fraction) for fraction in fractions.values()]
        pieces = torch.split(members, [len(members) - sum(held_out), *held_out])
        for part, piece in zip(parts.values(), pieces, strict=True):
            part.append(piece)
    indices = {name: torch.cat(pieces).sort().values for name, pieces in parts.items()}
    return {name: chosen for name, chosen in indices.items() if len(chosen)}


def _is_too_small(size: int, fractions: Mapping[str, float]) -> bool:
    """Whether no sample of a class remains for training when its shares are held out."""
    return size <= sum(_held_out(size, fraction) for fraction in fractions.values())


def _held_out(size: int, fraction: float) -> int:
    return max(1, round(size * fraction)) if fraction else 0
