"""The exceptions of plt_nn, and the helper that suggests the nearest valid name."""

from collections.abc import Iterable
from difflib import get_close_matches


class PltNNError(Exception):
    """Base of every error that plt_nn raises on purpose; its text is meant for the person at the keyboard."""


class ConfigError(PltNNError, ValueError):
    """A name, key or value in the configuration cannot be used."""


class DataError(PltNNError, ValueError):
    """The data cannot be trained on as it stands."""


class WeightsError(PltNNError, ValueError):
    """A file of weights is missing, unsafe, or belongs to another net."""


class TrainingError(PltNNError, RuntimeError):
    """Training cannot go on, for instance because the loss is not finite."""


class TrackingError(PltNNError, RuntimeError):
    """The MLflow server or store cannot be used."""


class NotCuttable(PltNNError):  # noqa: N818 -- a finding rather than an error
    """A net has no place where it stops being frozen; its features are not cached, and training continues without."""


class NotFingerprintable(PltNNError):  # noqa: N818 -- a finding rather than an error
    """Nothing tells an object apart from others like it; what is computed from it is not stored for later runs."""


def in_a_line(error: BaseException) -> str:
    """The first line of an error's text, or its name where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def did_you_mean(word: str, candidates: Iterable[str], most: int = 3) -> str:
    """A sentence that names the valid words nearest to `word`, or all of them when they are few.

    Args:
        word: What was received.
        candidates: The valid words.
        most: How many near words to name.

    Returns:
        `" Did you mean 'a' or 'b'?"`, `" Valid: a, b, c."`, or `""` when nothing is near and they are too many.
    """
    valid = list(dict.fromkeys(candidates))
    near = get_close_matches(word, valid, n=most, cutoff=0.6)
    if not near:  # the last part of a dotted or slashed name often is what was misspelt
        tails = {name.replace("/", ".").rsplit(".", 1)[-1]: name for name in valid}
        near = [tails[tail] for tail in get_close_matches(word.rsplit("/", 1)[-1], tails, n=most, cutoff=0.6)]
    if near:
        return f" Did you mean {' or '.join(repr(name) for name in near)}?"
    return f" Valid: {', '.join(valid)}." if 0 < len(valid) <= 12 else ""
