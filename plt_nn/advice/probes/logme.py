"""LogME: how well features explain labels, by the evidence of a Bayesian linear model; no classifier is fitted."""

import numpy as np
from numpy.typing import NDArray

from plt_nn.advice.probes.ridge import spectrum

_ROUNDS = 11


def logme(features: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The mean logarithm of the maximum evidence over the classes and samples; more is better.

    You et al. 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning"
    (https://arxiv.org/abs/2102.11005), with the fixed-point iteration of You et al. 2022.

    Args:
        features: `(N, D)`.
        labels: The class of each sample, `(N,)`.
    """
    x = np.asarray(features, dtype=np.float64)
    samples, dimensions = x.shape
    squares, left = spectrum(x)
    evidence = []
    for code in np.unique(labels):
        y = (labels == code).astype(np.float64)
        turned = (left.T @ y) ** 2
        outside = max(float(y @ y - turned.sum()), 0.0)  # the part of y outside the span of the features
        alpha, beta = 1.0, 1.0
        for _ in range(_ROUNDS):
            ratio = alpha / beta
            fitted = squares / (squares + ratio)
            weights = float((squares * turned / (squares + ratio) ** 2).sum())
            residual = float((turned * (1 - fitted) ** 2).sum()) + outside
            gamma = float(fitted.sum())
            alpha, beta = gamma / max(weights, 1e-12), (samples - gamma) / max(residual, 1e-12)
            if abs(alpha / beta - ratio) <= 1e-3 * ratio:
                break
        determinant = float(np.log(alpha + beta * squares).sum()) + (dimensions - len(squares)) * np.log(alpha)
        twice = dimensions * np.log(alpha) + samples * np.log(beta) - determinant
        twice -= beta * residual + alpha * weights + samples * np.log(2 * np.pi)
        evidence.append(twice / (2 * samples))
    return float(np.mean(evidence))
