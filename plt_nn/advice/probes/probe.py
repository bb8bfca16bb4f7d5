"""Linear probes: how well a linear classifier on features separates classes, measured on samples that it has not seen.

The classifier is ridge regression on one-hot targets, which has a closed form for all strengths of regularisation and
for leaving out each sample, so the strength is chosen inside each fold without further fits. A temperature, also chosen
inside the fold, turns outputs into probabilities (Guo et al. 2017, https://arxiv.org/abs/1706.04599).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import binomtest

from plt_nn.advice.probes.ridge import fit_ridge

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

_STRENGTHS = np.logspace(-3, 3, 13)  # of the regularisation, for features of unit variance in all
_TEMPERATURES = (1e-2, 1e2)


@dataclass(frozen=True)
class LinearProbe:
    """The predictions of linear classifiers for samples that they have not seen.

    Args:
        probabilities: `(N, C)`.
        labels: The true classes, `(N,)`.
    """

    probabilities: Floats
    labels: Labels

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether each prediction is right, `(N,)`."""
        return np.asarray(self.probabilities.argmax(1) == self.labels)

    @cached_property
    def losses(self) -> Floats:
        """The negative log-probability of each sample's class in nats, `(N,)`."""
        of_true = self.probabilities[np.arange(len(self.labels)), self.labels]
        return -np.log(np.maximum(of_true, np.finfo(np.float32).tiny))

    @property
    def accuracy(self) -> float:
        """The share of right predictions."""
        return float(self.right.mean())

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """The interval of the accuracy at 95 %."""
        return wilson_interval(self.right)

    @property
    def log_loss(self) -> float:
        """The mean of `losses`."""
        return float(self.losses.mean())

    @property
    def log_loss_interval(self) -> tuple[float, float]:
        """The normal interval of `log_loss` at 95 %."""
        half = 1.96 * float(self.losses.std(ddof=1)) / len(self.losses) ** 0.5 if len(self.losses) > 1 else np.inf
        return self.log_loss - half, self.log_loss + half


def linear_probe(features: Sequence[Floats], labels: Labels, folds: Labels) -> LinearProbe:
    """Probes features.

    Args:
        features: One or several arrays `(N, D)` of the same samples, with the same weight whatever their size.
        labels: The class of each sample, `(N,)`, from 0.
        folds: The fold of each sample, `(N,)` (`stratified_folds`).

    Raises:
        ValueError: A feature is not finite.
    """
    x = np.concatenate([_scaled(array) for array in features], axis=1)
    x /= len(features) ** 0.5
    classes = int(labels.max()) + 1
    targets = np.eye(classes)[labels]
    probabilities = np.empty((len(labels), classes))
    for fold in np.unique(folds):
        seen, unseen = folds != fold, folds == fold
        ridge = fit_ridge(x[seen], targets[seen], _STRENGTHS)
        temperature = _temperature(ridge.left_out, labels[seen])
        probabilities[unseen] = softmax(ridge.predict(x[unseen]) / temperature, axis=1)
    return LinearProbe(probabilities, labels)


def stratified_folds(labels: Labels, most: int = 5, seed: int = 0) -> Labels:
    """The fold of each sample, `(N,)`, with the samples of each class spread evenly.

    Args:
        labels: The class of each sample, `(N,)`.
        most: Number of folds; fewer if the typical class has fewer samples, but at least two. The only sample of a
            class cannot be recognised by a classifier that has not seen it.
        seed: Seed of the folds.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = np.bincount(labels)
    counts = counts[counts > 0]
    number = min(most, max(2, int(np.median(counts))))
    if counts.max() < number:  # one sample of each class: stratification is impossible
        return np.random.default_rng(seed).permutation(len(labels)) % number
    folds = np.empty(len(labels), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        splits = StratifiedKFold(number, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels)
        for fold, (_, unseen) in enumerate(splits):
            folds[unseen] = fold
    return folds


def is_worse(one: LinearProbe, other: LinearProbe) -> bool:
    """Whether a probe is significantly worse than another one of the same samples, in accuracy or in log-loss.

    Both are compared sample by sample, which is more sensitive than a comparison of two intervals.
    """
    lost = other.right.astype(np.float64) - one.right
    return is_above_zero(lost) or (is_above_zero(one.losses - other.losses) and one.accuracy <= other.accuracy)


def wilson_interval(right: NDArray[np.bool_]) -> tuple[float, float]:
    """The Wilson interval of a share at 95 %."""
    found = binomtest(int(right.sum()), len(right)).proportion_ci(0.95, "wilson")
    return float(found.low), float(found.high)


def is_above_zero(differences: Floats) -> bool:
    """Whether the mean of some differences, `(N,)`, is significantly above zero: by two standard errors."""
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5 if len(differences) > 1 else np.inf
    return float(differences.mean()) > 2 * error


def _scaled(array: Floats) -> Floats:
    """Features with mean zero, equal variances and a total variance of 1; constant features are left out."""
    array = np.asarray(array, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("features that are not finite cannot be probed")
    deviations = array.std(0)
    varied = deviations > 1e-8 * max(float(deviations.max(initial=0.0)), 1e-30)
    if not varied.any():
        return np.zeros((len(array), 1))
    scaled: Floats = (array[:, varied] - array[:, varied].mean(0)) / (deviations[varied] * varied.sum() ** 0.5)
    return scaled


def _temperature(outputs: Floats, labels: Labels) -> float:
    """The divisor of the outputs with which their probabilities fit the labels best."""
    rows = np.arange(len(labels))

    def loss(logarithm: float) -> float:
        return -float(log_softmax(outputs / np.exp(logarithm), axis=1)[rows, labels].mean())

    low, high = np.log(_TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))
