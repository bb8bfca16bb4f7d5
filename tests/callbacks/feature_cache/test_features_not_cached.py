"""Where features are not cached, training continues as without them, and a line says why."""

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from plt_nn import FrozenFeatureCache, Phase
from plt_nn.errors import ConfigError
from plt_nn.features.costs import Costs
from plt_nn.features.rows import RowStore
from tests.callbacks.feature_cache.cached_fits import (
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

pytestmark = pytest.mark.usefixtures("caching_pays")


class Views(Dataset[tuple[Tensor, int]]):
    """Samples that are another each time."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return 16

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        self.read.append(number)
        return torch.rand(1, 6, 6), number % 3


def test_samples_that_are_read_at_random_are_not_cached(tmp_path: Path, info: list[str]) -> None:
    train = DataLoader(Views(), 8)
    plain, _ = fit(None, phases=HEAD, data=(train, loaders()[1]), seeds=False)
    cached, _ = fit(cache(tmp_path), phases=HEAD, data=(train, loaders()[1]), seeds=False)
    assert cached == plain
    assert any("training samples are not cached: they are read at random." in line for line in info)
    assert any("Features of the validation samples are cached" in line for line in info)


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
    assert any("are not cached: the training step looks at the inputs itself" in line for line in info)


def test_where_it_would_not_pay_it_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, info: list[str]) -> None:
    monkeypatch.setattr(Costs, "pays", lambda costs: False)
    plain, expected = plain_fit()
    cached, found = fit(cache(tmp_path))
    assert cached == plain
    assert same(found, expected)
    assert any("are not cached: it would not pay (" in line for line in info)


def test_it_can_be_switched_off(tmp_path: Path, info: list[str]) -> None:
    with Computed() as computed:
        assert fit(cache(tmp_path, enabled=False), phases=HEAD)[0] == plain_losses(HEAD)
    assert (computed.samples, info) == (0, [])


def test_a_single_pass_is_not_cached(tmp_path: Path, info: list[str]) -> None:
    with Computed() as computed:
        fit(cache(tmp_path), phases=(Phase("head"), Phase("all", start=1)))
    assert computed.samples == 0
    assert any("seen only once before more is trained" in line for line in info)


def test_a_full_disk_costs_the_features_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, info: list[str]
) -> None:
    def full(store: RowStore, rows: Tensor, tensors: Sequence[Tensor]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    plain = plain_losses()
    monkeypatch.setattr(RowStore, "put", full)
    assert fit(cache(tmp_path))[0] == plain
    assert any("are not cached: No space left on device" in line for line in info)


def test_a_folder_that_cannot_be_made_is_replaced_by_memory(tmp_path: Path, info: list[str]) -> None:
    (tmp_path / "features").write_text("a file in its place")
    assert fit(cache(tmp_path), phases=HEAD)[0] == plain_losses(HEAD)
    assert any(" in memory; " in line for line in info)


def test_a_compiled_net_is_left_alone(tmp_path: Path, info: list[str]) -> None:
    module = Pictures()
    compiled: Any = torch.compile(module.backbone, backend="eager")
    module.backbone = compiled
    with Computed() as computed:
        fit(cache(tmp_path), module, phases=HEAD, max_epochs=2)
    assert computed.samples == 0
    assert "Features are not cached: the net is compiled." in info


def test_wrong_arguments_are_told_together() -> None:
    with pytest.raises(ConfigError, match=r"(?s)views is 0; expected .* dtype is 'int8'; .* memory_megabytes is 0;"):
        FrozenFeatureCache(views=0, dtype="int8", memory_megabytes=0)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=r"has no net with parameters in an attribute 'backbon'\. Did you mean 'backbone'"
    ):
        fit(FrozenFeatureCache(net="backbon"), phases=HEAD)
