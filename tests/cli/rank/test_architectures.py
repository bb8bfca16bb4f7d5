"""`plt-nn rank` on tables and sequences, as a user calls it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow.tracking import MlflowClient

from tests.cli.conftest import Completed
from tests.deliveries import until_all_delivered

Call = Callable[..., Completed]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of 200 rows whose column `kind` hangs on the others."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((200, 3))
    lines = [f"{a:.4f},{b:.4f},{c:.4f},{'high' if a + b > 0 else 'low'}" for a, b, c in x]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,c,kind", *lines]))
    return tmp_path / "table.csv"


def test_a_table(table: Path, call: Call, here: Path) -> None:
    words = ["rank", "--data.path", table, "--data.target", "kind", "--epochs", "4"]
    done = call(*words, "--write", "advice.yaml", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["candidates"]
    assert found[0]["score"] > 0.8
    advice = yaml.safe_load(Path("advice.yaml").read_text())
    assert advice["model"]["init_args"]["net"]["init_args"] == found[0]["init_args"]
    fit = call("fit", "--config", "advice.yaml", "--plain")
    assert fit.returncode == 0, fit.stderr
    until_all_delivered(here / "mlruns")
    client = MlflowClient(f"sqlite:///{here}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("rank")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 1 + len(found)


def test_sequences_in_text(call: Call) -> None:
    words = ["--data", "plt_nn.DigitsData", "--data.layout", "rows", "--budget", "1s", "--epochs", "4"]
    done = call("rank", *words)
    assert done.returncode == 0, done.stderr
    assert "GRU 32" in done.stdout
    assert "the time was over" in done.stdout


def test_targets_that_no_net_reaches(tmp_path: Path, call: Call) -> None:
    generator = np.random.default_rng(0)
    lines = [f"{a:.4f},{200_000 + 50_000 * a:.1f}" for a in generator.standard_normal(200)]
    (tmp_path / "houses.csv").write_text("\n".join(["size,price", *lines]))
    words = ["--data.path", "houses.csv", "--data.target", "price", "--data.task", "regression", "--epochs", "4"]
    done = call("rank", *words, "--budget", "3s", "--write", "advice.yaml")
    assert done.returncode == 2
    assert "there is no advice" in done.stderr
    assert "a standard deviation of" in done.stderr
    assert not Path("advice.yaml").exists()
    assert "R2" in done.stdout, "the table is told all the same"
    assert list(Path("mlruns").rglob("ranking.json"))
    assert not list(Path("mlruns").rglob("recommended.yaml"))


def test_several_processes_are_refused(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = call("rank", "--data", "plt_nn.DigitsData")
    assert done.returncode == 2
    assert "without torchrun" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (["--data", "plt_nn.DigitsData", "--write", "advice.txt"], 2, "ends in .yaml"),
        (["--data", "plt_nn.DigitsData", "--budget", "soon"], 2, "no duration"),
        (["--data.path", "absent.csv", "--data.target", "kind"], 1, "absent.csv"),
    ],
)
def test_mistakes_are_told(words: list[str], status: int, reason: str, call: Call) -> None:
    done = call("rank", *words)
    assert done.returncode == status
    assert reason in done.stderr
