"""Which metric is compared, which way it gets better, and where a run was best. Pure."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.text import and_more
from plt_nn.tracking.read.runs import History, RunRecord
from plt_nn.tracking.tags import BEST, MODE, MONITOR, SYSTEM

Mode = Literal["min", "max"]
_BEGIN = r"(?:^|[^a-z])"  # of a word within a name
_LOWER = re.compile(rf"loss|error|{_BEGIN}(err|mse|mae|rmse|mape|perplexity|ppl|ece|brier|nll|wer|cer|deviance)", re.I)
_HIGHER = re.compile(
    rf"{_BEGIN}(acc|f1|fbeta|auc|auroc|ap|map|precision|recall|iou|dice|jaccard|r2|bleu|rouge|kappa|mcc|top\d)", re.I
)
_OTHER = (SYSTEM, "perf/", "lr/", "lr-", "cost/", BEST)  # metrics of the training, not of its result
_CLOCKS = ("epoch", "phase")
_USUAL = ("val_loss", "valid_loss", "validation_loss", "eval_loss", "val/loss", "test_loss", "loss", "train_loss")


class Best(NamedTuple):
    """The best that a run has reached.

    Attributes:
        value: The value.
        step: At which step.
    """

    value: float
    step: int


def chosen_metric(runs: Sequence[RunRecord], name: str | None) -> str:
    """The metric to compare.

    Args:
        runs: The runs.
        name: What was asked for. Default: what most of the runs monitor, else a validation loss.

    Raises:
        ConfigError: If no run has it.
    """
    known = sorted({key for run in runs for key in run.last if not is_of_training(key)})
    if name is not None:
        if not any(name in run.last for run in runs):
            raise ConfigError(f"no run has a metric {name!r}.{did_you_mean(name, known)}")
        return name
    monitored = Counter(run.tags[MONITOR] for run in runs if run.tags.get(MONITOR) in run.last)
    usual = [key for key in _USUAL if key in known]
    if monitored:
        return monitored.most_common(1)[0][0]
    if usual:
        return usual[0]
    names = f"The runs have {and_more(known, 20)}." if known else "The runs have no metrics."
    raise ConfigError(f"say which metric to compare with --metric. {names}")


def better(metric: str, runs: Sequence[RunRecord], asked: Mode | None = None) -> Mode:
    """Which way a metric gets better: as asked, as the runs say, or by its name.

    Raises:
        ConfigError: If it is not known.
    """
    if asked is not None:
        return asked
    said = Counter(run.tags.get(MODE) for run in runs if run.tags.get(MONITOR) == metric)
    said += Counter(mode for run in runs for mode in _modes_in(run, metric))
    for mode, _ in said.most_common():
        if mode in ("min", "max"):
            return "min" if mode == "min" else "max"
    if _LOWER.search(metric):
        return "min"
    if _HIGHER.search(metric):
        return "max"
    raise ConfigError(f"is a lower or a higher {metric!r} better? Say --mode min or --mode max.")


def logged_best(run: RunRecord, metric: str) -> Best | None:
    """The best value that the run itself has logged, if this is the metric that it monitors."""
    point = run.last.get(f"{BEST}{metric}")
    if run.tags.get(MONITOR) != metric or point is None or not np.isfinite(point.value):
        return None
    return Best(point.value, point.step)


def best_value(history: History, mode: Mode) -> Best | None:
    """The best value of a history and the first step with it; None if no value is finite."""
    finite = np.isfinite(history.values)
    if not finite.any():
        return None
    values = np.where(finite, history.values, np.inf if mode == "min" else -np.inf)
    at = int(values.argmin() if mode == "min" else values.argmax())
    return Best(float(history.values[at]), int(history.steps[at]))


def is_of_training(name: str) -> bool:
    """Whether a metric describes the training rather than its result."""
    return name.startswith(_OTHER) or name in _CLOCKS


def _modes_in(run: RunRecord, metric: str) -> list[str]:
    """The modes of callbacks that monitor the metric, according to the parameters."""
    watching = [key.removesuffix("monitor") for key, value in run.params.items() if value == metric]
    return [run.params[f"{key}mode"] for key in watching if f"{key}mode" in run.params]
