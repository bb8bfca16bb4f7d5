"""Linear probes: no sample is told by a classifier that has seen it."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from plt_nn.advice.probes.probe import LinearProbe, is_worse, linear_probe, stratified_folds


def test_digits_are_told_about_as_well_as_by_logistic_regression() -> None:
    x, y = load_digits(return_X_y=True)
    folds = stratified_folds(y)
    ours = linear_probe([x], y, folds)
    theirs = np.empty(len(y), dtype=np.int64)
    for fold in np.unique(folds):
        theirs[folds == fold] = (
            LogisticRegression(max_iter=2000).fit(x[folds != fold], y[folds != fold]).predict(x[folds == fold])
        )
    assert abs(ours.accuracy - (theirs == y).mean()) < 0.04
    np.testing.assert_allclose(ours.probabilities.sum(1), 1)
    low, high = ours.accuracy_interval
    assert low < ours.accuracy < high
    low, high = ours.log_loss_interval
    assert low < ours.log_loss < high


def test_labels_without_any_sense_are_told_by_chance_alone() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((400, 600)), generator.integers(0, 4, 400)
    found = linear_probe([x], y, stratified_folds(y))
    assert found.accuracy < 0.35
    assert found.log_loss < np.log(4) + 0.1, "it knows that it knows nothing"


def test_blocks_of_features_weigh_the_same() -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 200)
    telling = y[:, None] + 0.3 * generator.standard_normal((200, 1))
    noise = 1e3 * generator.standard_normal((200, 50))
    assert linear_probe([telling, noise], y, stratified_folds(y)).accuracy > 0.9


def test_features_that_never_vary_tell_nothing_and_do_no_harm() -> None:
    y = np.arange(40) % 2
    assert linear_probe([np.ones((40, 3))], y, stratified_folds(y)).accuracy <= 0.5


def test_what_is_not_finite_is_refused() -> None:
    y = np.arange(40) % 2
    with pytest.raises(ValueError, match="not finite"):
        linear_probe([np.full((40, 3), np.nan)], y, stratified_folds(y))


def test_each_class_is_in_each_fold() -> None:
    y = np.repeat([0, 1, 2], [50, 10, 25])
    folds = stratified_folds(y)
    assert all(set(y[folds == fold]) == {0, 1, 2} for fold in range(5))


@pytest.mark.parametrize("y", [np.arange(200) // 2, np.r_[np.zeros(30, dtype=np.int64), 1], np.arange(20)])
def test_few_samples_of_a_class(y: np.ndarray) -> None:
    folds = stratified_folds(y)
    assert len(np.unique(folds)) >= 2
    x = np.random.default_rng(0).standard_normal((len(y), 8))
    assert linear_probe([x], y, folds).probabilities.shape == (len(y), int(y.max()) + 1)


def test_worse_means_worse_beyond_chance() -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 300)
    good = y[:, None] + 0.5 * generator.standard_normal((300, 1))
    folds = stratified_folds(y)
    one, other = (
        linear_probe([good], y, folds),
        linear_probe([good + 1.0 * generator.standard_normal((300, 1))], y, folds),
    )
    assert is_worse(other, one)
    assert not is_worse(one, other)
    assert not is_worse(one, one)
    nearly = LinearProbe(one.probabilities.copy(), y)
    nearly.probabilities[0] = [1, 0] if y[0] else [0, 1]
    assert not is_worse(nearly, one), "one sample of 300 is chance"
