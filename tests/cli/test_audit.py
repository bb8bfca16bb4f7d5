"""`plt-nn audit` as a user calls it, on photographs with planted faults and real weights, and its page in a browser."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from tests.audit.conftest import Planted, plant
from tests.cli.chromium import CHROMIUM, SECONDS
from tests.cli.conftest import Completed
from tests.cli.test_report_browser import CONTRAST

Call = Callable[..., Completed]
NET = "timm/tf_efficientnet_lite0=package:efficientnet-lite0"
SCREENSHOTS = os.environ.get("PLT_NN_SCREENSHOTS")  # a folder in which to keep them, to be looked at


@pytest.fixture(scope="module")
def planted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """The photographs with faults. To be read only."""
    return plant(photos, tmp_path_factory.mktemp("planted") / "photos")


@pytest.fixture(scope="module")
def done(planted: Planted, process: Call, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Completed]:
    """A folder with the page of an audit, and what that printed as JSON."""
    folder = tmp_path_factory.mktemp("audited")
    words = ("--data.root", planted.root, "--backbone", NET, "--html", "audit.html", "--format", "json")
    return folder, process("audit", *words, folder=folder)


def test_planted_faults_are_found(planted: Planted, done: tuple[Path, Completed]) -> None:
    folder, completed = done
    assert completed.returncode == 0, completed.stderr
    told = json.loads(completed.stdout)
    assert {entry["file"] for entry in told["unreadable"]} == planted.unreadable
    groups = {frozenset(file["file"] for file in group["files"]) for group in told["duplicates"]}
    assert groups >= {frozenset(pair) for pair in planted.exact + planted.near}
    doubted = told["labels_in_doubt"]
    tenth = {entry["file"] for entry in doubted["ranked"][: doubted["judged"] // 10]}
    assert len(tenth & planted.flipped) >= len(planted.flipped) / 2
    assert told["features_of"] == "tf_efficientnet_lite0, 128 px"
    assert told["drift"][0]["auc"] is not None
    assert (folder / "mlruns" / "features").is_dir()


@pytest.mark.parametrize(("strict", "status"), [((), 0), (("--strict",), 1)])
def test_strict_is_about_duplicates_across_splits(
    strict: tuple[str, ...], status: int, planted: Planted, photos: Path, call: Call
) -> None:
    shown = call("audit", "--data.root", planted.root, "--no-features", *strict)
    assert shown.returncode == status
    assert "error: duplicates across splits" in shown.stdout
    assert "13 of 154 images in val are in train as well" in shown.stdout
    assert ("13 pictures in more than one split" in shown.stderr) == bool(strict)
    assert call("audit", "--data.root", photos, "--no-features", *strict).returncode == 0


def test_markdown(planted: Planted, call: Call) -> None:
    shown = call("audit", "--data.root", planted.root, "--no-features", "--format", "md").stdout
    assert "| class | train | val |\n| --- | ---: | ---: |\n| ants |" in shown
    assert "- **error: duplicates across splits.** 13 of 154" in shown


def test_the_librarys_judgement_is_ours(photos: Path, here: Path, call: Call) -> None:
    for name in ("ants", "bees"):
        (here / "few" / name).mkdir(parents=True)
        for file in sorted((photos / "train" / name).iterdir())[:25]:
            shutil.copy(file, here / "few" / name)
    first, second = sorted((here / "few").glob("*/*.jpg"))[::49]
    first.rename(here / "few" / "bees" / first.name)
    second.rename(here / "few" / "ants" / second.name)
    words = ("audit", "--data.root", "few", "--backbone", NET, "--image-size", "64", "--format", "json")
    own, theirs = (json.loads(call(*words, *more).stdout)["labels_in_doubt"] for more in ((), ("--cleanlab",)))
    assert own == theirs
    assert own["flagged"] > 0


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ([], 2, "--data.root"),
        (["--data.root", "fotos"], 1, "Did you mean 'photos'?"),
        (["--data.root", "photos"], 1, "has no class folders"),
        (["--data.root", "photos", "--html", "nowhere/a.html"], 2, "there is no folder"),
        (["--data.root", "photos", "--data.val_fraction", "1.5"], 2, "val_fraction"),
        (["--data.root", "photos", "--image-size", "big"], 2, "'big'; expected a whole number of pixels"),
        (["--data.root", "photos", "--device", "cuda"], 2, "there is no GPU"),
        (["--data.root", "one", "--backbone", "timm/resnet5O"], 2, "Did you mean"),
    ],
)
def test_mistakes_are_told(words: list[str], status: int, told: str, photos: Path, here: Path, call: Call) -> None:
    (here / "photos").mkdir()
    (here / "one" / "ants").mkdir(parents=True)
    shutil.copy(next(photos.glob("train/ants/*.jpg")), here / "one" / "ants")
    shown = call("audit", *words)
    assert shown.returncode == status
    assert told in shown.stderr
    assert "Traceback" not in shown.stderr


def test_one_image_is_audited_as_far_as_can_be(photos: Path, here: Path, call: Call) -> None:
    (here / "one" / "ants").mkdir(parents=True)
    shutil.copy(next(photos.glob("train/ants/*.jpg")), here / "one" / "ants")
    shown = call("audit", "--data.root", "one", "--backbone", NET, "--image-size", "64", "--html", "one.html")
    assert shown.returncode == 0, shown.stderr
    assert "There is only one class, 'ants'." in shown.stdout
    assert "The labels of 1 image in classes with fewer than 3 were not judged." in shown.stdout
    assert (here / "one.html").read_text().endswith("</html>")


def visited(browser: Browser, file: Path, complaints: list[str], asked: list[str], **options: Any) -> Page:
    page = browser.new_page(**options)
    page.set_default_timeout(SECONDS)
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    return page


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")
@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
def test_the_page_in_a_browser(
    scheme: str, width: int, done: tuple[Path, Completed], browser: Browser, tmp_path: Path
) -> None:
    complaints: list[str] = []
    asked: list[str] = []
    options = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    page = visited(browser, done[0] / "audit.html", complaints, asked, **options)
    seen = "images => images.every(image => image.complete && image.naturalWidth > 0)"
    assert page.locator("details[open] img").count() >= 26
    assert page.locator("details[open] img").evaluate_all(seen)
    assert page.locator("img:not([alt])").count() == 0
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert min(contrast for contrast, *_ in page.evaluate(CONTRAST)) >= 4.5
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is None
    page.screenshot(path=Path(SCREENSHOTS or tmp_path) / f"audit-{scheme}-{width}.png", full_page=True)
    page.close()
    assert [url for url in asked if not url.startswith("data:")] == [(done[0] / "audit.html").as_uri()]
    assert complaints == []


def test_without_weights_at_hand_the_files_are_audited(
    planted: Planted, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plt_nn.advice.candidates.weights_at_hand", list)
    shown = call("audit", "--data.root", planted.root)
    assert shown.returncode == 0
    assert "no pretrained weights are at hand (--backbone NAME" in shown.stderr
    assert "Labels were not judged" in shown.stdout


def test_a_hundred_classes_of_two_images(here: Path, call: Call) -> None:
    for number in range(200):
        file = here / "many" / f"class{number // 2:02}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(file)
    shown = call("audit", "--data.root", "many", "--backbone", NET, "--image-size", "64", "--format", "json")
    assert shown.returncode == 0, shown.stderr
    told = json.loads(shown.stdout)
    assert (told["labels_in_doubt"]["judged"], told["labels_in_doubt"]["not_judged"]) == (0, 200)
    assert any("100 of 100 classes have fewer than 10" in finding["sentence"] for finding in told["findings"])
