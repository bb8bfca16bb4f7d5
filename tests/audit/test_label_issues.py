import numpy as np
import pytest
from cleanlab.filter import find_label_issues as cleanlabs_issues
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray

from plt_nn.audit.feature_findings import label_issue_findings
from plt_nn.audit.label_issues import LabelIssues, confident_errors, find_label_issues, normalised_margins


def noisy(classes: int, samples: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Labels of which some are flipped, probabilities that lean to the true ones, and the flipped samples."""
    draw = np.random.default_rng(seed)
    true = np.concatenate([np.arange(classes), draw.integers(0, classes, samples - classes)])
    logits = draw.normal(0, 1, (samples, classes))
    logits[np.arange(samples), true] += draw.normal(2, 1, samples)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    flipped = draw.choice(np.arange(classes, samples), samples // 10, replace=False)
    labels = true.copy()
    labels[flipped] = (true[flipped] + draw.integers(1, classes, len(flipped))) % classes
    return labels, probabilities, flipped


@pytest.mark.parametrize(("classes", "samples", "seed"), [(2, 200, 0), (2, 1000, 1), (5, 600, 2), (20, 2000, 3)])
def test_the_authors_library_says_the_same(classes: int, samples: int, seed: int) -> None:
    labels, probabilities, _ = noisy(classes, samples, seed)
    quality = get_label_quality_scores(labels, probabilities, method="normalized_margin")
    np.testing.assert_allclose(normalised_margins(labels, probabilities), quality, atol=1e-12)
    issues = cleanlabs_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1)
    assert issues.any()
    np.testing.assert_array_equal(confident_errors(labels, probabilities), issues)
    own, theirs = (find_label_issues(np.arange(samples), labels, probabilities, by) for by in ("own", "cleanlab"))
    assert own.flagged == theirs.flagged
    np.testing.assert_array_equal(own.rows[: own.flagged], theirs.rows[: own.flagged])


def test_flipped_labels_come_first() -> None:
    labels, probabilities, flipped = noisy(4, 400, 0)
    rows = np.arange(1000, 1400)
    issues = find_label_issues(rows, labels, probabilities)
    first = issues.rows[: len(flipped)] - 1000
    assert len(set(first.tolist()) & set(flipped.tolist())) >= 0.5 * len(flipped), "of which a tenth is flipped"
    assert (issues.proposed[: issues.flagged] != labels[issues.rows[: issues.flagged] - 1000]).all()
    assert sorted(issues.rows.tolist()) == rows.tolist()


def test_classes_too_small_are_not_judged_and_not_proposed() -> None:
    labels, probabilities, _ = noisy(3, 300, 0)
    labels = np.where(labels == 1, 0, labels)
    labels[:2] = 1
    issues = find_label_issues(np.arange(300), labels, probabilities)
    assert issues.not_judged == 2
    assert not {0, 1} & set(issues.rows.tolist())
    assert set(issues.proposed.tolist()) == {0, 2}


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0] * 6, []])
def test_with_nothing_to_judge_nothing_is_said(labels: list[int]) -> None:
    given = np.array(labels, dtype=np.int64)
    issues = find_label_issues(np.arange(len(given)), given, np.full((len(given), 3), 1 / 3))
    assert (len(issues.rows), issues.flagged, issues.not_judged) == (0, 0, len(given))


@pytest.mark.parametrize(
    ("right", "most_common", "judged", "is_able"),
    [
        (0.74, 0.5, 1_000, True),
        (0.9, 0.9, 1_000, False),  # who always says the most common class is right as often
        (0.97, 0.9, 1_000, True),
        (0.74, 0.5, 10, False),  # which is chance
        (0.55, 0.5, 10_000, False),  # no chance, and yet of no use
        (0.3, 0.01, 1_000, True),
    ],
)
def test_labels_are_doubted_by_a_classifier_that_knows_more_than_the_most_common_one(
    right: float, most_common: float, judged: int, is_able: bool
) -> None:
    rows = np.arange(judged)
    issues = LabelIssues(rows, np.zeros(judged), np.zeros(judged, dtype=np.int64), 3, right, most_common, 0)
    (finding,) = label_issue_findings(issues)
    assert finding.sentence.startswith("3 images of") == is_able
    assert ("could not be judged" in finding.sentence) != is_able
