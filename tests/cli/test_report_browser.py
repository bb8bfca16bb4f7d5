"""The report in a real browser, as a file; `ui/test_browser.py` sees it within the MLflow UI."""

import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from plt_nn.reports.page import page as page_of
from tests.cli.chromium import CHROMIUM, SECONDS
from tests.reports.test_page import EVIL, report

STEPS = 10_000
SCREENSHOTS = os.environ.get("PLT_NN_SCREENSHOTS")  # a folder in which to keep them, to be looked at

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"),
]

CONTRAST = """
() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(colour) && colour !== "transparent") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  const texts = "h1, h2, p, th, td, li, figcaption, small, button, label, legend, summary";
  for (const element of document.querySelectorAll(texts)) {
    if (!element.checkVisibility() || !element.textContent.trim()) continue;
    const ground = behind(element), ink = getComputedStyle(element).color;
    if (!ground.startsWith("rgb")) continue;
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), element.tagName, element.textContent.trim().slice(0, 30)]);
  }
  return found.sort((x, y) => x[0] - y[0]);
}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of three runs of 10,000 steps, with names that would act if they could."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(page_of(report(EVIL, count=3, steps=STEPS)), "utf-8")
    return file


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a file; at the end, that the page has asked nobody and complained of nothing."""
    asked: list[str] = []
    complaints: list[str] = []
    contexts = []

    def open_(file: Path, **options: Any) -> Page:
        context = browser.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 900}), **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SECONDS)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        page.goto(file.as_uri())
        page.locator("html[data-ready]").wait_for(state="attached")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert sum(url.startswith("file:") for url in asked) == len(contexts), "only the page itself"
    assert complaints == []


def drawn(page: Page, plot: str) -> Any:
    """What a plot shows: of each line its name, number of points, and ends."""
    page.locator(f"#{plot}").scroll_into_view_if_needed()
    page.locator(f"#{plot}[data-drawn] .main-svg").first.wait_for()
    return page.locator(f"#{plot}").evaluate(
        "plot => plot.data.map(line => [line.x.length, line.x[0], line.x[line.x.length - 1], Math.min(...line.y)])"
    )


def keep(page: Page, name: str, tmp_path: Path) -> bytes:
    picture = page.screenshot(path=Path(SCREENSHOTS or tmp_path) / f"{name}.png", full_page=True)
    assert len(zlib.compress(picture)) > 10_000, "something is to be seen"
    return picture


def test_the_page_draws_all_runs_sorts_its_tables_and_is_told_in_words(
    visit: Callable[..., Page], file: Path, tmp_path: Path
) -> None:
    page = visit(file)
    all_is_told_in_words(page)
    tables_are_sorted_by_value(page)
    runs_can_be_put_away(page, tmp_path)
    a_closer_look_shows_every_point(page)


def runs_can_be_put_away(page: Page, tmp_path: Path) -> None:
    lines = drawn(page, "curves-0")
    ends = [[begin, end] for count, begin, end, _ in lines if count > 1]
    assert ends == [[0, STEPS - 1]] * 3
    assert all(100 < count < STEPS for count, *_ in lines if count > 1), "no more points than can be seen"
    keep(page, "report", tmp_path)

    chips = page.locator(".chip")
    expect(chips).to_have_count(3)
    chips.nth(0).focus()
    page.keyboard.press("Enter")
    expect(chips.nth(0)).to_have_attribute("aria-pressed", "false")
    assert sum(count > 1 for count, *_ in drawn(page, "curves-0")) == 2
    page.get_by_role("button", name="Hide all").click()
    assert drawn(page, "curves-0") == []
    page.get_by_role("button", name="Show all").click()
    assert sum(count > 1 for count, *_ in drawn(page, "curves-0")) == 3
    page.get_by_label("logarithmic").check()
    assert page.locator("#curves-0").evaluate("plot => plot.layout.yaxis.type") == "log"
    page.get_by_label("logarithmic").uncheck()


def a_closer_look_shows_every_point(page: Page) -> None:
    drawn(page, "curves-0")
    page.evaluate("() => Plotly.relayout('curves-0', {'xaxis.range[0]': 5000, 'xaxis.range[1]': 5100})")
    page.wait_for_function("() => document.getElementById('curves-0').data[0].x.length < 110")
    x, y = page.locator("#curves-0").evaluate("plot => [plot.data[0].x, plot.data[0].y]")
    inside = [(step, value) for step, value in zip(x, y, strict=True) if 5000 <= step <= 5100]
    assert [step for step, _ in inside] == list(range(5000, 5101))
    known = np.linspace(1, 0.1, STEPS)[5000:5101].astype(np.float32)
    np.testing.assert_allclose([value for _, value in inside], known, rtol=1e-6)


def tables_are_sorted_by_value(page: Page) -> None:
    best = page.locator("#table thead button", has_text="best val_loss")
    cells = page.locator("#table tbody tr td:nth-child(3)")
    best.focus()
    page.keyboard.press("Enter")
    assert cells.all_inner_texts() == ["0.1", "1.1", "2.1"]
    page.keyboard.press("Enter")
    assert cells.all_inner_texts() == ["2.1", "1.1", "0.1"]
    expect(page.locator("#table th[aria-sort=descending]")).to_have_count(1)
    best.press("Enter")
    assert cells.all_inner_texts() == ["0.1", "1.1", "2.1"]


def all_is_told_in_words(page: Page) -> None:
    plots = page.locator(".plot").all()
    assert plots
    assert all(len(plot.get_attribute("aria-label") or "") > 20 for plot in plots)
    assert page.locator("img:not([alt])").count() == 0
    order = []
    for _ in range(8):
        page.keyboard.press("Tab")
        order.append(page.evaluate("() => document.activeElement.className || document.activeElement.tagName"))
    assert order[0] == "skip"
    assert "BUTTON" in order, "the tables' heads can be reached"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_light_and_dark(visit: Callable[..., Page], file: Path, tmp_path: Path, scheme: str) -> None:
    page = visit(file, color_scheme=scheme)
    drawn(page, "curves-0")
    keep(page, scheme, tmp_path)
    worst = page.evaluate(CONTRAST)[0]
    assert worst[0] >= 4.5, f"WCAG AA asks for 4.5: {worst}"
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
    before = page.locator("#curves-0").evaluate("plot => plot.data[0].line.color")
    page.emulate_media(color_scheme="light" if scheme == "dark" else "dark")
    page.wait_for_function("old => document.getElementById('curves-0').data[0].line.color !== old", arg=before)


def test_it_fits_on_a_phone(visit: Callable[..., Page], file: Path, tmp_path: Path) -> None:
    page = visit(file, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    drawn(page, "curves-0")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    keep(page, "phone", tmp_path)
