"""Probabilities by classifiers that have not seen the sample, also of many samples."""

import math

import numpy as np
from numpy.typing import NDArray

from plt_nn.advice.probes.probe import linear_probe, stratified_folds

MOST_AT_ONCE = 4_000  # samples; a probe of more takes much longer, and is hardly better


def out_of_fold(
    features: NDArray[np.floating], labels: NDArray[np.int64], pictures: NDArray[np.int64], seed: int = 0
) -> NDArray[np.float64]:
    """The probability of each class for each sample, `(N, C)`.

    Many samples are cut into parts with near the same share of each class, each probed by itself.

    Args:
        features: `(N, D)`.
        labels: The class of each sample, `(N,)`.
        pictures: The number of the picture in each sample, `(N,)`: copies of a picture are in the same fold, so that
            none is judged by the label of another.
        seed: Of the parts and the folds.

    Raises:
        ValueError: If a feature is not finite.
    """
    number = math.ceil(len(labels) / MOST_AT_ONCE)
    parts = stratified_folds(labels, number, seed) if number > 1 else np.zeros(len(labels), dtype=np.int64)
    probabilities = np.zeros((len(labels), int(labels.max(initial=0)) + 1))
    for part in np.unique(parts):
        rows = np.flatnonzero(parts == part)
        classes, codes = np.unique(labels[rows], return_inverse=True)
        _, first, picture = np.unique(pictures[rows], return_index=True, return_inverse=True)
        folds = stratified_folds(codes, seed=seed)[first][picture]
        if len(np.unique(folds)) > 1:
            probabilities[np.ix_(rows, classes)] = linear_probe(
                [features[rows].astype(np.float64)], codes, folds
            ).probabilities
    return probabilities
