"""A ranking in MLflow: a run with a child for each candidate."""

import io
import json

from plt_nn.advice.plans import Plan
from plt_nn.advice.ranking import Ranking, ScoredCandidate
from plt_nn.advice.tables import as_markdown, as_plain
from plt_nn.advice.verify import Verified
from plt_nn.plots.figures import new_figure
from plt_nn.tracking.store import Store
from plt_nn.tracking.written_runs import WrittenRun, deliver, write_run


def record(
    store: Store,
    experiment: str,
    ranking: Ranking,
    plan: Plan,
    verified: list[Verified],
    configuration: str,
    params: dict[str, object],
) -> tuple[str, bool]:
    """Logs a ranking.

    Args:
        store: The store.
        experiment: The name of the experiment.
        ranking: The ranking.
        plan: The advised plan.
        verified: The results of the trials.
        configuration: The plan as a configuration.
        params: The arguments of the command.

    Returns:
        The uid of the parent run, and whether everything is in MLflow.

    Raises:
        TrackingError: The store cannot be written.
    """
    table = as_markdown(ranking, plan, verified)
    files = {
        "ranking.md": table.encode(),
        "ranking.json": json.dumps(as_plain(ranking, plan, verified), indent=1).encode(),
        "stages.png": curves_picture(ranking),
        "recommended.yaml": configuration.encode(),
    }
    totals = {"candidates": len(ranking.judged), "seconds": ranking.seconds}
    chosen = next(judged for judged in ranking.judged if judged.candidate == plan.candidate)
    metrics = {name: {0: float(value)} for name, value in {**_metrics(chosen), **totals}.items()}
    parent = write_run(store, experiment, WrittenRun("rank", params, metrics, note=table, files=files))
    folders = [parent]
    for number, judged in enumerate(ranking.judged, 1):
        folders.append(write_run(store, experiment, _child(number, judged), parent.uid))
    return parent.uid, deliver(folders)


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


def _child(number: int, judged: ScoredCandidate) -> WrittenRun:
    candidate = judged.candidate
    params: dict[str, object] = {
        "backbone": candidate.name,
        "pretrained": candidate.pretrained,
        "image_size": candidate.size,
    }
    params |= {"crop_pct": candidate.crop_pct, "train": judged.depth.train}
    metrics = {name: {0: value} for name, value in _metrics(judged).items()} | {"rank": {0: float(number)}}
    if judged.curve:
        metrics["stage_accuracy"] = {at: each.accuracy for at, each in enumerate(judged.curve.values())}
    return WrittenRun(str(candidate), params, metrics)


def _metrics(judged: ScoredCandidate) -> dict[str, float]:
    found = {
        "probe_accuracy": judged.expected.accuracy,
        "probe_log_loss": judged.expected.log_loss,
        "logme": judged.logme,
        "samples": float(judged.samples),
        "images_per_second": 1 / judged.seconds,
        "parameters": float(judged.costs.parameters),
    }
    return found if judged.costs.forward is None else found | {"gflops": judged.costs.forward / 1e9}
