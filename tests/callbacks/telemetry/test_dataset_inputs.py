"""The data of a run is logged once per split, and samples that are both held out and trained on are told."""

import re
import runpy
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from plt_nn import MLP, Classifier, ConvNet, DigitsData, ImageFolderData, Regressor, SyntheticRegressionData
from plt_nn.callbacks import DatasetInputs
from plt_nn.callbacks.telemetry.dataset_inputs import leakage, profile
from plt_nn.data import SplitFingerprint
from plt_nn.errors import DataError

JOB = Path(__file__).parents[1] / "validation" / "figures_job.py"
job = SimpleNamespace(**runpy.run_path(str(JOB)))


@pytest.fixture
def logged(tmp_path: Path) -> Callable[..., Any]:
    """Fits a module on data and returns the data sets that were logged: name, context, digest, source, profile."""

    def run(module: LightningModule, data: Any, ckpt_path: Path | None = None, **arguments: Any) -> Any:
        logger = job.RecordingLogger()
        quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": logger}
        quiet |= {"accelerator": "cpu", "enable_checkpointing": False, "default_root_dir": tmp_path, "max_epochs": 1}
        callbacks = [DatasetInputs(), *arguments.pop("callbacks", [])]
        Trainer(**quiet | arguments, callbacks=callbacks).fit(module, data, ckpt_path=ckpt_path)
        return logger.datasets

    return run


def test_each_split_is_logged(logged: Callable[..., Any]) -> None:
    data = DigitsData(layout="flat", test_fraction=0.1)
    found = logged(Classifier(MLP(64, [8], 10)), data)
    assert [(name, context) for name, context, *_ in found] == [
        ("digits", "training"),
        ("digits", "validation"),
        ("digits", "testing"),
    ]
    facts = data.fingerprints()
    assert [digest for _, _, digest, *_ in found] == [facts[split].digest for split in ("train", "val", "test")]
    *_, source, training = found[0]
    assert source == "sklearn.datasets.load_digits"
    assert training["samples"] == sum(training["class_counts"].values()) == len(data.splits["train"].y)
    assert training["duplicates"] == {"val": 0, "test": 0}


def test_what_is_not_used_is_not_logged(logged: Callable[..., Any]) -> None:
    found = logged(Classifier(MLP(64, [8], 10)), DigitsData(layout="flat"), limit_val_batches=0)
    assert [context for _, context, *_ in found] == ["training"]
    found = logged(Regressor(MLP(2, [8], 1)), SyntheticRegressionData())
    assert [facts["class_counts"] for *_, facts in found] == [None, None]


def test_the_photographs(logged: Callable[..., Any], photos: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(photos, tmp_path / "ants_bees"))
    for photo in sorted((copy / "train" / "bees").iterdir())[:4]:
        shutil.copy(photo, copy / "val" / "bees")
    data = ImageFolderData(copy, image_size=16, num_workers=0)
    module = Classifier(ConvNet(3, [4], 2))
    with pytest.warns(UserWarning, match="also occur in train") as caught:
        found = logged(module, data, limit_train_batches=1, limit_val_batches=1)
    (warning,) = [str(one.message) for one in caught if "also occur" in str(one.message)]
    assert re.match(
        r"ants_bees: 4 of the 157 val samples \(val/bees/\d+_\w+\.jpg, val/bees/\S+\.jpg, val/bees/\S+\.jpg, \.\.\.\) "
        r"also occur in train, so that what is measured on them is partly memory\. Remove them from one of the two\.$",
        warning,
    )
    assert [(name, source, facts["samples"]) for name, _, _, source, facts in found] == [
        ("ants_bees", str(copy), 245),
        ("ants_bees", str(copy), 157),
    ]
    assert found[1][4]["duplicates"] == {"train": 4}


@dataclass(frozen=True)
class Own:
    """The form of a fingerprint, without what may be missing."""

    digest: str = "abc"
    samples: Any = 3
    class_counts: Any = None
    duplicates: Any = field(default_factory=dict)
    duplicates_within: int = 0


class OwnData(LightningDataModule):
    """A data module that knows nothing of plt_nn."""

    def __init__(self, found: dict[str, Own] | None) -> None:
        super().__init__()
        if found is not None:
            self.fingerprints = lambda: found

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(torch.zeros(4, 2), torch.zeros(4, 1)))

    val_dataloader = train_dataloader


def test_any_data_module_with_fingerprints_is_logged(logged: Callable[..., Any]) -> None:
    counts = {torch.tensor(0).item(): torch.tensor(3).item()}
    found = logged(
        Regressor(MLP(2, [2], 1)), OwnData({"train": Own(class_counts=counts), "predict": Own(), "val": Own()})
    )
    nothing: dict[str, Any] = {"samples": 3, "class_counts": None, "duplicates": {}, "duplicates_within": 0}
    assert found == [
        ("OwnData", "training", "abc", "OwnData", nothing | {"class_counts": {"0": 3}}),
        ("OwnData", "validation", "abc", "OwnData", nothing),
    ]


def test_one_without_them_is_passed_over(logged: Callable[..., Any]) -> None:
    assert logged(Regressor(MLP(2, [2], 1)), OwnData(None)) == []
    assert logged(Regressor(MLP(2, [2], 1)), OwnData(None).train_dataloader()) == []


@pytest.mark.parametrize("digest", ["", "a" * 37, 12])
def test_a_digest_that_cannot_be_kept_is_an_error(logged: Callable[..., Any], digest: Any) -> None:
    with pytest.raises(DataError, match=r"OwnData\.fingerprints\(\) gives .* as the digest of train; expected"):
        logged(Regressor(MLP(2, [2], 1)), OwnData({"train": Own(digest)}))


def test_without_a_logger_that_keeps_data_sets_the_warning_comes_all_the_same(logged: Callable[..., Any]) -> None:
    leaking = OwnData({"train": Own(), "val": Own(duplicates={"train": 2})})
    with pytest.warns(UserWarning, match="OwnData: 2 of the 3 val samples also occur in train"):
        logged(Regressor(MLP(2, [2], 1)), leaking, logger=False)


def test_a_resumed_run_logs_the_same_again(logged: Callable[..., Any], tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, "kept", every_n_epochs=1)
    module = Classifier(MLP(64, [8], 10))
    first = logged(module, DigitsData(layout="flat"), callbacks=[keep], enable_checkpointing=True)
    again = logged(module, DigitsData(layout="flat"), ckpt_path=tmp_path / "kept.ckpt", max_epochs=2)
    assert first == again != []


def test_the_sentence_on_leakage() -> None:
    clean = SplitFingerprint("a", 10, duplicates={"train": 0})
    assert leakage({"train": SplitFingerprint("b", 20, duplicates={"val": 0}), "val": clean}) is None
    val = SplitFingerprint("a", 10, duplicates={"train": 1}, examples={"train": ["x.jpg"]})
    test = SplitFingerprint("a", 9, duplicates={"train": 2, "val": 9})
    told = leakage({"train": SplitFingerprint("b", 20, duplicates={"val": 1, "test": 2}), "val": val, "test": test})
    assert told is not None
    assert told.startswith("1 of the 10 val samples (x.jpg) and 2 of the 9 test samples also occur in train, so")


def test_the_profile_is_plain() -> None:
    facts = SplitFingerprint("a", 10, {"ant": 4, "bee": 6}, {"val": 1}, 2, {"val": ["x"]}, "here")
    assert profile(facts) == {
        "samples": 10,
        "class_counts": {"ant": 4, "bee": 6},
        "duplicates": {"val": 1},
        "duplicates_within": 2,
    }
