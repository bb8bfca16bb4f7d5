"""The report of a ranking of pretrained nets."""

import io
from collections.abc import Mapping
from typing import Any

from plt_nn.advice.candidates import Candidate
from plt_nn.advice.plans import BATCH, LR, Plan, reasons_of_order
from plt_nn.advice.probes.probe import LinearProbe
from plt_nn.advice.ranking import Ranking, ScoredCandidate
from plt_nn.advice.report import Report, as_configuration, at_start
from plt_nn.advice.verify import Verified
from plt_nn.plots.figures import new_figure
from plt_nn.text import counted, duration
from plt_nn.text_table import TextTable
from plt_nn.tracking.written_runs import WrittenRun


def image_report(
    ranking: Ranking, plan: Plan, verified: list[Verified], folder: Mapping[str, Any], command: str
) -> Report:
    """The report.

    Args:
        ranking: The ranking.
        plan: The advised plan.
        verified: The results of the trials, the best first.
        folder: The arguments of `ImageFolderData` for the folder and its split. With another split, images that helped
            to choose the net would be used to measure it.
        command: The command that made the ranking.
    """
    evidence = [*_reasons_of_choice(ranking, plan, verified), *plan.reasons]
    time = [] if plan.seconds is None else [f"Fine-tuning so takes about {duration(plan.seconds)} on this machine."]
    chosen = next(judged for judged in ranking.judged if judged.candidate == plan.candidate)
    return Report(
        tables=[_table(ranking), *([_verified_table(verified)] if verified else [])],
        left_out=ranking.left_out,
        plain=_plain(ranking, plan, verified, [*evidence, *time]),
        children=[_child(judged) for judged in ranking.judged],
        params={"data": folder["root"], "samples": ranking.samples, "command": command},
        metrics={**_metrics(chosen), "seconds": ranking.seconds},
        advice=[*evidence, *time],
        configuration=_configuration(plan, folder, ["Made by: " + command, *evidence]),
        files={"stages.png": curves_picture(ranking)},
    )


def curves_picture(ranking: Ranking) -> bytes:
    """The accuracy of probes over the stages, for the candidates of the last round; a PNG."""
    figure = new_figure(8.0, 4.5)
    axes = figure.subplots()
    for judged in [one for one in ranking.judged if one.curve][:10]:
        accuracies = [each.accuracy for each in judged.curve.values()]
        places = [at / max(1, len(accuracies) - 1) for at in range(len(accuracies))]
        axes.plot(places, accuracies, marker="o", markersize=3, label=str(judged.candidate))
    axes.set_xlabel("depth: from the first stage to the last feature")
    axes.set_ylabel("accuracy of a linear probe")
    axes.grid(alpha=0.3)
    if axes.get_lines():
        axes.legend(fontsize=7)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()


def _reasons_of_choice(ranking: Ranking, plan: Plan, verified: list[Verified]) -> list[str]:
    """Why it is this net: by the ranking, unless trials have changed its order."""
    if plan.candidate == ranking.best.candidate:
        return reasons_of_order(ranking)
    won = next(one for one in verified if one.plan is plan)
    return [
        f"{plan.candidate}: when fine-tuned it had the lowest loss ({won.loss:.3f}; {won.accuracy:.1%} right) of "
        f"{len(verified)} plans, although probes put {ranking.best.candidate} first."
    ]


def _table(ranking: Ranking) -> TextTable:
    candidates = counted(len(ranking.judged), "candidate")
    samples = f"{ranking.samples:,} of {ranking.of_samples:,} training images"
    title = f"{candidates} on {samples}, {len(ranking.class_names)} classes, in {duration(ranking.seconds)}"
    styles = ["bold", *("" if judged.size == ranking.samples else "dim" for judged in ranking.judged[1:])]
    rows = [_cells(number, judged, ranking.samples) for number, judged in enumerate(ranking.judged, 1)]
    columns, cells = list(rows[0]), [list(row.values()) for row in rows]
    numeric, unbroken = set(range(len(columns))) - {1, 8}, set(range(len(columns))) - {1}
    return TextTable(columns, cells, title, numeric, unbroken, styles)


def _cells(number: int, judged: ScoredCandidate, samples: int) -> dict[str, str]:
    """The row of a candidate: column -> text."""
    expected, costs = judged.expected, judged.costs
    low, high = expected.accuracy_interval
    fewer = "" if judged.size == samples else f" on {judged.size}"
    return {
        "": str(number),
        "net and image size": str(judged.candidate),
        "accuracy (95 %)": f"{expected.accuracy:.1%} ({low:.0%}-{high:.0%}){fewer}",
        "log-loss": f"{expected.log_loss:.3f}",
        "LogME": f"{judged.logme:.2f}",
        "images/s": f"{1 / judged.seconds:,.0f}",
        "parameters": f"{costs.parameters / 1e6:.1f} M",
        "MB/image": "?" if costs.training_bytes is None else f"{costs.training_bytes / 1e6:,.0f}",
        "train": judged.depth.train,
    }


def _verified_table(verified: list[Verified]) -> TextTable:
    header = ("fine-tuned on four fifths of these images", "accuracy on the rest", "loss", "seconds")
    rows = [
        [
            f"{one.plan.candidate}, {one.plan.depth.train}",
            f"{one.accuracy:.1%}",
            f"{one.loss:.3f}",
            f"{one.seconds:.0f}",
        ]
        for one in verified
    ]
    return TextTable(header, rows, numeric=(1, 2, 3))


def _plain(ranking: Ranking, plan: Plan, verified: list[Verified], advice: list[str]) -> dict[str, Any]:
    return {
        "samples": ranking.samples,
        "of_samples": ranking.of_samples,
        "classes": list(ranking.class_names),
        "seconds": ranking.seconds,
        "images_computed": ranking.computed,
        "candidates": [_plain_score(one) | {"in_last_round": one.size == ranking.samples} for one in ranking.judged],
        "left_out": list(ranking.left_out),
        "advice": _plain_plan(plan) | {"reasons": advice},
        "verified": [
            _plain_plan(one.plan) | {"accuracy": one.accuracy, "loss": one.loss, "seconds": one.seconds}
            for one in verified
        ],
    }


def _plain_score(judged: ScoredCandidate) -> dict[str, Any]:
    expected = judged.expected
    return {
        **_plain_candidate(judged.candidate),
        **_plain_probe(expected),
        "accuracy_interval": list(expected.accuracy_interval),
        "log_loss_interval": list(expected.log_loss_interval),
        "logme": judged.logme,
        "samples": judged.size,
        "seconds_per_image": judged.seconds,
        "parameters": judged.costs.parameters,
        "forward_flops": judged.costs.forward,
        "training_bytes_per_image": judged.costs.training_bytes,
        "train": judged.depth.train,
        "depths": {depth.train: _plain_probe(depth.probe) for depth in judged.depths},
        "stages": {name: _plain_probe(each) for name, each in judged.curve.items()},
    }


def _plain_candidate(candidate: Candidate) -> dict[str, Any]:
    named = {"name": candidate.name, "pretrained": candidate.pretrained, "image_size": candidate.size}
    return named | ({"crop_pct": candidate.crop_pct} if candidate.crop_pct is not None else {})


def _plain_probe(probe: LinearProbe) -> dict[str, float]:
    return {"accuracy": probe.accuracy, "log_loss": probe.log_loss}


def _plain_plan(plan: Plan) -> dict[str, Any]:
    phases = [dict(phase) for phase in plan.phases]
    return {**_plain_candidate(plan.candidate), "phases": phases, "max_epochs": plan.epochs, "seconds": plan.seconds}


def _child(judged: ScoredCandidate) -> WrittenRun:
    candidate = judged.candidate
    net = {"backbone": candidate.name, "pretrained": candidate.pretrained, "image_size": candidate.size}
    metrics = at_start(_metrics(judged))
    if judged.curve:
        metrics["stage_accuracy"] = {at: each.accuracy for at, each in enumerate(judged.curve.values())}
    return WrittenRun(str(candidate), net | {"crop_pct": candidate.crop_pct, "train": judged.depth.train}, metrics)


def _metrics(judged: ScoredCandidate) -> dict[str, float]:
    found = {
        "probe_accuracy": judged.expected.accuracy,
        "probe_log_loss": judged.expected.log_loss,
        "logme": judged.logme,
        "samples": judged.size,
        "images_per_second": 1 / judged.seconds,
        "parameters": judged.costs.parameters,
    }
    return found if judged.costs.forward is None else found | {"gflops": judged.costs.forward / 1e9}


def _configuration(plan: Plan, folder: Mapping[str, Any], comments: list[str]) -> str:
    candidate = plan.candidate
    backbone: dict[str, Any] = {"name": candidate.name, "pretrained": candidate.pretrained}
    if plan.model_args:
        backbone["model_args"] = dict(plan.model_args)
    data: dict[str, Any] = {**folder, "image_size": candidate.size, "batch_size": BATCH, "augment": []}
    if candidate.crop_pct is not None:
        data["crop_pct"] = candidate.crop_pct
    phases = [dict(phase) for phase in plan.phases]
    callbacks = [
        {"class_path": "plt_nn.FreezingSchedule", "init_args": {"phases": phases}},
        {"class_path": "plt_nn.BestLossStopping", "init_args": {"monitor": "val_loss", "patience": plan.patience}},
    ]
    trainer = {"max_epochs": plan.epochs, "log_every_n_steps": 5, "enable_model_summary": False, "callbacks": callbacks}
    net = {"class_path": "plt_nn.create_backbone", "init_args": backbone}
    return as_configuration(
        comments, "plt_nn.Classifier", net, LR, {"class_path": "plt_nn.ImageFolderData", "init_args": data}, trainer
    )
