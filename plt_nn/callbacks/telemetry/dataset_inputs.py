"""Logs which data a run uses, and warns when validation or test samples are also trained on."""

from collections.abc import Mapping
from typing import Any, Protocol

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from plt_nn.callbacks.lightning.run_logger import run_loggers
from plt_nn.errors import DataError

_CONTEXTS = {"train": "training", "val": "validation", "test": "testing"}  # MLflow's names for the uses of data
_LONGEST_DIGEST = 36  # what MLflow takes


class Fingerprint(Protocol):
    """Facts about one split; `plt_nn.data.SplitFingerprint` is one, whose `examples` and `source` are optional."""

    @property
    def digest(self) -> str:
        """Identifies the content of the split."""

    @property
    def samples(self) -> int:
        """Number of samples."""

    @property
    def class_counts(self) -> Mapping[str, int] | None:
        """Class name -> number of samples."""

    @property
    def duplicates(self) -> Mapping[str, int]:
        """Name of another split -> number of samples that also occur there."""

    @property
    def duplicates_within(self) -> int:
        """Number of samples that repeat another one of the same split."""


class DatasetInputs(Callback):
    """Logs which data a fit uses, and warns when held-out samples are also trained on.

    When a fit starts, process 0 asks the data module for the fingerprints of its splits (its method `fingerprints`; a
    module without it is ignored) and logs each as an input of the run: a digest of the content, the number of samples
    in all and of each class, and how many of them occur more than once. Two runs with the same digest have used the
    same data, wherever it is stored. The test set is logged too, because it must be held out from the start. A loader
    that is given to `fit` itself has no fingerprint.

    Raises:
        DataError: If MLflow cannot store a digest.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs each split, and warns of samples that they share."""
        data: Any = getattr(trainer, "datamodule", None)
        if not trainer.is_global_zero or not callable(getattr(data, "fingerprints", None)):
            return
        found: Mapping[str, Fingerprint] = data.fingerprints()
        validated = trainer.enable_validation
        used = {split: facts for split, facts in found.items() if split in _CONTEXTS and (split != "val" or validated)}
        name = str(getattr(data, "name", None) or type(data).__name__)
        if warning := leakage(used):
            rank_zero_warn(f"{name}: {warning}")
        _require_short_digests(type(data).__name__, used)
        for logger in run_loggers(trainer):
            for split, facts in used.items():
                source = str(getattr(facts, "source", "")) or type(data).__qualname__
                logger.log_dataset(name, _CONTEXTS[split], facts.digest, source, profile(facts))


def profile(facts: Fingerprint) -> dict[str, Any]:
    """Facts about a split as plain JSON values."""
    counts = None if facts.class_counts is None else {str(name): int(n) for name, n in facts.class_counts.items()}
    return {
        "samples": int(facts.samples),
        "class_counts": counts,
        "duplicates": {str(name): int(n) for name, n in facts.duplicates.items()},
        "duplicates_within": int(facts.duplicates_within),
    }


def leakage(found: Mapping[str, Fingerprint]) -> str | None:
    """A sentence on the samples of `val` and `test` that also occur in `train`; None if there are none."""
    shared = {split: facts for split, facts in found.items() if split != "train" and facts.duplicates.get("train")}
    if not shared:
        return None
    parts = []
    for split, facts in shared.items():
        examples = list(getattr(facts, "examples", {}).get("train", ()))[:3]
        named = f" ({', '.join(examples)}{', ...' if facts.duplicates['train'] > len(examples) else ''})"
        parts.append(f"{facts.duplicates['train']} of the {facts.samples} {split} samples{named if examples else ''}")
    return (
        f"{' and '.join(parts)} also occur in train, so that what is measured on them is partly memory. "
        "Remove them from one of the two."
    )


def _require_short_digests(data: str, found: Mapping[str, Fingerprint]) -> None:
    for split, facts in found.items():
        if not isinstance(facts.digest, str) or not 0 < len(facts.digest) <= _LONGEST_DIGEST:
            raise DataError(
                f"{data}.fingerprints() gives {facts.digest!r} as the digest of {split}; expected a string of 1 to "
                f"{_LONGEST_DIGEST} characters, such as hashlib.blake2b(content, digest_size=16).hexdigest()."
            )
