"""What comparing many runs costs, side by side with MLflow's own way to the same numbers, and how fast a report opens.

Run: python tests/benchmarks/reports.py [--runs 200] [--steps 5000] [--report-runs 30] [--report-steps 10000]

Fills a store's database, then compares all runs by the best value of a metric: with `plt-nn compare` as a process of
its own, and with MLflow's `search_runs` and a `get_metric_history` for each run, also as a process of its own. The best
values of both are checked to be the same. Then writes a report and opens it in Chromium, until the first plot is drawn.
"""

import argparse
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
CHROMIUM = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"]
METRICS = ("val_loss", "train_loss", "epoch")


def fill(store: Store, runs: int, steps: int, metrics: tuple[str, ...]) -> None:
    """Writes runs into the database by itself: through MLflow's client it would take an hour."""
    store.root.mkdir(parents=True)
    client = MlflowClient(store.uri)
    experiment = client.create_experiment("many", store.artifacts("many"))
    rng = np.random.default_rng(0)
    with sqlite3.connect(store.database) as database:
        for number in range(runs):
            began = 1_700_000_000_000 + number
            run = client.create_run(experiment, start_time=began, run_name=f"run {number}").info.run_id
            client.log_param(run, "lr", 10.0 ** -(number // 5 % 4))
            client.log_param(run, "seed_everything", number % 5)
            client.set_terminated(run, end_time=began + 100 * steps)
            for name in metrics:
                values = np.exp(-np.arange(steps) / steps) + rng.normal(0, 0.05, steps)
                values = np.arange(steps) // 100 if name == "epoch" else values
                rows = [(name, float(v), began + 100 * at, at, run) for at, v in enumerate(values)]
                for table, kept in (("metrics", rows), ("latest_metrics", rows[-1:])):
                    insert = f"INSERT INTO {table} (key, value, timestamp, step, is_nan, run_uuid) VALUES (?,?,?,?,0,?)"
                    database.executemany(insert, kept)
            database.commit()


def timed(words: list[str], folder: Path) -> tuple[float, str]:
    """Seconds that a process takes, and what it prints."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout


def opening(file: Path) -> tuple[float, float]:
    """Seconds until a report can be used, and until its first plot is drawn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto("about:blank")
        began = time.perf_counter()
        page.goto(file.as_uri())
        page.locator("html[data-ready]").wait_for(state="attached")
        ready = time.perf_counter() - began
        page.evaluate("() => document.getElementById('curves-0').scrollIntoView()")
        page.locator("#curves-0[data-drawn] .main-svg").first.wait_for()
        drawn = time.perf_counter() - began
        browser.close()
    return ready, drawn


def compare_table(folder: Path, runs: int, steps: int) -> Table:
    store = store_at(folder / "mlruns")
    fill(store, runs, steps, METRICS)
    table = Table("", "seconds", "times", title=f"{runs} runs x {steps:,} steps, best val_loss of each", box=MARKDOWN)
    ours, told = timed(["-m", "plt_nn", "compare", "many", "--format", "json"], folder)
    grouped, _ = timed(["-m", "plt_nn", "compare", "many", "--by", "seed"], folder)
    theirs, peer = timed(["-c", PEER, store.uri], folder)
    found = {run["run"]: [run["best"], run["step"]] for run in json.loads(told)["runs"]}
    assert found == json.loads(peer), "the two do not say the same"
    table.add_row("plt-nn compare", f"{ours:.1f}", "1.0")
    table.add_row("plt-nn compare --by seed", f"{grouped:.1f}", f"{grouped / ours:.1f}")
    table.add_row("MLflow: search_runs, get_metric_history", f"{theirs:.1f}", f"{theirs / ours:.1f}")
    return table


def report_table(folder: Path, runs: int, steps: int) -> Table:
    fill(store_at(folder / "mlruns"), runs, steps, (*METRICS, "val_acc", "train_acc", "lr/head"))
    table = Table("", "", title=f"report.html of {runs} runs x {steps:,} steps, 6 metrics", box=MARKDOWN)
    seconds, _ = timed(["-m", "plt_nn", "compare", "many", "--html", "report.html"], folder)
    ready, drawn = opening(folder / "report.html")
    table.add_row("written in", f"{seconds:.1f} s")
    table.add_row("size", f"{(folder / 'report.html').stat().st_size / 1e6:.1f} MB")
    table.add_row("can be used after", f"{ready:.1f} s")
    table.add_row("first plot drawn after", f"{drawn:.1f} s")
    return table


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
