"""The UI in a real browser: what a person sees of two runs, and that nothing of it leaves this machine."""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mlflow.entities import LoggedModelOutput, Metric, Param
from mlflow.tracking import MlflowClient
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from plt_nn.reports.page import page as page_of
from plt_nn.tracking import store_at
from tests import warm
from tests.cli.chromium import CHROMIUM, SECONDS
from tests.ports import free_port
from tests.reports.test_page import report

NAMES = ["head only", "whole net"]
STEPS = 200

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"),
]

# What Plotly was given to draw in a card, and what it drew: the name, the number of points, the last height.
DRAWN = """
plots => plots.map(plot => ({
    metric: plot.data[0].metricKey,
    runs: plot.data.map(line => [line.name, line.x.length, line.y[line.y.length - 1]]),
    paths: [...plot.querySelectorAll('.scatterlayer .trace path.js-line')].map(path => path.getAttribute('d').length),
    legend: plot.closest('[data-testid=experiment-view-compare-runs-card]')?.innerText ?? '',
}))
"""


def loss(run: int, step: int) -> float:
    return math.exp(-step / (40 + 30 * run))


def write_run(client: MlflowClient, experiment: str, number: int, weights: Path) -> None:
    """A run of 200 steps with its losses, the machine's load, artifacts and a model."""
    start = int(time.time() * 1000) - 1_000_000
    tags = {"plt_nn.uid": f"20261124-13325{number}-1a2b3c4d"}
    run = client.create_run(experiment, start_time=start + number, run_name=NAMES[number], tags=tags).info.run_id
    metrics = [
        Metric(name, value, start + 100 * step, step)
        for step in range(STEPS)
        for name, value in (
            ("train_loss", loss(number, step)),
            ("val_loss", loss(number, step) + 0.1),
            ("system/cpu_utilization_percentage", 50 + step / 10),
        )
    ]
    client.log_batch(run, metrics, [Param("lr", str(0.1 / (number + 1)))])
    client.log_text(run, "accuracy 0.91", "report.txt")
    client.log_text(run, page_of(report("flowers")), "report.html")
    client.log_dict(run, {"lr": 0.1}, "config/config.json")
    model = client.create_logged_model(experiment, name="net", source_run_id=run)
    client.log_model_artifact(model.model_id, str(weights))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run, [LoggedModelOutput(model.model_id, STEPS - 1)])
    client.set_terminated(run)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """A folder with an `mlruns` of two runs in the experiment `flowers`."""
    folder = tmp_path_factory.mktemp("flowers")
    store = store_at(folder / "mlruns")
    store.root.mkdir()
    shutil.copy(empty_database, store.root)
    client = MlflowClient(store.uri)
    experiment = client.create_experiment("flowers", store.artifacts("flowers"))
    (folder / "weights.txt").write_text("weights")
    for number in range(len(NAMES)):
        write_run(client, experiment, number, folder / "weights.txt")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> str:
    """The id of the first run."""
    (found,) = MlflowClient(store_at(folder / "mlruns").uri).search_runs(["1"], "attributes.run_name = 'head only'")
    name: str = found.info.run_id
    return name


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """The page that `plt-nn ui` tells, as long as it runs."""
    server = subprocess.Popen(
        [sys.executable, "-m", "plt_nn", "ui", "--port", str(free_port())],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        told = next(line for line in server.stdout if "Ctrl-C ends it" in line)
        yield re.findall(r"http://\S+", told)[0]
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=warm.PATIENCE)
    assert server.returncode == 130


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """A page as at the first visit; at the end, that it asked this machine alone and met no error of the server."""
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    expect.set_options(timeout=SECONDS)
    asked: list[str] = []
    failed: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 500 else None)
    yield page
    context.close()
    hosts = {urlsplit(address).hostname for address in asked if not address.startswith(("data:", "blob:"))}
    assert hosts == {"127.0.0.1"}, sorted(asked)
    assert failed == []


def open_training(page: Page, url: str) -> None:
    """The first page, told to show training rather than language models; MLflow's assistant is put aside."""
    page.goto(url)
    page.get_by_text("Model training").first.click()
    assistant = page.get_by_test_id("assistant-panel").or_(page.get_by_text("MLflow Assistant")).first
    if assistant.is_visible():
        page.get_by_role("button", name="Close").last.click()


def drawn(page: Page, metric: str) -> dict[str, Any]:
    """What the chart of a metric shows, once all runs are in it."""
    until = time.monotonic() + SECONDS / 1000
    while True:
        plots = page.locator(".js-plotly-plot").evaluate_all(DRAWN)
        found: list[dict[str, Any]] = [plot for plot in plots if plot["metric"] == metric]
        if found and all(points == STEPS for _, points, _ in found[0]["runs"]) and found[0]["paths"]:
            return found[0]
        assert time.monotonic() < until, f"no chart of {metric}: {plots}"
        page.wait_for_timeout(200)


def test_two_runs_are_listed_selected_and_compared(page: Page, url: str, tmp_path: Path) -> None:
    open_training(page, url)
    page.get_by_role("link", name="Experiments").first.click()
    expect(page.get_by_role("link", name="flowers")).to_be_visible()
    page.screenshot(path=tmp_path / "experiments.png")
    page.get_by_role("link", name="flowers").click()
    for name in NAMES:
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    expect(page.get_by_text("2 matching runs")).to_be_visible()
    page.screenshot(path=tmp_path / "runs.png")

    boxes = page.get_by_label(re.compile("toggle row selection"))
    expect(boxes).to_have_count(2)
    for number in range(2):
        boxes.nth(number).check()
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("Comparing 2 Runs from 1 Experiment")).to_be_visible()
    for name in NAMES:
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    page.screenshot(path=tmp_path / "compared.png")


def test_the_curves_of_two_runs_are_drawn_in_one_chart(page: Page, url: str, tmp_path: Path) -> None:
    open_training(page, url)
    page.goto(f"{url}/#/experiments/1/runs?compareRunsMode=CHART")
    for metric, offset in (("train_loss", 0.0), ("val_loss", 0.1)):
        chart = drawn(page, metric)
        last = {name: height for name, _, height in chart["runs"]}
        assert last == {name: pytest.approx(loss(run, STEPS - 1) + offset) for run, name in enumerate(NAMES)}
        assert len(chart["paths"]) >= 2, "a line for each run"
        assert min(chart["paths"]) > 50, "of many points"
        for name in NAMES:
            assert name in chart["legend"]
    page.screenshot(path=tmp_path / "curves.png")


def test_a_run_shows_its_model_artifacts_and_machine(page: Page, url: str, run: str, tmp_path: Path) -> None:
    open_training(page, url)
    page.goto(f"{url}/#/experiments/1/runs/{run}")
    expect(page.get_by_text("Logged models (1)")).to_be_visible()
    expect(page.get_by_role("link", name="net", exact=True).first).to_be_visible()
    expect(page.get_by_text("20261124-133250-1a2b3c4d")).to_be_visible()
    page.screenshot(path=tmp_path / "run.png")

    page.get_by_role("tab", name="System metrics").click()
    assert drawn(page, "system/cpu_utilization_percentage")["paths"]
    page.screenshot(path=tmp_path / "machine.png")

    page.get_by_role("tab", name="Artifacts").click()
    expect(page.get_by_text("config", exact=True)).to_be_visible()
    page.get_by_text("report.txt").first.click()
    expect(page.get_by_text("accuracy 0.91")).to_be_visible()
    page.screenshot(path=tmp_path / "artifacts.png")

    page.goto(f"{url}/#/experiments/1/runs/{run}")
    page.get_by_role("link", name="net", exact=True).first.click()
    page.get_by_text("Artifacts", exact=True).first.click()
    expect(page.get_by_text("weights.txt").first).to_be_visible()
    page.screenshot(path=tmp_path / "model.png")


def test_the_report_of_a_run_is_seen(page: Page, url: str, run: str, tmp_path: Path) -> None:
    complaints: list[str] = []
    said: list[ConsoleMessage] = []
    page.goto(f"{url}/#/experiments/1/runs/{run}/artifacts/report.html")
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: said.append(message))  # playwright sets an attribute of what it is given
    frame = page.frame_locator("iframe").first
    frame.locator("html[data-ready]").wait_for(state="attached")
    frame.locator("#curves-0[data-drawn] .main-svg").first.wait_for()
    expect(frame.get_by_role("heading", name="Learning curves")).to_be_visible()
    page.screenshot(path=tmp_path / "report.png")
    # What the UI itself asks its server for in vain is no matter of ours.
    complaints += [one.text for one in said if one.type == "error" and not one.location["url"].startswith(url)]
    assert complaints == []
