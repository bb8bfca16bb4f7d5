"""The page as text: it needs nothing else, and what files are called cannot act in it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from plt_nn.audit import page as module
from plt_nn.audit.page import page
from tests.audit.conftest import Planted, audited

Write = Callable[..., Path]
EVIL = "<script>alert(1)<|script><img src=x onerror=alert(1)>\"'"  # as the name of a file can be


def test_what_files_are_called_is_shown_and_never_acts(tmp_path: Path, noise: Write) -> None:
    for number in range(4):
        noise(tmp_path / EVIL / f"{EVIL}{number}.png", number // 2)
        noise(tmp_path / "b" / f"{number}.png", 10 + number)
    (tmp_path / EVIL / f"{EVIL}.png").write_bytes(b"")
    text = page(audited(tmp_path))
    assert "alert(1)" in text
    assert "<script" not in text
    assert "onerror=alert(1)>" not in text
    assert all(source.startswith("data:image/jpeg") for source in re.findall(r'<img src="([^"]*)"', text))


def test_nothing_is_asked_from_anywhere(planted: Planted) -> None:
    text = page(audited(planted.root))
    assert re.search(r'(src|href)="(?!#|data:)', text) is None
    assert "default-src 'none'" in text
    assert "@import" not in text
    assert "url(" not in text
    assert str(planted.root.parent.parent) not in re.sub(r'<p class="lead">.*?</p>', "", text, flags=re.DOTALL)


def test_every_duplicate_is_seen_beside_its_original(planted: Planted) -> None:
    text = page(audited(planted.root))
    sets = re.findall(r'<div class="set".*?</div>', text, re.DOTALL)
    assert len(sets) == 13
    assert all(len(re.findall("<img ", each)) == 2 for each in sets)
    for pair in planted.exact + planted.near:
        assert any(all(name in re.sub("<wbr>", "", each) for name in pair) for each in sets)
    assert "not an image that Pillow can read" in text


def test_pictures_are_bounded(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(page(audited(planted.root))) < 60 * 15_000
    monkeypatch.setattr(module, "_MOST", 5)
    assert "26 images, the first 5 of them shown" in page(audited(planted.root))


def test_an_image_that_has_gone_since_is_told(tmp_path: Path, noise: Write) -> None:
    for name in ("ant", "bee"):
        for number in range(2):
            noise(tmp_path / name / f"{number}.png", 0)
    audit = audited(tmp_path)
    (tmp_path / "ant" / "0.png").unlink()
    assert "No such file" in page(audit)
