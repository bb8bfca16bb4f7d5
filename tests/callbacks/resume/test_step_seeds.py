"""A resumed run draws the random numbers that it would have drawn; what is no fit is left alone."""

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from plt_nn.callbacks.resume.step_seeds import Purpose, StepSeeds, step_seed
from plt_nn.data import EpochBatches, TensorBatches
from tests import warm

numbers = st.integers(0, 2**63 - 1)
places = st.tuples(
    numbers, st.integers(0, 10_000), numbers, numbers, st.sampled_from(["fit", "epoch", "fetch", "step", "validation"])
)


@given(places, places)
def test_each_place_has_its_own_seed(
    a: tuple[int, int, int, int, Purpose], b: tuple[int, int, int, int, Purpose]
) -> None:
    assert 0 <= step_seed(*a) < 2**64
    assert (step_seed(*a) == step_seed(*b)) == (a == b)


def test_the_seed_of_a_place_is_the_same_in_every_process_and_version() -> None:
    assert step_seed(42, 1, 3, 17, "step") == 6934914788624802168


def test_neighbouring_places_have_unrelated_seeds() -> None:
    low_bits = [step_seed(0, 0, 0, batch, "step") % 2**32 for batch in range(10_000)]  # all that torch's CPU takes
    assert len(set(low_bits)) == len(low_bits)
    assert np.mean(low_bits) / 2**32 == pytest.approx(0.5, abs=0.02)


class Numbers(Dataset[Tensor]):
    """Samples with noise of every generator, as augmentation has it; the first value of a row is its index."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor([index, torch.rand(()).item(), np.random.rand(), random.random()])


class Stranger(LightningModule):
    """Knows nothing of plt_nn; learns with dropout, and keeps the batches it is given."""

    def __init__(self, noise: float = 0.1) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, 1))
        for number, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
        self.noise = noise
        self.seen: list[Tensor] = []
        self.drawn: list[float] = []  # by validation

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        return batch + self.noise * torch.rand(()) if self.trainer.training else batch

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen.append(batch)
        loss: Tensor = self.net(batch / 12).square().mean()
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        drawn = torch.rand(()).item()
        if not self.trainer.sanity_checking:  # which comes again when a run is resumed at an epoch's end
            self.drawn.append(drawn)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def loader(workers: int = 0, **options: Any) -> DataLoader[Tensor]:
    return DataLoader(Numbers(), batch_size=4, shuffle=True, num_workers=workers, **options)


def fit(
    folder: Path, train: Any, ckpt: Path | None = None, *, with_seeds: bool = True, noise: float = 0.1, **arguments: Any
) -> Stranger:
    """Fits with a checkpoint at each epoch's end and at each step."""
    module = Stranger(noise)
    keep: dict[str, Any] = {"dirpath": folder, "save_top_k": -1, "auto_insert_metric_name": False}
    end = ModelCheckpoint(filename="end{step}", save_on_train_epoch_end=True, **keep)
    step = ModelCheckpoint(filename="step{step}", every_n_train_steps=1, **keep)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    seeds = [StepSeeds()] if with_seeds else []
    trainer = Trainer(**{"max_epochs": 4, **quiet, **arguments}, callbacks=[end, step, *seeds])
    trainer.fit(module, train, DataLoader(Numbers(), 6), ckpt_path=ckpt, weights_only=True)
    return module


def same(resumed: Stranger, whole: Stranger) -> bool:
    """Whether the resumed run read what the whole one read last, and has come to the same weights."""
    read = whole.seen[-len(resumed.seen) :]
    same_batches = all(torch.equal(a, b) for a, b in zip(resumed.seen, read, strict=True))
    drawn = whole.drawn[len(whole.drawn) - len(resumed.drawn) :]
    return (
        same_batches
        and drawn == resumed.drawn
        and all(torch.equal(a, whole.state_dict()[name]) for name, a in resumed.state_dict().items())
    )


@pytest.fixture(autouse=True)
def no_seed_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


@pytest.mark.parametrize("options", [{}, {"workers": 2}], ids=str)
def test_a_plain_module_and_loader_resumed_at_an_epochs_end(tmp_path: Path, options: dict[str, Any]) -> None:
    torch.manual_seed(5)
    whole = fit(tmp_path, loader(**options))
    assert len({tuple(batch[:, 0].int().tolist()) for batch in whole.seen}) > 6, "the order is another in each epoch"
    for end in ("end3", "end6", "step6"):
        torch.manual_seed(6)  # a process that begins anew
        resumed = fit(tmp_path / "resumed", loader(**options), tmp_path / f"{end}.ckpt")
        assert len(resumed.seen) == 12 - int(end[-1])
        assert same(resumed, whole)


@pytest.mark.parametrize("workers", [0, 1])
def test_without_the_callback_a_resumed_run_is_another(tmp_path: Path, workers: int) -> None:
    torch.manual_seed(5)
    whole = fit(tmp_path, loader(workers), with_seeds=False)
    torch.manual_seed(6)
    assert not same(fit(tmp_path / "resumed", loader(workers), tmp_path / "end6.ckpt", with_seeds=False), whole)


class Rows(TensorBatches):
    """Draws a number for each batch in the training process, as augmentation without workers does."""

    def __iter__(self) -> Any:
        for x, _, _ in super().__iter__():
            assert isinstance(x, Tensor)
            yield x + torch.rand(())


class Restless(TensorBatches):
    """Draws numbers for what it skips when it is resumed."""

    def __iter__(self) -> Any:
        torch.rand(self.sampler.state_dict()["done"])
        for x, _, _ in super().__iter__():
            yield x


@pytest.mark.parametrize("step", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", [Rows, Restless])
def test_a_resumable_loader_in_the_middle_of_an_epoch(tmp_path: Path, kind: type[TensorBatches], step: int) -> None:
    def train() -> TensorBatches:
        x = torch.rand(12, 4, generator=torch.Generator().manual_seed(0))
        return kind(x, x, EpochBatches(12, 4, shuffle=True))

    options: dict[str, Any] = {"val_check_interval": 2, "noise": 0.1 if kind is Rows else 0.0}
    torch.manual_seed(5)
    whole = fit(tmp_path, train(), **options)
    torch.manual_seed(6)
    resumed = fit(tmp_path / "resumed", train(), tmp_path / f"step{step}.ckpt", **options)
    assert len(resumed.seen) == 12 - step
    assert same(resumed, whole)


def test_what_validation_draws_does_not_matter(tmp_path: Path) -> None:
    runs = []
    for number, batches in enumerate((0, 1, 2)):
        torch.manual_seed(5)
        runs.append(fit(tmp_path / str(number), loader(), limit_val_batches=batches, val_check_interval=1))
        runs[-1].drawn.clear()
    assert same(runs[0], runs[1])
    assert same(runs[1], runs[2])


def test_the_runs_seed_is_the_given_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "11")
    torch.manual_seed(5)
    first = fit(tmp_path / "first", loader(), max_epochs=1)
    torch.manual_seed(6)
    assert same(fit(tmp_path / "again", loader(), max_epochs=1), first)
    monkeypatch.setenv("PL_GLOBAL_SEED", "12")
    assert not same(fit(tmp_path / "other", loader(), max_epochs=1), first)


def test_evaluation_outside_of_a_fit_is_left_alone() -> None:
    def after(callbacks: list[Any]) -> tuple[Tensor, float, float]:
        torch.manual_seed(5)
        np.random.seed(5)
        random.seed(5)
        quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
        Trainer(**quiet, callbacks=callbacks).validate(Stranger(), DataLoader(Numbers(), 4), verbose=False)
        return torch.rand(3), np.random.rand(), random.random()

    plain, seeded = after([]), after([StepSeeds()])
    assert torch.equal(plain[0], seeded[0])
    assert plain[1:] == seeded[1:]


@pytest.mark.slow
@pytest.mark.multiprocess
def test_two_processes(tmp_path: Path) -> None:
    """One seed for the run, other numbers on each process, and the resumed epoch's own order, with workers too."""
    job = Path(__file__).with_name("step_seeds_job.py")
    environment = {name: value for name, value in os.environ.items() if name != "PL_GLOBAL_SEED"}
    done = warm.run_ranks(2, [job, tmp_path], env=environment | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first["seed"] == second["seed"]
    assert first["resumed seed"] == second["resumed seed"] == first["seed"]
    for facts in (first, second):
        assert facts["resumed"] == facts["whole"][-len(facts["resumed"]) :]
        assert facts["resumed weights"] == facts["weights"]
    assert first["weights"] == second["weights"]
    assert all(a["drawn"] != b["drawn"] for a, b in zip(first["whole"], second["whole"], strict=True))
    assert all(set(a["read"]).isdisjoint(b["read"]) for a, b in zip(first["whole"], second["whole"], strict=True))
