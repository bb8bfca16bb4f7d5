"""The report of a ranking of architectures."""

from collections.abc import Mapping, Sequence
from typing import Any

from plt_nn.advice.report import Report, as_configuration, at_start
from plt_nn.advice.short_runs import Tried
from plt_nn.text_table import TextTable
from plt_nn.tracking.written_runs import WrittenRun


def architecture_report(
    found: Sequence[Tried],
    left_out: Sequence[str],
    data: Mapping[str, Any],
    command: str,
    is_classes: bool,
    has_learnt: bool,
) -> Report:
    """The report.

    Args:
        found: The results, the best first.
        left_out: Sentences that say what failed or was not finished.
        data: The class and the arguments of the data, as a configuration names them.
        command: The command that made the ranking.
        is_classes: Whether the targets are classes.
        has_learnt: Whether the best is better than a constant prediction; if not, there is no advice.
    """
    header = ("", "net", "accuracy (95 %)" if is_classes else "R2", "loss", "parameters", "epochs", "seconds")
    longest = max(tried.size for tried in found)
    rows = [_cells(number, tried) for number, tried in enumerate(found, 1)]
    styles = ["" if tried.size == longest else "dim" for tried in found]
    candidates = [_plain(tried) | {"in_last_round": tried.size == longest} for tried in found]
    return Report(
        tables=[TextTable(header, rows, numeric=(0, 2, 3, 4, 5, 6), styles=styles)],
        left_out=left_out,
        plain={"candidates": candidates, "left_out": list(left_out)},
        children=[_child(tried) for tried in found],
        params={"command": command},
        metrics=_metrics(found[0]),
        configuration=_configuration(found[0], data, command, is_classes) if has_learnt else None,
    )


def _cells(number: int, tried: Tried) -> list[str]:
    score = f"{tried.score:.3f}"
    if tried.interval is not None:
        low, high = tried.interval
        score = f"{tried.score:.1%} ({low:.0%}-{high:.0%})"
    facts = [f"{tried.loss:.4g}", f"{tried.parameters:,}", str(tried.size), f"{tried.seconds:.1f}"]
    return [str(number), str(tried.architecture), score, *facts]


def _plain(tried: Tried) -> dict[str, Any]:
    architecture = tried.architecture
    net = {"net": architecture.class_path, "init_args": dict(architecture.init_args), "lr": architecture.lr}
    results = {name: getattr(tried, name) for name in ("score", "interval", "loss", "parameters", "seconds")}
    return net | results | {"epochs": tried.size}


def _child(tried: Tried) -> WrittenRun:
    net = tried.architecture
    params = {"net": net.class_path, **net.init_args, "lr": net.lr}
    return WrittenRun(str(net), params, at_start(_metrics(tried)))


def _metrics(tried: Tried) -> dict[str, float]:
    return {"held_out_loss": tried.loss, "held_out_score": tried.score, "parameters": tried.parameters}


def _configuration(best: Tried, data: Mapping[str, Any], command: str, is_classes: bool) -> str:
    net = {"class_path": best.architecture.class_path, "init_args": dict(best.architecture.init_args)}
    stopping = {"class_path": "plt_nn.BestLossStopping", "init_args": {"monitor": "val_loss", "patience": 10}}
    trainer = {"max_epochs": 4 * best.size, "log_every_n_steps": 10, "callbacks": [stopping]}
    model = "plt_nn.Classifier" if is_classes else "plt_nn.Regressor"
    return as_configuration([f"Made by: {command}"], model, net, best.architecture.lr, data, trainer)
