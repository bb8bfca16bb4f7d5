"""A ranking as text, Markdown and plain values."""

from typing import Any

from rich.console import Group
from rich.text import Text

from plt_nn.advice.candidates import Candidate
from plt_nn.advice.plans import Plan, reasons_of_order
from plt_nn.advice.ranking import Ranking, ScoredCandidate
from plt_nn.advice.verify import Verified
from plt_nn.text import counted, duration
from plt_nn.text_table import TextTable

_COLUMNS = (
    "",
    "net and image size",
    "accuracy (95 %)",
    "log-loss",
    "LogME",
    "images/s",
    "parameters",
    "MB/image",
    "train",
)


def as_text(ranking: Ranking, plan: Plan, verified: list[Verified]) -> Group:
    """The ranking and the plan, for a terminal."""
    parts: list[Any] = [_table(ranking).as_rich()]
    if verified:
        parts += ["", _verified_table(verified).as_rich()]
    left_out = [f"Left out: {text}" for text in ranking.left_out]
    lines = ["", "Advice", *_advice(ranking, plan, verified), *left_out]
    return Group(*parts, *(Text(line, style="bold" if line == "Advice" else "") for line in lines))


def as_markdown(ranking: Ranking, plan: Plan, verified: list[Verified]) -> str:
    """The ranking and the plan in Markdown."""
    tables = [_table(ranking), *([_verified_table(verified)] if verified else [])]
    lines = [*_advice(ranking, plan, verified), *(f"Left out: {text}" for text in ranking.left_out)]
    return "\n\n".join([*(table.as_markdown() for table in tables), "\n".join(f"- {line}" for line in lines)]) + "\n"


def as_plain(ranking: Ranking, plan: Plan, verified: list[Verified]) -> dict[str, Any]:
    """The ranking and the plan as plain values, for JSON."""
    return {
        "samples": ranking.samples,
        "of_samples": ranking.of_samples,
        "classes": list(ranking.class_names),
        "seconds": ranking.seconds,
        "images_computed": ranking.computed,
        "candidates": [_plain(one) for one in ranking.judged],
        "left_out": list(ranking.left_out),
        "advice": _plan(plan) | {"reasons": _advice(ranking, plan, verified)},
        "verified": [
            _plan(one.plan) | {"accuracy": one.accuracy, "loss": one.loss, "seconds": one.seconds} for one in verified
        ],
    }


def reasons_of_choice(ranking: Ranking, plan: Plan, verified: list[Verified]) -> list[str]:
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
    styles = ["bold", *("" if judged.in_last_round else "dim" for judged in ranking.judged[1:])]
    rows = [_cells(number, judged) for number, judged in enumerate(ranking.judged, 1)]
    columns = range(len(_COLUMNS))
    numeric, unbroken = set(columns) - {1, 8}, set(columns) - {1}
    return TextTable(_COLUMNS, rows, title, numeric, unbroken, styles)


def _cells(number: int, judged: ScoredCandidate) -> list[str]:
    expected, costs = judged.expected, judged.costs
    low, high = expected.accuracy_interval
    fewer = "" if judged.in_last_round else f" on {judged.samples}"
    return [
        str(number),
        str(judged.candidate),
        f"{expected.accuracy:.1%} ({low:.0%}-{high:.0%}){fewer}",
        f"{expected.log_loss:.3f}",
        f"{judged.logme:.2f}",
        f"{1 / judged.seconds:,.0f}",
        f"{costs.parameters / 1e6:.1f} M",
        "?" if costs.training_bytes is None else f"{costs.training_bytes / 1e6:,.0f}",
        judged.depth.train,
    ]


def _advice(ranking: Ranking, plan: Plan, verified: list[Verified]) -> list[str]:
    time = [] if plan.seconds is None else [f"Fine-tuning so takes about {duration(plan.seconds)} on this machine."]
    return [*reasons_of_choice(ranking, plan, verified), *plan.reasons, *time]


def _verified_table(verified: list[Verified]) -> TextTable:
    header = ("fine-tuned on four fifths of these images", "accuracy on the rest", "loss", "seconds")
    return TextTable(header, [_verified_cells(one) for one in verified], numeric=(1, 2, 3))


def _verified_cells(one: Verified) -> list[str]:
    name = f"{one.plan.candidate}, {one.plan.depth.train}"
    return [name, f"{one.accuracy:.1%}", f"{one.loss:.3f}", f"{one.seconds:.0f}"]


def _plain(judged: ScoredCandidate) -> dict[str, Any]:
    expected = judged.expected
    return {
        **_candidate(judged.candidate),
        "accuracy": expected.accuracy,
        "accuracy_interval": list(expected.accuracy_interval),
        "log_loss": expected.log_loss,
        "log_loss_interval": list(expected.log_loss_interval),
        "logme": judged.logme,
        "samples": judged.samples,
        "in_last_round": judged.in_last_round,
        "seconds_per_image": judged.seconds,
        "parameters": judged.costs.parameters,
        "forward_flops": judged.costs.forward,
        "training_bytes_per_image": judged.costs.training_bytes,
        "train": judged.depth.train,
        "depths": {depth.train: _numbers(depth.probe) for depth in judged.depths},
        "stages": {name: _numbers(each) for name, each in judged.curve.items()},
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    named = {"name": candidate.name, "pretrained": candidate.pretrained, "image_size": candidate.size}
    return named | ({"crop_pct": candidate.crop_pct} if candidate.crop_pct is not None else {})


def _numbers(each: Any) -> dict[str, float]:
    return {"accuracy": each.accuracy, "log_loss": each.log_loss}


def _plan(plan: Plan) -> dict[str, Any]:
    phases = [dict(phase) for phase in plan.phases]
    return {**_candidate(plan.candidate), "phases": phases, "max_epochs": plan.epochs, "seconds": plan.seconds}
