import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, TensorDataset

from plt_nn.data import EpochBatches
from plt_nn.data.sampling import batches_in_work, run_seed, sampler_for
from plt_nn.errors import ConfigError, DataError

sizes = st.integers(1, 200)
worlds = st.integers(1, 9)
batch_sizes = st.integers(1, 40)


def drawn(sampler: EpochBatches) -> list[list[int]]:
    return [indices for _, indices in sampler]


def on_all_ranks(size: int, batch_size: int, world: int, **options: Any) -> list[list[list[int]]]:
    return [drawn(EpochBatches(size, batch_size, rank, world, **options)) for rank in range(world)]


@given(sizes, batch_sizes, worlds, st.integers(0, 5))
def test_training_batches_of_all_ranks_are_those_of_one_process(size: int, batch: int, world: int, seed: int) -> None:
    ranks = on_all_ranks(size, batch, world, shuffle=True, seed=seed)
    one = drawn(EpochBatches(size, batch * world, shuffle=True, seed=seed))
    assert len({tuple(map(len, rank)) for rank in ranks}) == 1  # the same batch sizes everywhere
    for k, whole in enumerate(one[:-1]):
        assert sorted(whole) == sorted(index for rank in ranks for index in rank[k])
    everything = [index for rank in ranks for indices in rank for index in indices]
    assert set(everything) == set(range(size))
    assert len(everything) == math.ceil(size / world) * world  # padded no further than needed


@given(sizes, batch_sizes, worlds)
def test_evaluation_reads_each_sample_once_in_as_many_batches_on_every_rank(size: int, batch: int, world: int) -> None:
    if size < world:
        with pytest.raises(DataError, match="use fewer processes"):
            on_all_ranks(size, batch, world)
        return
    ranks = on_all_ranks(size, batch, world)
    assert [index for rank in ranks for indices in rank for index in indices] == list(range(size))
    assert {len(rank) for rank in ranks} == {len(EpochBatches(size, batch, 0, world))}
    lengths = [len(indices) for rank in ranks for indices in rank]
    assert min(lengths) >= 1
    assert max(lengths) <= (batch if batch > 1 or size % world == 0 else 2)


@given(sizes, worlds, st.integers(0, 5))
def test_training_reads_in_the_order_of_the_distributed_sampler(size: int, world: int, epoch: int) -> None:
    for rank in range(world):
        theirs: DistributedSampler[int] = DistributedSampler(TensorDataset(torch.empty(size)), world, rank, seed=2)
        ours = EpochBatches(size, 7, rank, world, shuffle=True, seed=2)
        for sampler in (theirs, ours):
            sampler.set_epoch(epoch)
        assert [index for indices in drawn(ours) for index in indices] == list(theirs)


def test_training_keeps_the_short_last_batch() -> None:
    sampler = EpochBatches(100, 32, shuffle=True)
    assert [len(indices) for indices in drawn(sampler)] == [32, 32, 32, 4]
    assert len(sampler) == 4


def test_evaluation_batches_are_near_equal() -> None:
    assert [len(indices) for indices in drawn(EpochBatches(100, 32))] == [25, 25, 25, 25]


def test_each_epoch_and_seed_has_its_own_order_and_a_repeat_has_the_same() -> None:
    def order(epoch: int, seed: int) -> list[list[int]]:
        sampler = EpochBatches(50, 50, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return drawn(sampler)

    assert order(1, seed=3) == order(1, seed=3)
    assert len({str(order(*key)) for key in [(0, 3), (1, 3), (0, 7)]}) == 3


def test_a_draw_names_its_epoch() -> None:
    sampler = EpochBatches(4, 2, shuffle=True)
    sampler.set_epoch(7)
    assert [epoch for epoch, _ in sampler] == [7, 7]


def test_a_loaded_state_is_resumed_once_and_in_its_epoch_only() -> None:
    sampler = EpochBatches(10, 2, shuffle=True)
    sampler.set_epoch(3)
    whole = drawn(sampler)
    sampler.load_state_dict({"epoch": 3, "done": 2})
    assert drawn(sampler) == whole[2:]
    assert drawn(sampler) == whole
    sampler.load_state_dict({"epoch": 2, "done": 2})
    assert drawn(sampler) == whole


def test_a_batch_in_work_comes_again() -> None:
    sampler = EpochBatches(10, 2, shuffle=True, in_work=lambda: 1)
    sampler.set_epoch(1)
    whole = drawn(sampler)
    sampler.done = 3  # handed out
    state = sampler.state_dict()
    resumed = EpochBatches(10, 2, shuffle=True)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state, "before it has begun it is where it was"
    resumed.set_epoch(1)
    assert drawn(resumed) == whole[2:]


def test_a_new_epoch_has_not_begun() -> None:
    sampler = EpochBatches(10, 2, shuffle=True)
    sampler.set_epoch(1)
    sampler.done = 5
    sampler.set_epoch(1)
    assert sampler.state_dict() == {"epoch": 1, "done": 5}
    sampler.set_epoch(2)
    assert sampler.state_dict() == {"epoch": 2, "done": 0}


def test_with_the_same_order_an_epoch_is_resumed_as_any_other() -> None:
    sampler = EpochBatches(10, 2, shuffle=True, same_every_epoch=True)
    sampler.load_state_dict({"epoch": 1, "done": 2})
    sampler.set_epoch(2)
    assert len(drawn(sampler)) == 5


def test_the_same_order_every_epoch_on_request() -> None:
    sampler = EpochBatches(50, 50, shuffle=True, same_every_epoch=True)
    first = drawn(sampler)
    sampler.set_epoch(5)
    assert drawn(sampler) == first


def test_a_batch_size_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size is 0; it must be at least 1"):
        EpochBatches(10, 0)


def test_the_seed_is_that_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    assert run_seed() == 0
    monkeypatch.setenv("PL_GLOBAL_SEED", "11")
    assert sampler_for(None, 10, 2, training=True).seed == 11


def test_a_trainer_gives_rank_world_and_overfitting(trainer: Callable[..., Trainer]) -> None:
    sampler = sampler_for(trainer(overfit_batches=1), 10, 2, training=True)
    assert (sampler.rank, sampler.num_replicas, sampler.same_every_epoch) == (0, 1, True)


class Unsized(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.arange(5))


class Counting(LightningModule):
    """Notes, while and after each step, how many batches are in work, and how many Lightning itself has fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, int]] = []

    def note(self) -> None:
        loop: Any = self.trainer.fit_loop
        fetcher = loop._data_fetcher
        truth = fetcher.fetched - loop.epoch_loop.batch_progress.current.processed
        self.seen.append((batches_in_work(self.trainer), truth))

    def training_step(self, batch: object, batch_idx: int) -> Tensor:
        self.note()
        return self.weight

    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        self.note()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("is_sized", [True, False])
def test_what_lightning_fetches_ahead_is_in_work(is_sized: bool, tmp_path: Path) -> None:
    module = Counting()
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = Trainer(accelerator="cpu", max_epochs=2, default_root_dir=tmp_path, **quiet)  # type: ignore[arg-type]
    trainer.fit(module, DataLoader(range(5) if is_sized else Unsized(), 1))  # type: ignore[arg-type]
    assert len(module.seen) == 20
    assert [ours for ours, _ in module.seen] == [lightnings for _, lightnings in module.seen]
    assert max(ours for ours, _ in module.seen) == (1 if is_sized else 2)
