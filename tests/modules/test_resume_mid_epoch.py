"""Resumed in the middle of an epoch, a run is bit for bit the run that was never interrupted."""

import os
import runpy
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plt_nn import MLP, Classifier
from plt_nn.modules import epoch_mean
from tests import warm

JOB = Path(__file__).with_name("resume_job.py")
Facts = dict[str, Any]
Fit = Callable[..., Facts]


@pytest.fixture(scope="module")
def fit() -> Iterator[Fit]:
    """The job's `fit`, in this process."""
    given = os.environ.pop("PL_GLOBAL_SEED", None)
    yield runpy.run_path(str(JOB))["fit"]
    os.environ.pop("PL_GLOBAL_SEED", None)
    if given is not None:
        os.environ["PL_GLOBAL_SEED"] = given


@pytest.fixture(scope="module", params=["table", "digits", "images0", "images2"])
def kind(request: pytest.FixtureRequest) -> str:
    """Data in memory and in files, read in this process and by workers."""
    return str(request.param)


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for the checkpoints."""
    return tmp_path_factory.mktemp(kind)


@pytest.fixture(scope="module")
def whole(fit: Fit, kind: str, folder: Path) -> Facts:
    """A run that was never interrupted; its checkpoints are in the folder."""
    return fit(folder, kind, every=1)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def different(resumed: Facts, whole: Facts) -> list[str]:
    """In what the resumed run differs from the whole one, from where it was resumed."""
    rest = whole | {"rows": whole["rows"][len(whole["rows"]) - len(resumed["rows"]) :]}
    return [name for name in whole if not same(resumed[name], rest[name])]


def test_keeping_checkpoints_changes_nothing(fit: Fit, kind: str, folder: Path, whole: Facts) -> None:
    assert not different(fit(folder, kind), whole)
    metrics = [metrics for _, metrics in whole["rows"]]
    assert sum("train_loss" in row for row in metrics) == 3
    assert sum("val_loss" in row for row in metrics) == 6


def test_from_every_kind_of_checkpoint(fit: Fit, kind: str, folder: Path, whole: Facts) -> None:
    """In mid-epoch, where a validation was due or done, at the epoch's last batch, and at its end."""
    names = [path.stem for path in folder.glob("*.ckpt")]
    steps = int(whole["at"][1]) // 3
    chosen = {f"step{step}" for step in (1, steps // 2, steps - 1, steps, steps + 1, 2 * steps)} | {f"end{steps}"}
    chosen |= {name for name in names if name.startswith("val")}
    assert chosen <= set(names)
    for name in sorted(chosen):
        resumed = fit(folder, kind, name)
        assert not different(resumed, whole), name
        later = [row for row in whole["rows"] if row[0] >= int(name.strip("stepvalnd"))]
        assert len(resumed["rows"]) >= len(later), name


def test_stopped_by_a_number_of_steps(fit: Fit, kind: str, folder: Path, whole: Facts, tmp_path: Path) -> None:
    steps = int(whole["at"][1]) // 2
    stopped = fit(tmp_path, kind, every=steps, max_steps=steps)
    assert stopped["at"][1] == steps
    assert not different(fit(tmp_path, kind, f"step{steps}"), whole)


@pytest.mark.parametrize("end", ["sigterm", "ctrl-c before", "ctrl-c after"])
def test_interrupted(fit: Fit, kind: str, folder: Path, whole: Facts, end: str) -> None:
    interrupted = fit(folder, kind, end=end)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores Ctrl-C after the first
    assert interrupted["at"] == (1, whole["at"][1] // 3 + (3 if end == "sigterm" else 2))
    assert not different(fit(folder, kind, end), whole)


@pytest.mark.parametrize("kind", ["table"], indirect=True)
def test_without_seeds_or_sums_a_resumed_run_differs(
    fit: Fit, kind: str, folder: Path, whole: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "weights" in different(fit(folder, kind, "step11", seeds=False), whole)
    monkeypatch.setattr(epoch_mean, "_KEY", "none")
    assert different(fit(folder, kind, "step11"), whole) == ["rows"]


@pytest.mark.parametrize("kind", ["table"], indirect=True)
def test_a_module_without_a_trainer_takes_no_sums(folder: Path, whole: Facts) -> None:
    inputs = whole["weights"]["net.linear0.weight"].shape[1]
    classes = len(whole["weights"]["net.head.bias"])
    net = MLP(inputs, [16], classes, dropout=0.3, norm="layer", flatten=True)
    module = Classifier.load_from_checkpoint(folder / "step1.ckpt", net=net, weights_only=True)
    assert float(module.train_loss.metric.weight) == 0.0


@pytest.mark.slow
@pytest.mark.multiprocess
def test_two_processes(fit: Fit, tmp_path: Path) -> None:
    """As with one; and the checkpoints of one process are resumed by two, and of two by one."""
    one, two = tmp_path / "one", tmp_path / "two"
    alone = fit(one, "digits", every=1)
    names = ["step7", "step15", "val22", "end30", "sigterm", "error", "../one/step20"]
    done = warm.run_ranks(2, [JOB, "2", two, "digits", *names], env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    runs = [torch.load(two / f"rank{rank}.pt", weights_only=False) for rank in (0, 1)]
    for run in runs:
        assert run["sigterm"]["at"] == (1, 15 + 9)  # in mid-epoch, where the processes agree
        for name in names[:5]:
            assert not different(run[f"from {name}"], run["whole"]), name
        # An error may be on one process alone, which cannot ask the other for its part of the mean over the epoch.
        assert run["error"]["at"] == (1, 15 + 2)
        assert different(run["from error"], run["whole"]) == ["rows"]
    for rank_0, rank_1 in zip(runs[0].values(), runs[1].values(), strict=True):
        assert same(rank_0["weights"], rank_1["weights"])
    by_two, by_one = runs[0]["from ../one/step20"], fit(two, "digits", "step20")
    for resumed, before in ((by_two, alone), (by_one, runs[0]["whole"])):
        assert resumed["at"] == before["at"]
        first = next(row for _, row in resumed["rows"] if "train_loss" in row)
        should = next(row for _, row in before["rows"] if "train_loss" in row and row["epoch"] == first["epoch"])
        # Two thirds of the epoch's batches are those of the other run, and the rest have other dropout.
        assert first["train_loss"] == pytest.approx(should["train_loss"], rel=0.05)
