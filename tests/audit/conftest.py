"""Photographs with faults that were put there, and pictures of our own."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plt_nn.audit.audit import Audit, audit
from plt_nn.data.class_folders import survey_class_folders


@dataclass
class Planted:
    """The photographs, and what was done to them: names of files within the folder."""

    root: Path
    flipped: set[str] = field(default_factory=set)
    exact: list[tuple[str, str]] = field(default_factory=list)
    near: list[tuple[str, str]] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)


def plant(photos: Path, root: Path, flips: bool = True) -> Planted:
    """Copies the photographs, and puts faults among them.

    5 % flipped labels, 10 files of val in train as well, 3 of val in train resized and of another quality, and 2 that
    cannot be read.
    """
    shutil.copytree(photos, root, ignore=shutil.ignore_patterns("*.md"))
    draw = random.Random(0)
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
    planted = Planted(root)
    if flips:
        for name in draw.sample(files, len(files) // 20):
            split, label, file = name.split("/")
            moved = f"{split}/{'bees' if label == 'ants' else 'ants'}/{file}"
            (root / name).rename(root / moved)
            planted.flipped.add(moved)
            files[files.index(name)] = moved
    chosen = draw.sample([name for name in files if name.startswith("val/") and name not in planted.flipped], 13)
    for number, name in enumerate(chosen[:10]):
        copy = f"train/{name.split('/')[1]}/copied{number}.jpg"
        shutil.copy(root / name, root / copy)
        planted.exact.append((name, copy))
    for number, (name, scale, quality) in enumerate(zip(chosen[10:], (0.5, 0.25, 1), (90, 60, 25), strict=True)):
        copy = f"train/{name.split('/')[1]}/near{number}.jpg"
        with Image.open(root / name) as image:
            image.resize((int(image.width * scale), int(image.height * scale))).save(root / copy, quality=quality)
        planted.near.append((name, copy))
    whole = (root / chosen[0]).read_bytes()
    for name, content in (("train/ants/cut.jpg", whole[: len(whole) // 2]), ("val/bees/text.jpg", b"no image")):
        (root / name).write_bytes(content)
        planted.unreadable.add(name)
    return planted


@pytest.fixture(scope="session")
def planted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """The photographs with faults. To be read only."""
    return plant(photos, tmp_path_factory.mktemp("planted") / "photos")


def audited(root: Path, val: float = 0.2, test: float = 0.0, seed: int = 0) -> Audit:
    """The audit of a folder by its files."""
    return audit(root, survey_class_folders(root, val, test, seed))


def told(audit: Audit, kind: str) -> list[str]:
    """What an audit says of a kind of finding."""
    return [f"{finding.severity}: {finding.sentence}" for finding in audit.findings if finding.kind == kind]


@pytest.fixture
def noise() -> Callable[..., Path]:
    """Writes an image that is like no other, large enough to have detail."""

    def write(path: Path, seed: int, side: int = 48, mode: str = "RGB") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).convert(mode).save(path)
        return path

    return write
