"""With `FrozenFeatureCache` a fit is the fit without it, step by step; only the frozen part runs once a sample."""

import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from plt_nn import Classifier, DigitsData, FreezingSchedule, FrozenFeatureCache, ImageFolderData, Phase, StepSeeds
from plt_nn.errors import ConfigError
from plt_nn.features.costs import Costs
from plt_nn.features.deferred import Deferred
from plt_nn.features.loader import FeatureLoader
from plt_nn.features.rows import RowStore
from tests import warm
from tests.callbacks.cached_fits import SAMPLES, Computed, Pictures, fit, loaders

HEAD = (Phase("head"),)
MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "own order": {"seeds": False},
    "accumulation and clipping": {"accumulate_grad_batches": 4, "gradient_clip_val": 0.1},
    "bf16": {"precision": "bf16-mixed"},
    "a phase in the middle of an epoch": {"phases": (Phase("head"), Phase("last 1 stages", start="15 steps"))},
    "several validations an epoch": {"val_check_interval": 2},
    "few batches": {"limit_train_batches": 3, "limit_val_batches": 1},
    "steps": {"max_steps": 20, "max_epochs": -1},
}


def cache(folder: Path, **arguments: Any) -> FrozenFeatureCache:
    return FrozenFeatureCache(folder=str(folder / "features"), **arguments)


@pytest.fixture(autouse=True)
def _pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """These nets are so small that it hangs on what else the machine has to do whether it would pay."""
    monkeypatch.setattr(Costs, "pays", lambda costs: True)


def same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("mode", MODES)
def test_it_changes_nothing_and_a_second_run_computes_nothing(mode: str, tmp_path: Path) -> None:
    plain, expected = fit(None, **MODES[mode])
    with Computed() as first:
        cached, found = fit(cache(tmp_path), **MODES[mode])
    with Computed() as second:
        again, found_again = fit(cache(tmp_path), **MODES[mode])
    assert cached == plain
    assert again == plain
    assert same(found, expected)
    assert same(found_again, expected)
    assert first.samples > 0
    assert second.samples == 0 or mode == "few batches"  # which are others when another phase has come


def test_each_sample_is_computed_once_a_phase(tmp_path: Path) -> None:
    with Computed() as computed:
        fit(cache(tmp_path))
    alone = 4  # one sample of each loader in each phase, to see that samples do not depend on each other
    assert computed.samples == 2 * (SAMPLES + 20) + alone


def test_another_learning_rate_or_seed_of_the_head_uses_what_is_there(tmp_path: Path) -> None:
    class Faster(Pictures):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=0.1)

    fit(cache(tmp_path), phases=HEAD)
    with Computed() as computed:
        plain, _ = fit(None, Faster(), phases=HEAD)
        cached, _ = fit(cache(tmp_path), Faster(), phases=HEAD)
    assert cached == plain
    assert computed.samples == 0


def test_what_is_stale_is_never_used(tmp_path: Path) -> None:
    def other() -> Pictures:
        module = Pictures()
        with torch.no_grad():
            module.get_parameter("backbone.0.0.weight")[0, 0, 0, 0] += 0.5
        return module

    fit(cache(tmp_path), phases=HEAD)
    with Computed() as computed:
        cached, _ = fit(cache(tmp_path), other(), phases=HEAD)
    assert computed.samples > 0
    assert cached == fit(None, other(), phases=HEAD)[0]
    train, val = loaders()
    changed: Any = train.dataset
    changed.tensors[0][0] += 1
    cached, _ = fit(cache(tmp_path), phases=HEAD, data=(train, val))
    assert cached == fit(None, phases=HEAD, data=(train, val))[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_is_the_one_that_was_not_interrupted(workers: int, tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, auto_insert_metric_name=False)
    plain, expected = fit(None, data=loaders(workers))
    fit(cache(tmp_path), callbacks=(keep,), data=loaders(workers), enable_checkpointing=True)
    for epoch in (0, 3):
        rest, found = fit(cache(tmp_path), data=loaders(workers), ckpt_path=tmp_path / f"{epoch}.ckpt")
        assert rest[-10:] == plain[-10:]
        assert same(found, expected)


def digits_fit(
    folder: Path | None, phases: Sequence[Phase], max_epochs: int, keep: Path | None = None, ckpt: Path | None = None
) -> Classifier:
    """A fit of our own module on our own data, whose loaders can be resumed in mid-epoch."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10))
    module, callbacks = Classifier(net), [FreezingSchedule(phases), StepSeeds()]
    more: list[Callback] = [*callbacks, *([cache(folder)] if folder else [])]
    more += [ModelCheckpoint(keep, "{step}", every_n_train_steps=7, save_top_k=-1)] if keep else []
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=max_epochs,
        callbacks=more,
        logger=False,
        enable_checkpointing=keep is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, datamodule=DigitsData(layout="flat", batch_size=128), ckpt_path=ckpt, weights_only=True)
    return module


def test_a_run_resumed_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    phases = (Phase("head"), Phase("all", start="18 steps", lr_scale=0.1))
    expected = digits_fit(None, phases, 2, keep=tmp_path / "plain")
    assert same(digits_fit(tmp_path, phases, 2, keep=tmp_path / "cached"), expected)
    for checkpoint in sorted((tmp_path / "cached").glob("*.ckpt")):
        assert same(digits_fit(tmp_path, phases, 2, ckpt=checkpoint), expected), checkpoint.name


class Views(Dataset[tuple[Tensor, int]]):
    """Samples that are another each time."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return 16

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        self.read.append(number)
        return torch.rand(1, 6, 6), number % 3


def test_samples_that_are_read_at_random_are_not_kept(tmp_path: Path, info: list[str]) -> None:
    train = DataLoader(Views(), 8)
    plain, _ = fit(None, phases=HEAD, data=(train, loaders()[1]), seeds=False)
    cached, _ = fit(cache(tmp_path), phases=HEAD, data=(train, loaders()[1]), seeds=False)
    assert cached == plain
    assert any("training samples are not kept: they are read at random; views=K keeps" in line for line in info)
    assert any("Features of the validation samples are kept" in line for line in info)


def test_a_step_that_looks_at_the_inputs_gets_them(tmp_path: Path, info: list[str]) -> None:
    class Mixed(Pictures):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            mixed: Tensor = self.head(self.backbone(0.5 * batch[0] + 0.5 * batch[0].flip(0)))
            return loss + 0.1 * mixed.square().mean()

    plain, expected = fit(None, Mixed(), phases=HEAD)
    fit(cache(tmp_path), Mixed(), phases=HEAD)
    cached, found = fit(cache(tmp_path), Mixed(), phases=HEAD)
    assert cached == plain
    assert same(found, expected)
    assert any("are not kept: the training step looks at the inputs itself" in line for line in info)


@pytest.mark.parametrize("arguments", [{"reuse": False}, {"dtype": "float16"}, {"dtype": "bfloat16", "reuse": False}])
def test_in_memory_and_in_half_the_space(arguments: dict[str, Any], tmp_path: Path) -> None:
    plain, _ = fit(None, phases=HEAD)
    cached, _ = fit(cache(tmp_path, **arguments), phases=HEAD)
    assert cached == pytest.approx(plain, rel=0.05)
    assert (cached == plain) == ("dtype" not in arguments)
    assert (tmp_path / "features").exists() == arguments.get("reuse", True)
    if "dtype" in arguments:  # what is rounded is rounded from the first epoch on
        assert fit(cache(tmp_path, **arguments), phases=HEAD)[0] == cached


def test_more_than_the_memory_allows_is_trained_from_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = 0
    release = RowStore._release

    def counted(store: RowStore) -> None:
        nonlocal released
        released += 1
        release(store)

    monkeypatch.setattr(RowStore, "_release", counted)
    features = cache(tmp_path)
    features._most_in_memory = 1000  # of 5,376 bytes
    assert fit(features, phases=HEAD)[0] == fit(None, phases=HEAD)[0]
    assert released > 0


def test_where_it_would_not_pay_it_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, info: list[str]) -> None:
    monkeypatch.setattr(Costs, "pays", lambda costs: False)
    plain, expected = fit(None)
    cached, found = fit(cache(tmp_path))
    assert cached == plain
    assert same(found, expected)
    assert any("are not kept: it would not pay (" in line for line in info)


def test_it_can_be_switched_off(tmp_path: Path, info: list[str]) -> None:
    with Computed() as computed:
        assert fit(cache(tmp_path, enabled=False), phases=HEAD)[0] == fit(None, phases=HEAD)[0]
    assert (computed.samples, info) == (0, [])


def test_a_single_pass_is_not_kept(tmp_path: Path, info: list[str]) -> None:
    with Computed() as computed:
        fit(cache(tmp_path), phases=(Phase("head"), Phase("all", start=1)))
    assert computed.samples == 0
    assert any("seen only once before more is trained" in line for line in info)


def test_a_full_disk_costs_the_features_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, info: list[str]
) -> None:
    def full(store: RowStore, rows: Tensor, tensors: Sequence[Tensor]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    plain, _ = fit(None)
    monkeypatch.setattr(RowStore, "put", full)
    assert fit(cache(tmp_path))[0] == plain
    assert any("are not kept: No space left on device" in line for line in info)


def test_a_folder_that_cannot_be_made_is_replaced_by_memory(tmp_path: Path, info: list[str]) -> None:
    (tmp_path / "features").write_text("a file in its place")
    assert fit(cache(tmp_path), phases=HEAD)[0] == fit(None, phases=HEAD)[0]
    assert any(" in memory; " in line for line in info)


def test_damaged_features_are_computed_again(tmp_path: Path) -> None:
    plain, _ = fit(cache(tmp_path), phases=HEAD)
    for file in (tmp_path / "features").rglob("column0.bin"):
        content = bytearray(file.read_bytes())
        content[100] ^= 255
        file.write_bytes(content)
    with Computed() as computed:
        assert fit(cache(tmp_path), phases=HEAD)[0] == plain
    assert 0 < computed.samples <= 16, "the batches of one sample of each loader"


def test_an_average_of_the_weights_has_a_forward_pass_of_its_own(tmp_path: Path) -> None:
    def average() -> tuple[Callback, ...]:
        return (WeightAveraging(avg_fn=lambda average, new, count: 0.9 * average + 0.1 * new),)

    plain, expected = fit(None, callbacks=average())
    cached, found = fit(cache(tmp_path), callbacks=average())
    assert cached == plain
    assert same(found, expected)


def test_all_is_given_back(tmp_path: Path) -> None:
    class Broken(Pictures):
        def on_train_epoch_end(self) -> None:
            assert "forward" in vars(self.backbone), "taken over"
            if self.current_epoch == 1:
                raise RuntimeError("out of order")

    module = Broken()
    with pytest.raises(RuntimeError, match="out of order"):
        fit(cache(tmp_path), module)
    assert "forward" not in vars(module.backbone)
    assert not isinstance(module.trainer.train_dataloader, FeatureLoader)
    again = fit(None, module.__class__.__mro__[1]())[0]
    assert again == fit(None)[0]


def test_a_compiled_net_is_left_alone(tmp_path: Path, info: list[str]) -> None:
    module = Pictures()
    compiled: Any = torch.compile(module.backbone, backend="eager")
    module.backbone = compiled
    with Computed() as computed:
        fit(cache(tmp_path), module, phases=HEAD, max_epochs=2)
    assert computed.samples == 0
    assert "Features are not kept: the net is compiled." in info


def test_wrong_arguments_are_told_together() -> None:
    with pytest.raises(ConfigError, match=r"views is 0; expected .* dtype is 'int8'; .* memory_megabytes is 0;"):
        FrozenFeatureCache(views=0, dtype="int8", memory_megabytes=0)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=r"has no net with parameters in an attribute 'backbon'\. Did you mean 'backbone'"
    ):
        fit(FrozenFeatureCache(net="backbon"), phases=HEAD)


@pytest.mark.photos
@pytest.mark.slow
def test_photographs_and_the_pretrained_net(photos: Path, tmp_path: Path) -> None:
    from plt_nn import create_backbone

    def run(views: int | None, features: bool, epochs: int) -> tuple[Classifier, Computed]:
        torch.manual_seed(0)
        net = create_backbone("timm/tf_efficientnet_lite0", pretrained="package:efficientnet-lite0")
        module = Classifier(net)
        data = ImageFolderData(photos, image_size=64, augment=None if views else [], num_workers=1)
        callbacks = [FreezingSchedule(HEAD), StepSeeds(), *([cache(tmp_path, views=views)] if features else [])]
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with Computed() as computed:
            trainer.fit(module, datamodule=data)
        return module, computed

    plain, _ = run(None, False, 3)
    cached, computed = run(None, True, 3)
    assert same(cached, plain)
    assert computed.samples == 245 + 153 + 2
    _, computed = run(2, True, 4)
    assert computed.samples == 2 * 245 + 1, "two views of each, and the validation images that are there already"


@pytest.mark.slow
@pytest.mark.multiprocess
def test_two_processes_share_what_each_has_computed(tmp_path: Path) -> None:
    done = warm.run_ranks(2, [Path(__file__).with_name("cached_fits.py"), tmp_path])
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    for rank in ranks:
        assert rank["cached"] == rank["plain"]
        assert rank["again"] == rank["plain"]
        assert rank["computed"][1] == 0
    assert ranks[0]["weights"] == ranks[1]["weights"]
    both = sum(rank["computed"][0] for rank in ranks)
    assert both <= 2 * (SAMPLES + 20 + 8), "each computes its share; one may be ahead of the other by a batch"


@pytest.fixture
def info(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said to people."""
    lines: list[str] = []
    monkeypatch.setattr("plt_nn.callbacks.frozen_feature_cache.rank_zero_info", lines.append)
    return lines


def test_a_logger_of_the_plan_reads_no_inputs(tmp_path: Path) -> None:
    class Looks(Callback):
        looked = 0

        def on_train_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            self.looked += isinstance(batch[0], Deferred) and batch[0].looked_at

    fit(cache(tmp_path), phases=HEAD)
    looks = Looks()
    fit(cache(tmp_path), phases=HEAD, callbacks=(looks,), data=(loaders()[0], DataLoader(TensorDataset(*_val()), 8)))
    assert looks.looked == 0


def _val() -> tuple[Tensor, ...]:
    data: Any = loaders()[1].dataset
    tensors: tuple[Tensor, ...] = data.tensors
    return tensors


class Frozen(Pictures):
    """Its backbone is frozen for good."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone.requires_grad_(False)

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test_loss", self.training_step(batch, batch_idx))


@pytest.mark.parametrize("verb", ["test", "validate"])
def test_a_second_test_computes_nothing(verb: str, tmp_path: Path) -> None:
    loader, results, computed = loaders()[1], [], []
    for callbacks in ([], [cache(tmp_path)], [cache(tmp_path)]):
        trainer = Trainer(
            callbacks=list[Callback](callbacks),
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            barebones=False,
            enable_model_summary=False,
        )
        module = Frozen()
        with Computed() as frozen:
            results.append(getattr(trainer, verb)(module, loader, verbose=False))
        computed.append(frozen.samples)
        assert "forward" not in vars(module.backbone)
    assert results[0] == results[1] == results[2]
    assert (computed[0], computed[2]) == (0, 0)
    assert computed[1] >= 14
