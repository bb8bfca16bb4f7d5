"""LogME, against the evidence computed as its paper writes it."""

import numpy as np
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from plt_nn.advice.probes.logme import logme


def test_it_is_the_maximum_of_the_evidence() -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((60, 8))
    y = (x[:, 0] + 0.5 * generator.standard_normal(60) > 0).astype(np.int64)

    def minus_evidence(logs: np.ndarray, target: np.ndarray) -> float:
        alpha, beta = np.exp(logs)
        covariance = np.eye(len(x)) / beta + x @ x.T / alpha
        return -float(multivariate_normal(np.zeros(len(x)), covariance).logpdf(target))

    best = [
        -minimize(minus_evidence, [0.0, 0.0], args=((y == code).astype(float),), method="Nelder-Mead").fun / len(x)
        for code in (0, 1)
    ]
    np.testing.assert_allclose(logme(x, y), np.mean(best), atol=1e-3)


def test_telling_features_score_higher_also_where_there_are_more_of_them_than_samples() -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 80)
    noise = generator.standard_normal((80, 200))
    telling = noise + 2 * np.eye(3)[y] @ generator.standard_normal((3, 200))
    assert logme(telling, y) > logme(noise, y)
