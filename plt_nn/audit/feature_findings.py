"""Findings about labels in doubt, and about splits that differ."""

import math
from collections.abc import Iterator, Sequence

from scipy.stats import binomtest

from plt_nn.audit.drift import Drift
from plt_nn.audit.findings import Finding, Severity
from plt_nn.audit.label_issues import FEWEST, LabelIssues
from plt_nn.text import counted

DOUBTED = "labels in doubt"
_BEYOND_CHANCE = 0.01
_CLASSES, _SIZES, _GREY, _AUC = 0.1, 0.3, 0.2, 0.65
_SKILL = 0.2  # of what the most common class leaves to be text, below which a classifier's doubts say little
_MUCH = 0.02  # of the labels in doubt, from which on it is a warning


def label_issue_findings(issues: LabelIssues) -> Iterator[Finding]:
    """The findings about labels in doubt."""
    judged = len(issues.rows)
    able = f"a linear classifier that has not seen them predicts the labels of {issues.accuracy:.1%} of the images"
    if judged and not _is_able(issues):
        text = f"Labels could not be judged: {able}, and {issues.most_common:.1%} have the most common label."
        yield Finding(DOUBTED, "note", text, "Another net (--backbone) or size (--image-size) may do better.")
    elif issues.flagged:
        text = f"{counted(issues.flagged, 'image')} of {judged:,} with labels in doubt; {able}."
        mend = "Look at them, the most doubtful first; some are only hard, not wrong."
        severity: Severity = "warning" if issues.flagged > _MUCH * judged else "note"
        yield Finding(DOUBTED, severity, text, mend, tuple(issues.rows[: issues.flagged].tolist()))
    if issues.not_judged:
        images = counted(issues.not_judged, "image")
        yield Finding(DOUBTED, "note", f"The labels of {images} in classes with fewer than {FEWEST} were not judged.")


def _is_able(issues: LabelIssues) -> bool:
    """Whether the classifier knows clearly more than which class is the most common, and that is not chance."""
    if math.isnan(issues.accuracy):
        return False
    judged, skill = len(issues.rows), (issues.accuracy - issues.most_common) / (1 - issues.most_common)
    test = binomtest(round(issues.accuracy * judged), judged, issues.most_common, alternative="greater")
    return skill > _SKILL and float(test.pvalue) < _BEYOND_CHANCE


def drift_findings(drifts: Sequence[Drift]) -> Iterator[Finding]:
    """The findings about splits that differ from the training images by more than chance."""
    for drift in drifts:
        mend = f"Then {drift.split} does not measure what was trained: draw both from the same images."
        yield from (Finding("drift", "warning", text, mend) for text in _differences(drift))


def _differences(drift: Drift) -> Iterator[str]:
    split = drift.split
    if drift.classes_p < _BEYOND_CHANCE and drift.classes >= _CLASSES:
        yield f"The shares of the classes differ between {split} and train, by {drift.classes:.0%} in all."
    if drift.sizes_p < _BEYOND_CHANCE and drift.sizes >= _SIZES:
        train, own = drift.sides
        yield f"The sizes of images differ between {split} and train: {own:.0f} and {train:.0f} pixels a side."
    if drift.grey_p < _BEYOND_CHANCE and abs(drift.grey[0] - drift.grey[1]) >= _GREY:
        train, own = drift.grey
        yield f"{own:.0%} of images in {split} are without colour, and {train:.0%} of those in train."
    if drift.auc is not None and drift.auc_p is not None and drift.auc_p < _BEYOND_CHANCE and drift.auc >= _AUC:
        yield (
            f"The contents of {split} differ from those of train: given an image of each, a linear classifier knows "
            f"which is which {drift.auc:.0%} of the time."
        )
