"""Labels in doubt: confident learning on the probabilities of classifiers that have not seen the sample.

The method of Northcutt, Jiang & Chuang 2021 (https://arxiv.org/abs/1911.00068): a class is confidently said of a sample
if its probability is at least the mean of those samples with the label, so that neither rare classes nor an
overconfident classifier distort the count. Labels of which another class is confident are in doubt. Samples are ranked
by the margin between their label and the most probable other class. The library of the authors does the same
(`by="cleanlab"`, the extra `audit`).
"""

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plt_nn.advice.probes.probe import linear_probe, stratified_folds
from plt_nn.errors import ConfigError

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Method = Literal["own", "cleanlab"]

MOST_AT_ONCE = 4_000  # samples; a probe of more takes much longer, and is hardly better
FEWEST = 3  # samples of a class of which labels can be judged: with two that disagree either may be wrong


@dataclass(frozen=True)
class LabelIssues:
    """Which labels are in doubt.

    Attributes:
        rows: The samples that could be judged, by how much they are in doubt, the most doubtful first; `(M,)`.
        quality: How well each of them fits its label, from 0 to 1; `(M,)`.
        proposed: The most probable class of each; `(M,)`.
        flagged: How many of them, from the first on, are confidently of another class.
        accuracy: Share of the judged samples whose label the classifier predicts.
        most_common: Share of the most common class among them.
        not_judged: How many samples are of classes with fewer than three.
    """

    rows: Labels
    quality: Floats
    proposed: Labels
    flagged: int
    accuracy: float
    most_common: float
    not_judged: int


def out_of_fold(features: NDArray[np.floating], labels: Labels, pictures: Labels, seed: int = 0) -> Floats:
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


def find_label_issues(rows: Labels, labels: Labels, probabilities: Floats, by: Method = "own") -> LabelIssues:
    """Ranks samples by how much their labels are in doubt.

    Args:
        rows: The numbers of the samples, `(N,)`.
        labels: Their classes, `(N,)`.
        probabilities: Of each class, by a classifier that has not seen the sample, `(N, C)`.
        by: `own`, or the library `cleanlab`.

    Raises:
        ConfigError: If the library is wanted and is not installed.
    """
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    judged = counts[labels] >= FEWEST
    classes = np.flatnonzero(counts >= FEWEST)
    code = np.zeros(len(counts), dtype=np.int64)
    code[classes] = np.arange(len(classes))
    given, of_judged = code[labels[judged]], probabilities[np.ix_(judged, classes)]
    if len(classes) < 2:
        nothing = np.empty(0, dtype=np.int64)
        return LabelIssues(nothing, np.empty(0), nothing, 0, float("nan"), float("nan"), len(labels))
    of_judged = of_judged / np.maximum(of_judged.sum(1, keepdims=True), 1e-12)
    if by == "cleanlab":
        quality, is_wrong = _by_cleanlab(given, of_judged)
    else:
        quality, is_wrong = normalised_margins(given, of_judged), confident_errors(given, of_judged)
    order = np.lexsort((quality, ~is_wrong))
    proposed = of_judged.argmax(1)
    return LabelIssues(
        rows=rows[judged][order],
        quality=quality[order],
        proposed=classes[proposed[order]],
        flagged=int(is_wrong.sum()),
        accuracy=float((proposed == given).mean()),
        most_common=float(np.bincount(given).max()) / len(given),
        not_judged=int((~judged).sum()),
    )


def require_cleanlab() -> None:
    """Makes sure that the library is installed before anything slow begins.

    Raises:
        ConfigError: It is not installed.
    """
    if find_spec("cleanlab") is None:
        raise ConfigError('cleanlab is not installed; `pip install -e ".[audit]"` does it.')


def normalised_margins(labels: Labels, probabilities: Floats) -> Floats:
    """How well each sample fits its label: 1 if it is certainly that class, 0 if it is certainly another; `(N,)`."""
    at = np.arange(len(labels))
    others = probabilities.copy()
    others[at, labels] = -np.inf
    return np.asarray((probabilities[at, labels] - others.max(1) + 1) / 2)


def confident_errors(labels: Labels, probabilities: Floats) -> NDArray[np.bool_]:
    """Whether each sample is confidently said to be of another class, `(N,)`; each class occurs among the labels."""
    thresholds = np.array([probabilities[labels == code, code].mean() for code in range(probabilities.shape[1])])
    is_confident = probabilities >= thresholds - 1e-6
    most = probabilities.argmax(1)
    said = np.where(is_confident.sum(1) > 1, most, is_confident.argmax(1))
    return np.asarray(is_confident.any(1) & (said != labels) & (most != labels))


def _by_cleanlab(labels: Labels, probabilities: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    require_cleanlab()
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    quality = get_label_quality_scores(labels, probabilities, method="normalized_margin")
    is_wrong = find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1)
    return np.asarray(quality), np.asarray(is_wrong)
