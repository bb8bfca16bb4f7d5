import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from plt_nn.audit.page import page
from plt_nn.audit.tables import as_json, as_markdown
from plt_nn.fingerprint.identity import files_identity
from tests.audit.conftest import Planted, audited, told

Write = Callable[..., Path]


def test_unreadable_files_are_named_with_their_reasons(planted: Planted) -> None:
    (sentence,) = told(audited(planted.root), "unreadable")
    assert sentence.startswith("warning: 2 images of 413 cannot be read: cut.jpg (image file is truncated")
    assert "text.jpg (not an image that Pillow can read)" in sentence


def test_a_class_of_which_nothing_can_be_read(tmp_path: Path, noise: Write) -> None:
    noise(tmp_path / "ant" / "0.png", 0)
    noise(tmp_path / "ant" / "1.png", 1)
    (tmp_path / "bee").mkdir()
    for number in range(2):
        (tmp_path / "bee" / f"{number}.png").write_bytes(b"")
    assert "error: No training image of bee can be read." in told(audited(tmp_path), "unreadable")


def test_what_cannot_be_trained_on_is_told_and_the_rest_is_audited(tmp_path: Path, noise: Write) -> None:
    noise(tmp_path / "ant" / "0.png", 0)
    (tmp_path / "bee").mkdir()
    noise(tmp_path / "loose.png", 1)
    audit = audited(tmp_path)
    told_of = " ".join(told(audit, "layout"))
    assert "1 image outside any class" in told_of
    assert "No image in" in told_of
    assert "Too few samples of the class(es) 'ant' (1 of 'ant')" in told_of
    assert audit.images.readable.tolist() == [True]
    assert {finding.severity for finding in audit.findings if finding.kind == "layout"} == {"error"}


def test_a_hundred_classes_of_two_images(tmp_path: Path, noise: Write) -> None:
    for number in range(200):
        noise(tmp_path / f"class{number // 2:02}" / f"{number}.png", number)
    audit = audited(tmp_path)
    assert len(audit.images.paths) == 200
    (few,) = told(audit, "few images")
    assert "100 of 100 classes have fewer than 10 training images: class00 (1)" in few
    assert audit.duplicates.groups == ()


def test_uneven_classes(tmp_path: Path, noise: Write) -> None:
    for number in range(60):
        noise(tmp_path / ("ant" if number < 50 else "bee") / f"{number}.png", number)
    (uneven,) = told(audited(tmp_path, val=0.0), "balance")
    assert uneven == "warning: ant has 5 times as many training images as bee: 50 and 10."


def test_odd_sizes_the_worst_first(tmp_path: Path, noise: Write) -> None:
    for number, side in enumerate((48, 31, 20, 48)):
        noise(tmp_path / "ant" / f"{number}.png", number, side=side)
    with Image.open(noise(tmp_path / "bee" / "0.png", 9)) as image:
        image.resize((400, 50)).save(tmp_path / "bee" / "1.png")
    small, long = [finding for finding in audited(tmp_path).findings if finding.kind == "sizes"]
    assert small.sentence == "2 images with a side under 32 pixels, down to 20 x 20."
    assert len(small.rows) == 2
    assert long.sentence == "1 image more than 4 times as long as wide, up to 400 x 50."


def test_what_gives_the_class_away(tmp_path: Path, noise: Write) -> None:
    for number in range(20):
        noise(tmp_path / "ant" / f"{number}.png", number, mode="L")
        noise(tmp_path / "bee" / f"{number}.png", 50 + number, side=64)
    size, colour = told(audited(tmp_path), "shortcut")
    assert size.startswith("warning: The size of an image reveals its class: 100%")
    assert colour.startswith("warning: 20 images of 40 without colour. That reveals the class: 100%")


def test_grey_images_in_every_class_are_a_note(tmp_path: Path, noise: Write) -> None:
    for number in range(20):
        for name, seed in (("ant", number), ("bee", 50 + number)):
            noise(tmp_path / name / f"{number}.png", seed, mode="L" if number % 2 else "RGB")
    audit = audited(tmp_path)
    assert told(audit, "colours") == ["note: 20 images of 40 without colour."]
    assert told(audit, "shortcut") == []


def test_images_of_one_colour(tmp_path: Path, noise: Write) -> None:
    noise(tmp_path / "ant" / "0.png", 0)
    Image.new("L", (50, 50), 7).save(tmp_path / "ant" / "1.png")
    audit = audited(tmp_path)
    (finding,) = [finding for finding in audit.findings if finding.kind == "nothing to see"]
    assert [audit.name(row) for row in finding.rows] == ["ant/1.png"]


def test_images_that_training_passes_over(tmp_path: Path, noise: Write) -> None:
    noise(tmp_path / "ant" / "0.png", 0)
    noise(tmp_path / "ant" / "1.gif", 1)
    for name in ("a.HEIC", "b.heic", "notes.txt", ".hidden.gif"):
        (tmp_path / "ant" / name).write_bytes(b"")
    noise(tmp_path / ".cache" / "2.gif", 2)
    assert told(audited(tmp_path), "ignored files") == ["warning: Files of kinds that are ignored: 2 .heic, 1 .gif."]


def test_a_name_that_is_no_text_is_told_as_well_as_can_be(tmp_path: Path, noise: Write) -> None:
    file = noise(tmp_path / "ant" / "0.png", 0)
    file.rename(Path(os.fsdecode(os.fsencode(file.parent) + b"/\xe9.png")))
    audit = audited(tmp_path)
    assert audit.name(0) == "ant/\ufffd.png"
    page(audit).encode("utf-8")


def test_classes_and_damaged_files_whose_names_are_no_text(tmp_path: Path, noise: Write) -> None:
    named = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    for number in range(3):
        noise(tmp_path / "ant" / f"{number}.png", number)
        noise(named / f"{number}.png", 10 + number)
    (named / os.fsdecode(b"x\xff.png")).write_bytes(b"no image")
    audit = audited(tmp_path)
    assert audit.folders.class_names == ["ant", "caf\ufffd"]
    (told_of,) = told(audit, "unreadable")
    assert "x\ufffd.png" in told_of
    for text in (page(audit), as_markdown(audit), as_json(audit)):
        text.encode("utf-8")
    assert len(files_identity(list(named.iterdir()))) == 64
