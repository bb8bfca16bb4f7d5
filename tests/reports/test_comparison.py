"""Runs side by side, against what can be computed by hand."""

import csv
import io
import json
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from plt_nn.errors import ConfigError
from plt_nn.reports.comparison import compare
from plt_nn.reports.tables import as_csv, as_json, as_markdown, sentences
from plt_nn.tracking import Store
from plt_nn.tracking.read.all_runs import AllRuns
from tests.reports.conftest import Write

STEPS = 300


def curve(lr: float, seed: int) -> list[tuple[int, float]]:
    noise = np.random.default_rng([seed, int(1000 * lr)]).normal(0, 0.05, STEPS)
    values = np.exp(-np.arange(STEPS) / 100) + lr + noise
    values[seed] = math.nan
    return [(step, float(value)) for step, value in enumerate(values)]


def best(rows: list[tuple[int, float]]) -> tuple[float, int]:
    return min((value, step) for step, value in rows if not math.isnan(value))


def test_bests_means_and_differences_are_those_computed_by_hand(store: Store, write: Write) -> None:
    curves = {(lr, seed): curve(lr, seed) for lr in (0.01, 0.3, 0.02) for seed in range(4)}
    for (lr, seed), rows in curves.items():
        epochs = [(step, step // 10) for step in range(STEPS)]
        params = {"model.optimizer.init_args.lr": lr, "seed_everything": seed, "trainer.max_epochs": 30}
        write(f"{lr} {seed}", {"val_loss": rows, "epoch": epochs}, params, seconds=60 + seed)
    reader = AllRuns(store)
    found = compare(reader, reader.runs(["flowers"]), by="seed")

    assert (found.metric, found.mode) == ("val_loss", "min")
    assert found.columns == {"model.optimizer.init_args.lr": "lr"}
    by_name = {f"{lr} {seed}": best(rows) for (lr, seed), rows in curves.items()}
    assert {row.run.name: (row.best.value, row.best.step) for row in found.rows if row.best} == by_name
    assert [row.run.name for row in found.rows] == sorted(by_name, key=lambda name: by_name[name][0])
    assert all(row.best is not None and row.epoch == row.best.step // 10 for row in found.rows)
    assert {row.run.name: row.seconds for row in found.rows}["0.3 2"] == 62

    values = {lr: [best(curves[lr, seed])[0] for seed in range(4)] for lr in (0.01, 0.3, 0.02)}
    groups = {group.name: group for group in found.groups}
    for lr, own in values.items():
        assert groups[f"lr {lr}"].mean == pytest.approx(statistics.mean(own), rel=1e-12)
        assert groups[f"lr {lr}"].deviation == pytest.approx(statistics.stdev(own), rel=1e-12)
    pair = next(pair for pair in found.pairs if {pair.first, pair.second} == {"lr 0.01", "lr 0.3"})
    by_scipy = stats.ttest_rel(values[0.01], values[0.3])
    assert pair.is_paired
    assert pair.counts == (4, 4)
    interval = by_scipy.confidence_interval(0.95)
    assert (pair.low, pair.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert pair.is_clear
    assert "lr 0.01 is better than lr 0.3" in pair.sentence()


def test_a_run_that_has_kept_its_best_is_believed(store: Store, write: Write) -> None:
    rows = {"val_loss": [(1, 0.5), (2, 0.4), (3, 0.6)], "best/val_loss": [(2, 0.4)], "best/val_acc": [(2, 0.8)]}
    rows["val_acc"] = [(1, 0.9), (2, 0.8), (3, 0.7)]
    write("ours", rows, tags={"plt_nn.monitor": "val_loss", "plt_nn.mode": "min"})
    write("resumed", rows | {"best/val_loss": [(1, 0.5)]}, tags={"plt_nn.monitor": "val_loss"})
    reader = AllRuns(store)
    runs = reader.runs(["flowers"])
    found = {row.run.name: row.best for row in compare(reader, runs).rows}
    assert found["ours"] == (0.4, 2)
    assert found["resumed"] == (0.5, 1), "the best that its weights have, such as that of its last phase"
    accuracy = compare(reader, runs, metric="val_acc")
    assert accuracy.mode == "max"
    assert accuracy.rows[0].best == (0.9, 1), "the best of the metric asked for, not its value at the best loss"


def test_runs_that_died_are_told_and_left_out_of_means(store: Store, write: Write) -> None:
    for seed, value in enumerate((0.1, 0.2)):
        write(f"whole {seed}", {"val_loss": [(1, value)]}, {"seed": seed})
    write("dead", {"val_loss": [(1, 9.0)]}, {"seed": 2}, {"plt_nn.failure": "ValueError: no [b]"}, status="FAILED")
    write("going on", {"val_loss": [(1, 9.0)]}, {"seed": 3}, status=None)
    reader = AllRuns(store)
    runs = reader.runs(["flowers"])
    found = compare(reader, runs, by="seed")
    assert found.groups[0].mean == pytest.approx(0.15)
    assert sorted(found.groups[0].counted) == ["0", "1"]
    assert any("2 runs that died or still run" in note for note in found.notes)
    assert "failed: ValueError: no [b]" in as_markdown(found)
    assert compare(reader, runs, by="seed", with_unfinished=True).groups[0].mean == pytest.approx(18.3 / 4)


def test_a_run_without_any_finite_value_comes_last(store: Store, write: Write) -> None:
    write("nothing", {"val_loss": [(1, math.nan)]})
    write("lost", {"other": [(1, 1.0)]})
    write("good", {"val_loss": [(1, 0.5)]})
    reader = AllRuns(store)
    found = compare(reader, reader.runs(["flowers"]))
    assert found.rows[0].run.name == "good"
    assert [row.best for row in found.rows][1:] == [None, None]
    assert "NaN" not in as_json(found)


def test_what_is_not_there_is_told_with_what_is_near(store: Store, write: Write) -> None:
    write("a", {"val_loss": [(1, 1.0)], "score": [(1, 1.0)]}, {"lr": 1})
    reader = AllRuns(store)
    runs = reader.runs(["flowers"])
    with pytest.raises(ConfigError, match=r"no run has a metric 'val_los'.*val_loss"):
        compare(reader, runs, metric="val_los")
    with pytest.raises(ConfigError, match=r"'score' better\? Say --mode"):
        compare(reader, runs, metric="score")
    assert compare(reader, runs, metric="score", mode="max").mode == "max"
    with pytest.raises(ConfigError, match="--by seed: no run has such a parameter"):
        compare(reader, runs, by="seed")
    with pytest.raises(ConfigError, match=r"no experiment 'flower'.*'flowers'"):
        reader.runs(["flower"])


def test_different_data_is_told(store: Store, write: Write) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.tracking import MlflowClient

    for digest in ("one", "two"):
        run = write(digest, {"val_loss": [(1, 1.0)]})
        data = Dataset("photos", digest, "local", "{}")
        MlflowClient(store.uri).log_inputs(run, [DatasetInput(data, [InputTag("mlflow.data.context", "validation")])])
    reader = AllRuns(store)
    assert any("2 different data sets" in note for note in compare(reader, reader.runs(["flowers"])).notes)


def test_csv_has_exact_numbers_and_no_formulas(store: Store, write: Write) -> None:
    write("=cmd()", {"val_loss": [(7, 1 / 3)]}, {"net": "a", "lr": "-1e-3"})
    write("b", {"val_loss": [(7, 0.5)]}, {"net": "b", "lr": "1e-3"})
    reader = AllRuns(store)
    found = compare(reader, reader.runs(["flowers"]))
    first = next(csv.DictReader(io.StringIO(as_csv(found))))
    assert float(first["best"]) == 1 / 3
    assert first["run"] == "'=cmd()"
    assert first["param.lr"] == "-1e-3"
    assert json.loads(as_json(found))["runs"][0]["run"] == "=cmd()"


def test_markdown_keeps_its_columns(store: Store, write: Write) -> None:
    write("a|b <i>", {"val_loss": [(7, 1.0)]})
    reader = AllRuns(store)
    table = as_markdown(compare(reader, reader.runs(["flowers"])))
    assert "a\\|b &lt;i>" in table


def test_repeats_that_are_not_averaged_are_pointed_out(store: Store, write: Write) -> None:
    for seed in range(2):
        write(f"{seed}", {"val_loss": [(7, 1.0)]}, {"seed_everything": seed})
    reader = AllRuns(store)
    assert any("--by seed" in sentence for sentence in sentences(compare(reader, reader.runs(["flowers"]))))
