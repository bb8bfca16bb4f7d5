from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from plt_nn.data import EpochBatches, SyntheticRegressionData, TensorBatches
from plt_nn.data.tensors import TensorData, TensorSplit
from plt_nn.errors import DataError

X = torch.arange(100.0).unsqueeze(1)
Y = torch.arange(100)


def test_rows_and_indices_belong_together() -> None:
    loader = TensorBatches(X, Y, EpochBatches(100, 32, shuffle=True))
    batches = list(loader)
    assert [len(batch.y) for batch in batches] == [32, 32, 32, 4]
    assert len(loader) == 4
    for x, y, index in batches:
        assert isinstance(x, torch.Tensor)
        assert torch.equal(x, X[index])
        assert torch.equal(y, Y[index])
    assert [batch.index.tolist() for batch in batches] == [draw.indices for draw in loader.sampler]


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_evaluation_batches_are_views_of_the_data(rank: int) -> None:
    for x, y, index in TensorBatches(X, Y, EpochBatches(100, 8, rank, 3)):
        assert isinstance(x, torch.Tensor)
        assert torch.equal(x, X[index])
        assert x.untyped_storage().data_ptr() == X.untyped_storage().data_ptr()
        assert y.untyped_storage().data_ptr() == Y.untyped_storage().data_ptr()


def test_an_absent_split_is_named_with_the_remedy() -> None:
    with pytest.raises(DataError, match=r"no test split \(there are: train\): set test_fraction above 0"):
        in_memory(Y, {"test": 0.0}).test_dataloader()
    with pytest.raises(DataError, match=r"no test split \(there are: train\)\.$"):
        in_memory(Y, {}).test_dataloader()


def test_classes_are_counted_by_split() -> None:
    data = in_memory(torch.tensor([0, 2, 2]), {})
    assert (data.num_classes, data.class_counts) == (None, None)
    data.class_names = list("abcd")
    assert (data.num_classes, data.class_counts) == (4, {"train": [1, 0, 2, 0]})


def in_memory(y: torch.Tensor, fractions: dict[str, float]) -> TensorData:
    data = TensorData(32, fractions)
    data.splits = {"train": TensorSplit(X[: len(y)], y)}
    return data


def test_lightning_takes_the_loader_as_it_is(trainer: Callable[..., Trainer], recorder: Callable[..., Any]) -> None:
    module, data = recorder(), SyntheticRegressionData()
    runner = trainer(max_epochs=2, num_sanity_val_steps=1)
    runner.fit(module, data)
    assert isinstance(runner.train_dataloader, TensorBatches)
    assert [len(indices) for indices in module.indices("train")] == [32, 32, 32, 4] * 2
    assert module.indices("train")[:4] != module.indices("train")[4:]  # set_epoch was called
    assert module.indices("val")[1] == list(range(100))
    runner.validate(module, data, verbose=False)
    predicted = runner.predict(module, data)
    assert predicted is not None
    assert torch.equal(torch.cat([part for part in predicted if isinstance(part, torch.Tensor)]), torch.arange(100))


def test_overfitting_repeats_the_same_batches(trainer: Callable[..., Trainer], recorder: Callable[..., Any]) -> None:
    module = recorder()
    trainer(max_epochs=2, overfit_batches=2).fit(module, SyntheticRegressionData())
    seen = module.indices("train")
    assert len(seen) == 4
    assert seen[:2] == seen[2:]
    assert seen[0] != sorted(seen[0])  # a mixed sample, not the first rows


@pytest.mark.parametrize("steps", [6, 8, 9])  # in the middle, at the end, at the beginning of an epoch of 4
@pytest.mark.parametrize("validation", [True, False])
def test_a_resumed_run_reads_what_the_whole_run_would_have(
    trainer: Callable[..., Trainer], recorder: Callable[..., Any], tmp_path: Path, steps: int, validation: bool
) -> None:
    options = {"max_epochs": 4, "limit_val_batches": 2 if validation else 0}
    whole = recorder()
    trainer(**options).fit(whole, SyntheticRegressionData())
    saver = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=steps, save_top_k=-1)
    trainer(**options | {"max_steps": steps, "enable_checkpointing": True, "callbacks": [saver]}).fit(
        recorder(), SyntheticRegressionData()
    )
    resumed = recorder()
    path = tmp_path / f"step={steps}.ckpt"
    trainer(**options).fit(resumed, SyntheticRegressionData(), ckpt_path=path, weights_only=True)
    assert resumed.indices("train") == whole.indices("train")[steps:]
    assert resumed.scale.item() == whole.scale.item()
