import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
)

from plt_nn.deployment.class_metrics import class_scores, count_classes, measure

GENERATOR = np.random.default_rng(0)
Y = GENERATOR.integers(0, 4, 300)
LOGITS = GENERATOR.normal(size=(300, 4)) + 1.5 * np.eye(4)[Y]
P = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
TP, TY = torch.tensor(P), torch.tensor(Y)


def test_the_values_are_those_of_torchmetrics() -> None:
    found = {name: interval.value for name, interval in measure(P, Y, resamples=0).items()}
    assert found["accuracy"] == pytest.approx(float(multiclass_accuracy(TP, TY, 4, average="micro")))
    assert found["balanced_accuracy"] == pytest.approx(float(multiclass_accuracy(TP, TY, 4, average="macro")))
    assert found["macro_f1"] == pytest.approx(float(multiclass_f1_score(TP, TY, 4, average="macro")))
    assert found["log_loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(torch.tensor(LOGITS), TY)))
    assert found["ece"] == pytest.approx(float(multiclass_calibration_error(TP, TY, 4)), abs=1e-6)


def test_the_intervals_are_those_of_scipy() -> None:
    right = (P.argmax(1) == Y).astype(float)
    theirs = bootstrap((right,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1))
    ours = measure(P, Y, resamples=4000)["accuracy"]
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.006)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.006)
    for interval in measure(P, Y, resamples=200).values():
        assert interval.low < interval.high


def test_resamples_in_groups_are_the_same_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(P, Y, resamples=50)
    monkeypatch.setattr("plt_nn.deployment.class_metrics._AT_ONCE", 700)  # two at a time
    for name, interval in measure(P, Y, resamples=50).items():
        assert interval == pytest.approx(whole[name], abs=1e-12)


def test_classes_without_samples_do_not_count() -> None:
    five = np.concatenate([P, np.zeros((300, 1))], axis=1)
    known = measure(P, Y, 0)
    for name, interval in measure(five, Y, 0).items():
        assert interval.value == pytest.approx(known[name].value)
    scores = class_scores(count_classes(five, Y).confusion.numpy(), "abcde")
    assert np.isnan(scores["recall"]["e"])
    assert scores["support"]["e"] == 0


def test_each_class() -> None:
    confusion = count_classes(P, Y).confusion.numpy()
    assert (confusion == multiclass_confusion_matrix(TP, TY, 4).numpy()).all()
    scores = class_scores(confusion, "abcd")
    assert scores["precision"].to_numpy() == pytest.approx(multiclass_precision(TP, TY, 4, average="none").numpy())
    assert scores["f1"].to_numpy() == pytest.approx(multiclass_f1_score(TP, TY, 4, average="none").numpy())


def test_calibration() -> None:
    count, confidence, right = count_classes(P, Y).bins.numpy()
    assert count.sum() == 300
    assert right.sum() == (P.argmax(1) == Y).sum()
    assert confidence.sum() == pytest.approx(P.max(1).sum())
