"""With `FrozenFeatureCache` a fit is the fit without it, step by step; only the frozen part runs once a sample."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn import Classifier, DigitsData, FreezingSchedule, ImageFolderData, Phase
from plt_nn.callbacks import StepSeeds
from plt_nn.features import rows
from plt_nn.features.feature_loader import FeatureLoader
from plt_nn.features.lazy_inputs import LazyInputs
from tests import warm
from tests.callbacks.feature_cache.cached_fits import (
    SAMPLES,
    Computed,
    Pictures,
    cache,
    fit,
    loaders,
    plain_fit,
    plain_losses,
    same,
)

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

pytestmark = pytest.mark.usefixtures("caching_pays")


@pytest.mark.parametrize("mode", MODES)
def test_it_changes_nothing_and_a_second_run_computes_nothing(mode: str, tmp_path: Path) -> None:
    plain, expected = fit(None, **MODES[mode]) if MODES[mode] else plain_fit()
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


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_is_the_one_that_was_not_interrupted(workers: int, tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, auto_insert_metric_name=False)
    plain, expected = fit(None, data=loaders(workers)) if workers else plain_fit()
    fit(cache(tmp_path), callbacks=(keep,), data=loaders(workers), enable_checkpointing=True)
    for epoch in (0, 3) if workers == 0 else (3,):
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


@pytest.mark.parametrize("arguments", [{"reuse": False}, {"dtype": "float16"}, {"dtype": "bfloat16", "reuse": False}])
def test_in_memory_and_in_half_the_space(arguments: dict[str, Any], tmp_path: Path) -> None:
    plain = plain_losses(HEAD)
    cached, _ = fit(cache(tmp_path, **arguments), phases=HEAD)
    assert cached == pytest.approx(plain, rel=0.05)
    assert (cached == plain) == ("dtype" not in arguments)
    assert (tmp_path / "features").exists() == arguments.get("reuse", True)
    if "dtype" in arguments:  # what is rounded is rounded from the first epoch on
        assert fit(cache(tmp_path, **arguments), phases=HEAD)[0] == cached


def test_more_than_the_memory_allows_is_trained_from_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = 0
    release = rows._Column.release

    def counted(column: rows._Column) -> None:
        nonlocal released
        released += 1
        release(column)

    monkeypatch.setattr(rows._Column, "release", counted)
    features = cache(tmp_path)
    features._most_in_memory = 1000  # of 5,376 bytes
    assert fit(features, phases=HEAD)[0] == plain_losses(HEAD)
    assert released > 0


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
    assert again == plain_losses()


@pytest.fixture
def few_photos(photos: Path, tmp_path: Path) -> Path:
    """Twenty-four photographs for training and twelve for validation."""
    for split, most in (("train", 12), ("val", 6)):
        for kind in sorted((photos / split).iterdir()):
            (tmp_path / "photos" / split / kind.name).mkdir(parents=True)
            for file in sorted(kind.iterdir())[:most]:
                (tmp_path / "photos" / split / kind.name / file.name).symlink_to(file)
    return tmp_path / "photos"


@pytest.mark.photos
@pytest.mark.slow
def test_photographs_and_the_pretrained_net(few_photos: Path, tmp_path: Path) -> None:
    from plt_nn import create_backbone

    def run(views: int | None, features: bool, epochs: int) -> tuple[Classifier, Computed]:
        torch.manual_seed(0)
        net = create_backbone("timm/tf_efficientnet_lite0", pretrained="package:efficientnet-lite0")
        module = Classifier(net)
        augment: list[Any] | None = None if views else []
        data = ImageFolderData(few_photos, image_size=64, augment=augment, num_workers=1, batch_size=8)
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
    assert computed.samples == 24 + 12 + 2
    _, computed = run(2, True, 4)
    assert computed.samples == 2 * 24 + 1, "two views of each, and the validation images that are there already"


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


def test_a_logger_of_the_plan_reads_no_inputs(tmp_path: Path) -> None:
    class Looks(Callback):
        looked = 0

        def on_train_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            self.looked += isinstance(batch[0], LazyInputs) and batch[0].was_read

    fit(cache(tmp_path), phases=HEAD)
    looks = Looks()
    fit(cache(tmp_path), phases=HEAD, callbacks=(looks,), data=(loaders()[0], DataLoader(TensorDataset(*_val()), 8)))
    assert looks.looked == 0


def _val() -> tuple[Tensor, ...]:
    data: Any = loaders()[1].dataset
    tensors: tuple[Tensor, ...] = data.tensors
    return tensors
