"""How well a classifier does on some samples, with bootstrap intervals. Pure: arrays in, numbers out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse

from plt_nn.plots.confusion_matrix import ClassCounts, bin_of

Floats = NDArray[np.float64]
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece")
BINS = 15
_AT_ONCE = 4_000_000  # weights of resamples held at a time


class ConfidenceInterval(NamedTuple):
    """The value of a metric for the samples as they are, with the ends of its interval."""

    value: float
    low: float
    high: float


def measure(
    probabilities: Floats, y: NDArray[np.int64], resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, ConfidenceInterval]:
    """The metrics of `METRICS` with percentile bootstrap intervals over the samples (Efron & Tibshirani 1993).

    Macro means are over the classes that occur among the samples (`y`), also in each resample.

    Args:
        probabilities: `(N, C)`.
        y: The true classes, `(N,)`.
        resamples: How often the samples are drawn anew, with replacement; 0 gives intervals that are NaN.
        confidence: The share of resamples that the interval holds.
        seed: Of the drawing.
    """
    sums = _Sums(probabilities, y)
    values = sums.metrics(np.ones((1, len(y))))
    generator = np.random.default_rng(seed)
    drawn = []
    for size in _sizes(resamples, len(y)):
        weights = generator.multinomial(len(y), np.full(len(y), 1 / len(y)), size=size).astype(np.float64)
        drawn.append(sums.metrics(weights))
    tail = (1 - confidence) / 2
    found = {}
    for name in METRICS:
        all_drawn = np.concatenate([each[name] for each in drawn]) if drawn else np.array([np.nan])
        low, high = np.nanquantile(all_drawn, [tail, 1 - tail]) if drawn else (np.nan, np.nan)
        found[name] = ConfidenceInterval(float(values[name][0]), float(low), float(high))
    return found


def count_classes(probabilities: Floats, y: NDArray[np.int64]) -> ClassCounts:
    """The confusion matrix, however many classes there are, and what calibration is computed from."""
    counts = ClassCounts(probabilities.shape[1], BINS, most=probabilities.shape[1])
    counts.add(torch.tensor(probabilities), torch.tensor(y))
    return counts


def class_scores(confusion: NDArray[np.int64], class_names: Sequence[str]) -> pd.DataFrame:
    """`precision`, `recall`, `f1` and `support` (number of samples) of each class; NaN where one is not defined.

    Args:
        confusion: `(C, C)`: number of samples of the class of a row that were said to be of the class of a column.
        class_names: The index of the table.
    """
    right, support, said = np.diag(confusion), confusion.sum(1).astype(np.float64), confusion.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = {"precision": right / said, "recall": right / support, "f1": 2 * right / (support + said)}
    return pd.DataFrame(scores | {"support": support}, index=list(class_names))


class _Sums:
    """What the metrics of any weighting of the samples are sums of."""

    def __init__(self, probabilities: Floats, y: NDArray[np.int64]) -> None:
        rows, classes = np.arange(len(y)), probabilities.shape[1]
        said, confidence = probabilities.argmax(1), probabilities.max(1)
        right = (said == y).astype(np.float64)
        floor = np.finfo(np.float32).tiny
        self._loss = -np.log(np.maximum(probabilities[rows, y], floor))
        self._right = right
        shape = (len(y), classes)
        self._hits = sparse.csr_array((right, (rows, y)), shape=shape)
        self._true = sparse.csr_array((np.ones(len(y)), (rows, y)), shape=shape)
        self._said = sparse.csr_array((np.ones(len(y)), (rows, said)), shape=shape)
        self._gap = sparse.csr_array(
            (confidence - right, (rows, bin_of(torch.as_tensor(confidence), BINS).numpy())), shape=(len(y), BINS)
        )

    def metrics(self, weights: Floats) -> dict[str, Floats]:
        """Each metric for each row of weights `(B, N)`, whose sum is N."""
        total = weights.sum(1)
        hits, true, said = (np.asarray(weights @ each) for each in (self._hits, self._true, self._said))
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = np.where(true > 0, hits / true, np.nan)
            f1 = np.where(true > 0, 2 * hits / (true + said), np.nan)
        return {
            "accuracy": weights @ self._right / total,
            "balanced_accuracy": np.nanmean(recall, axis=1),
            "macro_f1": np.nanmean(f1, axis=1),
            "log_loss": weights @ self._loss / total,
            "ece": np.abs(weights @ self._gap).sum(1) / total,
        }


def _sizes(resamples: int, samples: int) -> list[int]:
    """Resamples in groups that fit into memory."""
    most = max(1, _AT_ONCE // max(samples, 1))
    return [min(most, resamples - begin) for begin in range(0, resamples, most)]
