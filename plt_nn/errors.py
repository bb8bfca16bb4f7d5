"""Every error that plt_nn raises on purpose, and the one function that refuses what cannot be used.

    PltNNError
    ├── ConfigError          a name, key or value in a configuration or a call; also a ValueError
    ├── DataError            images or tables that cannot be trained on; also a ValueError
    ├── WeightsError         a file of weights that is missing, unsafe, or of another net; also a ValueError
    ├── TrainingError        training cannot continue, such as a loss that is not finite; also a RuntimeError
    ├── TrackingError        an MLflow server or store that cannot be used; also a RuntimeError
    ├── ExportError          a model that cannot be written in a format, or differs there; also a RuntimeError
    ├── NotCuttable          a finding: a net has no place where it stops being frozen
    └── NotFingerprintable   a finding: nothing tells an object apart from others like it

All of them are importable from `plt_nn`. Each text says what was received, what was expected and how to mend it; where
several things are wrong at once, `.faults` holds them one by one:

    try:
        plt_nn.MLP(in_features=0, hidden=[], out_features=3, dropout=2.0)
    except plt_nn.ConfigError as error:
        for fault in error.faults:
            print(fault)
"""

from collections.abc import Iterable
from difflib import get_close_matches


class PltNNError(Exception):
    """Base of all of them.

    Args:
        message: The text, for the person at the keyboard.
        faults: What is wrong, one sentence each, if it is more than the message as a whole.
    """

    def __init__(self, message: str = "", faults: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.faults: tuple[str, ...] = tuple(faults) or ((message,) if message else ())


class ConfigError(PltNNError, ValueError):
    """A name, key or value in the configuration cannot be used."""


class DataError(PltNNError, ValueError):
    """The data cannot be trained on as they are."""


class WeightsError(PltNNError, ValueError):
    """A file of weights is missing, unsafe, or belongs to another net."""


class TrainingError(PltNNError, RuntimeError):
    """Training cannot continue, for instance because the loss is not finite."""


class TrackingError(PltNNError, RuntimeError):
    """The MLflow server or store cannot be used."""


class ExportError(PltNNError, RuntimeError):
    """A model cannot be written in a format, or gives other answers there."""


class NotCuttable(PltNNError):  # noqa: N818 -- a finding rather than an error
    """A net has no place where it stops being frozen; its features are not cached, and training continues without."""


class NotFingerprintable(PltNNError):  # noqa: N818 -- a finding rather than an error
    """Nothing tells an object apart from others like it; what is computed from it is not stored for later runs."""


def refuse(subject: str, faults: Iterable[str], error: type[PltNNError] = ConfigError) -> None:
    """Raises one error that lists every fault; does nothing if there is none.

    Args:
        subject: What cannot be used: `MLP`, `the image folder photos`. The text begins with it.
        faults: One sentence for each fault.
        error: The class of the error.

    Raises:
        PltNNError: Of the class `error`, if there is at least one fault; `.faults` holds them one by one.
    """
    found = tuple(faults)
    if found:
        lines = "".join(f"\n  - {fault}" for fault in found).replace("\n    ", "\n      ")
        raise error(f"{subject} cannot be used:{lines}", found)


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
