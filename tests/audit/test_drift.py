from collections.abc import Callable
from pathlib import Path

import numpy as np

from plt_nn.audit.audit import with_features
from tests.audit.conftest import audited, told

Write = Callable[..., Path]


def folder(root: Path, noise: Write, *, val: tuple[int, int] = (20, 20), side: int = 48, mode: str = "RGB") -> Path:
    for split, counts in (("train", (20, 20)), ("val", val)):
        for name, count in zip(("ant", "bee"), counts, strict=True):
            for number in range(count):
                own = {"side": side, "mode": mode} if split == "val" else {}
                seed = 1000 * (split == "val") + 100 * (name == "bee") + number
                noise(root / split / name / f"{number}.png", seed, **own)
    return root


def test_splits_of_a_kind_have_no_drift(tmp_path: Path, noise: Write) -> None:
    audit = audited(folder(tmp_path, noise))
    features = np.random.default_rng(0).normal(size=(80, 10))
    assert told(with_features(audit, features, "noise"), "drift") == []


def test_other_shares_of_the_classes(tmp_path: Path, noise: Write) -> None:
    (finding,) = told(audited(folder(tmp_path, noise, val=(36, 4))), "drift")
    assert "The shares of the classes differ between val and train, by 40% in all." in finding


def test_other_sizes_and_no_colour(tmp_path: Path, noise: Write) -> None:
    sizes, colours = told(audited(folder(tmp_path, noise, side=96, mode="L")), "drift")
    assert "96 and 48 pixels a side" in sizes
    assert "100% of images in val are without colour, and 0% of those in train" in colours


def test_what_is_shown_differs(tmp_path: Path, noise: Write) -> None:
    audit = audited(folder(tmp_path, noise))
    features = np.random.default_rng(0).normal(size=(80, 10))
    features[audit.images.splits == 1, 3] += 4
    audit = with_features(audit, features, "noise")
    (finding,) = told(audit, "drift")
    assert "The contents of val differ from those of train" in finding
    assert audit.drifts[0].auc is not None
    assert audit.drifts[0].auc > 0.9


def test_one_grey_image_of_five_is_chance(tmp_path: Path, noise: Write) -> None:
    for number in range(20):
        noise(tmp_path / "train" / ("ant" if number % 2 else "bee") / f"{number}.png", number)
    for number in range(5):
        mode = "L" if number == 0 else "RGB"
        noise(tmp_path / "val" / ("ant" if number % 2 else "bee") / f"{number}.png", 100 + number, mode=mode)
    audit = audited(tmp_path)
    assert audit.drifts[0].grey == (0, 0.2)
    assert told(audit, "drift") == []


def test_a_split_drawn_by_seed_is_not_compared(tmp_path: Path, noise: Write) -> None:
    root = folder(tmp_path, noise) / "train"
    assert audited(root).drifts == ()
