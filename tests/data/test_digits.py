from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from plt_nn.backbones import Preprocessing, create_backbone
from plt_nn.data import DigitsData
from plt_nn.errors import ConfigError, DataError

RAW = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def set_up(**arguments: Any) -> DigitsData:
    data = DigitsData(**arguments)
    data.setup()
    return data


def test_the_scans_are_whole_and_split_by_digit() -> None:
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    digits = sklearn_datasets.load_digits()
    data = set_up(preprocessing=RAW, test_fraction=0.1)
    assert {name: len(split.x) for name, split in data.splits.items()} == {"train": 1259, "val": 359, "test": 179}
    total = torch.cat([split.x for split in data.splits.values()]).sum()
    assert total.item() == pytest.approx(digits.images.sum() / 16, rel=1e-5)
    assert data.class_counts is not None
    assert [sum(counts) for counts in zip(*data.class_counts.values(), strict=True)] == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180
    ]  # fmt: skip
    assert torch.equal(data.splits["val"].x, set_up(preprocessing=RAW, test_fraction=0.1).splits["val"].x)
    assert not torch.equal(data.splits["val"].y, set_up(test_fraction=0.1, split_seed=1).splits["val"].y)


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({}, (1, 8, 8)),
        ({"image_size": 20, "channels": 3}, (3, 20, 20)),
        ({"layout": "rows"}, (8, 8)),
        ({"layout": "flat"}, (64,)),
    ],
)
def test_layouts(arguments: dict[str, Any], shape: tuple[int, ...]) -> None:
    data = set_up(**arguments)
    x, y = data.splits["train"]
    assert x.shape[1:] == shape
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert x.is_contiguous()
    flat = set_up(layout="flat").splits["train"].x
    if x[0].numel() == 64:
        assert torch.allclose(x.flatten(1), flat)
        assert (x.mean().item(), x.std().item()) == pytest.approx((0.0, 1.0), abs=1e-4)


def test_enlarged_scans_stay_in_range_and_keep_their_picture() -> None:
    small = set_up(preprocessing=RAW).splits["val"].x
    large = set_up(preprocessing=RAW, image_size=32, channels=3).splits["val"].x
    assert large.min() >= 0.0
    assert large.max() <= 1.0
    assert torch.equal(large[:, 0], large[:, 2])
    back = torch.nn.functional.avg_pool2d(large[:, :1], 4)
    assert torch.corrcoef(torch.stack([back.flatten(), small.flatten()]))[0, 1] > 0.97


def test_a_backbone_decides_the_normalisation(trainer: Callable[..., Trainer], recorder: Callable[..., Any]) -> None:
    net = create_backbone("timm/tf_efficientnet_lite0", pretrained=False, num_classes=10)
    data = DigitsData(channels=3, image_size=16)
    trainer(limit_train_batches=1, limit_val_batches=1).fit(recorder(net), data)
    raw = set_up(channels=3, image_size=16, preprocessing=RAW)
    assert torch.allclose(data.splits["val"].x, (raw.splits["val"].x - 0.5) / 0.5, atol=1e-6)


def test_one_channel_takes_the_mean_of_the_three() -> None:
    x = set_up(preprocessing=Preprocessing(mean=(0.2, 0.3, 0.4), std=(0.5, 0.5, 0.5))).splits["val"].x
    assert torch.allclose(x, (set_up(preprocessing=RAW).splits["val"].x - 0.3) / 0.5, atol=1e-6)


def test_it_trains(trainer: Callable[..., Trainer], recorder: Callable[..., Any]) -> None:
    module, data = recorder(), DigitsData(batch_size=64)
    trainer(limit_train_batches=2).fit(module, data)
    assert isinstance(module.seen["train"][0].x, Tensor)
    assert module.seen["train"][0].x.shape == (64, 1, 8, 8)
    assert module.read("val") == list(range(359))
    facts = data.describe()
    assert (facts["train_samples"], facts["val_samples"], data.num_classes) == (1438, 359, 10)
    assert data.class_names[3] == "3"
    trainer().predict(module, data)
    assert module.read("predict") == list(range(359))
    with pytest.raises(DataError, match="set test_fraction above 0"):
        trainer().test(module, data)


def test_nothing_held_out(trainer: Callable[..., Trainer], recorder: Callable[..., Any]) -> None:
    module = recorder()
    trainer(limit_train_batches=1).fit(module, DigitsData(val_fraction=0.0))
    assert module.seen["val"] == []


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="image_size is 4; the scans have 8 pixels a side"):
        DigitsData(image_size=4)
    with pytest.raises(ConfigError, match="layout 'rows' needs the 8x8 scans"):
        DigitsData(layout="rows", image_size=16)
    with pytest.raises(ConfigError, match=r"val_fraction=1\.2"):
        DigitsData(val_fraction=1.2)


def test_a_missing_scikit_learn_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="DigitsData needs scikit-learn: pip install scikit-learn"):
        set_up()
