"""What is told of labels in doubt, and of splits that differ."""

import math
from collections.abc import Sequence

from scipy.stats import binomtest

from plt_nn.audit.drift import Drift
from plt_nn.audit.findings import Finding, Severity, images_of
from plt_nn.audit.label_issues import FEWEST, LabelIssues

DOUBTED = "labels in doubt"
_BEYOND_CHANCE = 0.01
_CLASSES, _SIZES, _GREY, _AUC = 0.1, 0.3, 0.2, 0.65
_SKILL = 0.2  # of what the most common class leaves to be told, below which a classifier's doubts say little
_MUCH = 0.02  # of the labels in doubt, from which on it is a warning


def suspect_findings(suspects: LabelIssues) -> list[Finding]:
    """What is told of labels in doubt.

    Args:
        suspects: The labels, ranked.
    """
    found = []
    judged = len(suspects.rows)
    able = f"a linear classifier tells {suspects.accuracy:.1%} of images as they are labelled without having seen them"
    if judged and not _is_able(suspects):
        told = f"Labels could not be judged: {able}, and {suspects.most_common:.1%} bear the most common label anyhow."
        found.append(Finding(DOUBTED, "note", told, "Another net (--backbone) or size (--image-size) may tell more."))
    elif suspects.flagged:
        told = f"{images_of(suspects.flagged)} of {judged:,} with labels in doubt; {able}."
        mend = "Look at them, the most doubtful first; some are hard, and not wrong."
        severity: Severity = "warning" if suspects.flagged > _MUCH * judged else "note"
        found.append(Finding(DOUBTED, severity, told, mend, tuple(suspects.rows[: suspects.flagged].tolist())))
    if suspects.not_judged:
        told = f"The labels of {images_of(suspects.not_judged)} in classes with fewer than {FEWEST} were not judged."
        found.append(Finding(DOUBTED, "note", told))
    return found


def _is_able(suspects: LabelIssues) -> bool:
    """Whether the classifier knows clearly more than which class is the most common, and that is not chance."""
    if math.isnan(suspects.accuracy):
        return False
    judged, skill = len(suspects.rows), (suspects.accuracy - suspects.most_common) / (1 - suspects.most_common)
    test = binomtest(round(suspects.accuracy * judged), judged, suspects.most_common, alternative="greater")
    return skill > _SKILL and float(test.pvalue) < _BEYOND_CHANCE


def drift_findings(drifts: Sequence[Drift]) -> list[Finding]:
    """What is told of splits that differ from the training images beyond chance.

    Args:
        drifts: The comparisons.
    """
    found = []
    for drift in drifts:
        for told in _differences(drift):
            mend = f"What {drift.split} measures is then not what training was for: draw both from the same images."
            found.append(Finding("drift", "warning", told, mend))
    return found


def _differences(drift: Drift) -> list[str]:
    found = []
    if drift.classes_p < _BEYOND_CHANCE and drift.classes >= _CLASSES:
        found.append(
            f"The classes are mixed otherwise in {drift.split} than in train: {drift.classes:.0%} would have to move."
        )
    if drift.sizes_p < _BEYOND_CHANCE and drift.sizes >= _SIZES:
        train, own = drift.sides
        found.append(
            f"Images are of another size in {drift.split} than in train: {own:.0f} and {train:.0f} pixels a side."
        )
    if drift.grey_p < _BEYOND_CHANCE and abs(drift.grey[0] - drift.grey[1]) >= _GREY:
        train, own = drift.grey
        found.append(f"{own:.0%} of images in {drift.split} are without colour, and {train:.0%} of those in train.")
    if drift.auc is not None and drift.auc_p is not None and drift.auc_p < _BEYOND_CHANCE and drift.auc >= _AUC:
        found.append(
            f"What {drift.split} shows can be told from what train shows: of an image of each, a linear classifier"
            f" knows which is which {drift.auc:.0%} of the time."
        )
    return found
