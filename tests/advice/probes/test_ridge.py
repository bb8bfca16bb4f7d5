"""Our ridge regression is scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from plt_nn.advice.probes.ridge import fit_ridge, spectrum

STRENGTHS = np.logspace(-2, 3, 11)


@pytest.mark.parametrize("shape", [(60, 20), (20, 60), (40, 40)])
def test_it_is_scikit_learns(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal(shape) + 2
    y = x[:, :3] @ generator.standard_normal((3, 4)) + generator.standard_normal((shape[0], 4)) + 3
    theirs = RidgeCV(STRENGTHS, store_cv_results=True, scoring="neg_mean_squared_error").fit(x, y)
    ours = fit_ridge(x, y, STRENGTHS)
    assert ours.strength == theirs.alpha_
    np.testing.assert_allclose(ours.weights, theirs.coef_.T, atol=1e-10)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=1e-9)
    at = int(np.flatnonzero(theirs.alpha_ == STRENGTHS)[0])
    np.testing.assert_allclose(ours.left_out, theirs.cv_results_[:, :, at], atol=1e-9)


def test_what_is_left_out_is_predicted_by_a_fit_without_it() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.standard_normal((12, 5)), generator.standard_normal((12, 2))
    ours = fit_ridge(x, y, np.array([0.7]))
    for at in range(12):
        rest = np.arange(12) != at
        alone = fit_ridge(x[rest], y[rest], np.array([0.7]))
        np.testing.assert_allclose(ours.left_out[at], alone.predict(x[at : at + 1])[0], atol=1e-10)


def test_the_spectrum_of_features_of_low_rank() -> None:
    generator = np.random.default_rng(2)
    x = generator.standard_normal((30, 4)) @ generator.standard_normal((4, 50))
    values, vectors = spectrum(x)
    assert len(values) == 4
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(vectors * values @ vectors.T, x @ x.T, atol=1e-8)
