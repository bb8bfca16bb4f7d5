"""Fingerprints of splits by their content, and which samples occur more than once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from plt_nn.data.hashes import HASH_BYTES, row_hashes, sketch

_MOST_EXAMPLES = 3


@dataclass(frozen=True)
class SplitFingerprint:
    """Facts about one split that depend on the content of its samples, not on their names or places.

    Attributes:
        digest: Hexadecimal, at most 36 characters; the same for the same samples of the same classes in any order.
        samples: Number of samples.
        class_counts: Class name -> number of samples; None where there are no classes.
        duplicates: Name of another split -> number of samples of this split that also occur there.
        duplicates_within: Number of samples that repeat another one of this split.
        examples: Name of another split -> names of up to three samples that also occur there.
        source: Where the data come from: a path, an address or the name of a function.
        sketch: Some hashes, by which other data can be searched for these samples later (`plt_nn.data.hashes`).
    """

    digest: str
    samples: int
    class_counts: Mapping[str, int] | None = None
    duplicates: Mapping[str, int] = field(default_factory=dict)
    duplicates_within: int = 0
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict)
    source: str = ""
    sketch: str = ""


class SplitContent(NamedTuple):
    """The samples of one split, as needed for a fingerprint.

    Attributes:
        hashes: The hash of each sample's content, `(N,)`.
        codes: The class code of each sample, `(N,)`; None where there are no classes.
        name_of: Gives the name of a sample, for people, from its number in the split.
    """

    hashes: NDArray[np.bytes_]
    codes: NDArray[np.int64] | None
    name_of: Callable[[int], str]


def fingerprints_of(
    contents: Mapping[str, SplitContent], class_names: Sequence[str] | None, source: str
) -> dict[str, SplitFingerprint]:
    """The fingerprint of each split.

    Args:
        contents: Split name -> its samples.
        class_names: The name of each class code; None where there are no classes.
        source: Where the data come from.
    """
    found = {}
    for split, content in contents.items():
        others = {name: other.hashes for name, other in contents.items() if name != split}
        shared = {name: np.flatnonzero(np.isin(content.hashes, other)) for name, other in others.items()}
        examples = {
            name: [content.name_of(int(at)) for at in places[:_MOST_EXAMPLES]]
            for name, places in shared.items()
            if len(places)
        }
        found[split] = SplitFingerprint(
            digest=_digest(content, class_names),
            samples=len(content.hashes),
            class_counts=_class_counts(content, class_names),
            duplicates={name: len(places) for name, places in shared.items()},
            duplicates_within=len(content.hashes) - len(np.unique(content.hashes)),
            examples=examples,
            source=source,
            sketch=sketch(content.hashes),
        )
    return found


def tensor_fingerprints(
    splits: Mapping[str, tuple[Tensor, Tensor]], class_names: Sequence[str] | None, source: str
) -> dict[str, SplitFingerprint]:
    """The `fingerprints_of` splits in memory; the content of a sample is its input and its target."""
    contents = {
        split: SplitContent(row_hashes(x, y), None if class_names is None else y.cpu().numpy(), "sample {}".format)
        for split, (x, y) in splits.items()
    }
    return fingerprints_of(contents, class_names, source)


def _class_counts(content: SplitContent, class_names: Sequence[str] | None) -> dict[str, int] | None:
    if content.codes is None or class_names is None:
        return None
    counts = np.bincount(content.codes, minlength=len(class_names)).tolist()
    return dict(zip(class_names, counts, strict=True))


def _digest(content: SplitContent, class_names: Sequence[str] | None) -> str:
    whole = blake2b(digest_size=HASH_BYTES)
    if content.codes is None or class_names is None:
        whole.update(np.sort(content.hashes).tobytes())
        return whole.hexdigest()
    for name, code in sorted(zip(class_names, range(len(class_names)), strict=True)):
        hashes = np.sort(content.hashes[content.codes == code])
        whole.update(f"{name}\0{len(hashes)}\0".encode() + hashes.tobytes())
    return whole.hexdigest()
