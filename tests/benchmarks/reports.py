"""What comparing many runs costs, side by side with MLflow's own way to the same numbers, and how fast a report opens.

Run: python tests/benchmarks/reports.py [--runs 200] [--steps 5000] [--report-runs 30] [--report-steps 10000]

Fills a store's database, then compares all runs by the best value of a metric: with `plt-nn compare` as a process of
its own, and with MLflow's `search_runs` and a `get_metric_history` for each run, also as a process of its own. The best
values of both are checked to be the same. Then writes a report and opens it in Chromium, until the first plot is drawn.
"""

import argparse
import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mlflow.tracking import MlflowClient
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from plt_nn.tracking import Store, store_at

PEER = """
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(sys.argv[1])
runs, token = [], None
while True:
    page = client.search_runs(["1"], max_results=1000, page_token=token)
    runs, token = runs + list(page), page.token
    if not token:
        break
found = {}
for run in runs:
    rows = client.get_metric_history(run.info.run_id, "val_loss")
    best = min(rows, key=lambda row: (row.value, row.step))
    found[run.info.run_name] = [best.value, best.step]
print(json.dumps(found))
"""
CURVES = """
WITH RECURSIVE steps(step) AS (SELECT 0 UNION ALL SELECT step + 1 FROM steps WHERE step + 1 < :steps)
INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid)
SELECT :name, CASE WHEN :is_epoch THEN step / 100 ELSE 1000.0 / (1000 + step) + random() % 1000000 / 1e8 END,
       start_time + 100 * step, step, 0, run_uuid FROM runs, steps ORDER BY start_time, step
"""
LAST = """
INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
SELECT key, value, timestamp, step, is_nan, run_uuid FROM metrics WHERE key = :name AND step = :last
"""
CHROMIUM = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"]
METRICS = ("val_loss", "train_loss", "epoch")


def fill(store: Store, runs: int, steps: int, metrics: tuple[str, ...]) -> None:
    """Writes runs into the database by itself: through MLflow's client it would take an hour."""
    store.root.mkdir(parents=True)
    client = MlflowClient(store.uri)
    experiment = client.create_experiment("many", store.artifacts("many"))
    for number in range(runs):
        began = 1_700_000_000_000 + number
        run = client.create_run(experiment, start_time=began, run_name=f"run {number}").info.run_id
        client.log_param(run, "lr", 10.0 ** -(number // 5 % 4))
        client.log_param(run, "seed_everything", number % 5)
        client.set_terminated(run, end_time=began + 100 * steps)
    with sqlite3.connect(store.database) as database:
        database.execute("PRAGMA synchronous = OFF")
        for name in metrics:
            database.execute(CURVES, {"name": name, "steps": steps, "is_epoch": name == "epoch"})
            database.execute(LAST, {"name": name, "last": steps - 1})


class Timed(NamedTuple):
    """What a process has taken, in seconds of the clock and of processors, and what it printed."""

    clock: float
    processor: float
    out: str


def timed(words: list[str], folder: Path) -> Timed:
    """Runs a process of Python."""
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime - used.ru_utime + after.ru_stime - used.ru_stime
    return Timed(time.perf_counter() - began, processor, done.stdout)


def opening(file: Path) -> tuple[float, float]:
    """Seconds until a page can be used, and until its first plot is drawn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto("about:blank")
        began = time.perf_counter()
        page.goto(file.as_uri())
        if file.name == "report.html":
            page.locator("html[data-ready]").wait_for(state="attached")
            page.evaluate("() => document.getElementById('curves-0').scrollIntoView()")
        ready = time.perf_counter() - began
        page.locator(".js-plotly-plot .scatterlayer .js-line").first.wait_for(state="attached")
        drawn = time.perf_counter() - began
        browser.close()
    return ready, drawn


def compare_table(folder: Path, runs: int, steps: int) -> Table:
    store = store_at(folder / "mlruns")
    fill(store, runs, steps, METRICS)
    title = f"{runs} runs x {steps:,} steps, best val_loss of each"
    table = Table("", "seconds", "processor seconds", "ratio of these", title=title, box=MARKDOWN)
    contenders = {
        "plt-nn compare": timed(["-m", "plt_nn", "compare", "many", "--format", "json"], folder),
        "plt-nn compare --by seed": timed(["-m", "plt_nn", "compare", "many", "--by", "seed"], folder),
        "MLflow: search_runs, get_metric_history": timed(["-c", PEER, store.uri], folder),
    }
    ours, _, peer = contenders.values()
    found = {run["run"]: [run["best"], run["step"]] for run in json.loads(ours.out)["runs"]}
    assert found == json.loads(peer.out), "the two do not say the same"
    for name, one in contenders.items():
        table.add_row(name, f"{one.clock:.1f}", f"{one.processor:.1f}", f"{one.processor / ours.processor:.1f}")
    return table


def report_table(folder: Path, runs: int, steps: int) -> Table:
    fill(store_at(folder / "mlruns"), runs, steps, (*METRICS, "val_acc", "train_acc", "lr/head"))
    table = Table("", "", title=f"report.html of {runs} runs x {steps:,} steps, 6 metrics", box=MARKDOWN)
    written = timed(["-m", "plt_nn", "compare", "many", "--html", "report.html"], folder)
    ready, drawn = opening(folder / "report.html")
    peer = one_figure(folder, runs, steps)
    _, theirs = opening(peer)
    table.add_row("written in", f"{written.clock:.1f} s, {written.processor:.1f} s of a processor")
    table.add_row("size", f"{(folder / 'report.html').stat().st_size / 1e6:.1f} MB")
    table.add_row("can be used after", f"{ready:.1f} s")
    table.add_row("first plot drawn after", f"{drawn:.1f} s")
    told = f"{theirs:.1f} s, {peer.stat().st_size / 1e6:.1f} MB"
    table.add_row("plotly's own write_html, val_loss alone: drawn after, size", told)
    return table


def one_figure(folder: Path, runs: int, steps: int) -> Path:
    """One of the report's plots as plotly itself writes a page."""
    import plotly.graph_objects as go

    with sqlite3.connect(folder / "mlruns" / "mlflow.db") as database:
        rows = database.execute("SELECT value FROM metrics WHERE key = 'val_loss' ORDER BY run_uuid, step").fetchall()
    values = np.array(rows).reshape(runs, steps)
    figure = go.Figure([go.Scatter(x=np.arange(steps), y=own, mode="lines") for own in values])
    figure.write_html(folder / "plotly.html", include_plotlyjs=True)
    return folder / "plotly.html"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("runs", 200), ("steps", 5000), ("report-runs", 30), ("report-steps", 10_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    console = Console(width=100)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("compare", "report"):
            Path(folder, name).mkdir()
        console.print(compare_table(Path(folder, "compare"), arguments.runs, arguments.steps))
        console.print(report_table(Path(folder, "report"), arguments.report_runs, arguments.report_steps))


if __name__ == "__main__":
    main()
