"""How a split differs from the training images: in its classes, its sizes, its colours and its contents."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, fisher_exact, ks_2samp, mannwhitneyu

from plt_nn.advice.probes.probe import linear_probe, stratified_folds
from plt_nn.audit.scan import ScannedImages

_FEWEST = 5  # images of each split, to compare them
_MOST = 2_000  # images of each split that a classifier is given; drawn at random


@dataclass(frozen=True)
class Drift:
    """How far a split is from the training images, and whether that is more than chance.

    Each p-value is the probability of such a difference between two random halves of the same images.

    Attributes:
        split: The split.
        classes: Half the sum of the differences between the shares of the classes: 0 the same, 1 nothing in common.
        classes_p: By the chi-squared test.
        sizes: Largest difference between the distributions of the geometric mean of width and height, from 0 to 1.
        sizes_p: By the Kolmogorov-Smirnov test.
        sides: Median of that mean in training and in the split, in pixels.
        grey: Share of images without colour in training and in the split.
        grey_p: By Fisher's exact test.
        auc: Probability that a classifier on features, which has seen neither, puts an image of the split above one of
            training (Lopez-Paz & Oquab 2017, https://arxiv.org/abs/1610.06545): 0.5 alike, 1 entirely different. None
            without features.
        auc_p: By the Mann-Whitney test, of an AUC above 0.5.
    """

    split: str
    classes: float
    classes_p: float
    sizes: float
    sizes_p: float
    sides: tuple[float, float]
    grey: tuple[float, float]
    grey_p: float
    auc: float | None = None
    auc_p: float | None = None


def find_drift(
    images: ScannedImages, splits: Sequence[str], features: NDArray[np.floating] | None = None
) -> tuple[Drift, ...]:
    """Compares splits with the training images; those with fewer than five readable images are left out.

    Args:
        images: The scanned images.
        splits: The splits to be compared.
        features: Of the readable images in the order of the scan, `(M, D)`.
    """
    found = []
    rows = np.flatnonzero(images.readable)
    for split in splits:
        codes = [images.split_names.index(name) for name in ("train", split)]
        train, other = (rows[images.splits[rows] == code] for code in codes)
        if min(len(train), len(other)) < _FEWEST:
            continue
        drift = _compared(images, split, train, other)
        if features is not None:
            auc, auc_p = _distinguished(images, features, *codes)
            drift = replace(drift, auc=auc, auc_p=auc_p)
        found.append(drift)
    return tuple(found)


def _compared(images: ScannedImages, split: str, train: NDArray[np.int64], other: NDArray[np.int64]) -> Drift:
    number = int(images.labels.max()) + 1
    counts = np.stack([np.bincount(images.labels[rows], minlength=number) for rows in (train, other)])
    counts = counts[:, counts.any(0)]
    shares = counts / counts.sum(1, keepdims=True)
    sides = [np.sqrt(images.sizes[rows].astype(np.float64).prod(1)) for rows in (train, other)]
    of_sizes = ks_2samp(*sides)
    grey = np.array([[images.grey[rows].sum(), (~images.grey[rows]).sum()] for rows in (train, other)])
    return Drift(
        split=split,
        classes=float(np.abs(shares[0] - shares[1]).sum() / 2),
        classes_p=float(chi2_contingency(counts)[1]) if counts.shape[1] > 1 else 1.0,
        sizes=float(of_sizes.statistic),
        sizes_p=float(of_sizes.pvalue),
        sides=(float(np.median(sides[0])), float(np.median(sides[1]))),
        grey=(float(images.grey[train].mean()), float(images.grey[other].mean())),
        grey_p=float(fisher_exact(grey)[1]),
    )


def _distinguished(
    images: ScannedImages, features: NDArray[np.floating], train: int, other: int
) -> tuple[float, float]:
    """The AUC of a linear classifier on features that distinguishes two splits, and the p-value of that."""
    of_row = images.splits[images.readable]
    draw = np.random.default_rng(0)
    chosen = np.concatenate([draw.permutation(np.flatnonzero(of_row == code))[:_MOST] for code in (train, other)])
    is_other = (of_row[chosen] == other).astype(np.int64)
    probe = linear_probe([features[chosen].astype(np.float64)], is_other, stratified_folds(is_other))
    of_train, of_other = (probe.probabilities[is_other == side, 1] for side in (0, 1))
    test = mannwhitneyu(of_other, of_train, alternative="greater")
    return float(test.statistic) / (len(of_other) * len(of_train)), float(test.pvalue)
