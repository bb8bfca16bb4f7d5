"""A freezing schedule's costs as tables: for the terminal, and in Markdown for a run."""

import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, zip_longest
from typing import Literal

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from plt_nn.freezing.costs.flops import Flops
from plt_nn.freezing.costs.phase_costs import PhaseCost, PlanCost, StageCost
from plt_nn.text import byte_size
from plt_nn.text_table import TextTable

_ALIKE = 6  # so many stages in a row that are trained at one rate have a row each
_DETAIL = ("Stage", "Trained", "Frozen", "Learning rate")
_FULL = 100  # characters that the whole overview needs
_LEFT_OUT = ("Starts", "Frozen")  # where a line is shorter
_WORDS = ("Phase", "Starts", "Stage")  # columns of words; the others are of numbers
_LEGEND = (
    "FLOPs are for one sample, a multiply-add counting as two; backward ends at the first trained layer. Step is "
    "forward and backward together, against training all of the net. Gradients and optimizer state are estimates for "
    "each process; activations come on top. Learning rates are those before any scheduler and warm-up."
)


def plan_tables(plan: PlanCost, width: int = _FULL) -> RenderableType:
    """The schedule for a terminal: an overview of the phases, then the stages of each.

    Args:
        plan: What `phase_costs` returns.
        width: The width of a line in characters, at least 72; below 100 the overview leaves out columns that the
            tables of the phases have too. Default: 100.
    """
    left_out = () if width >= _FULL else _LEFT_OUT
    overview = [{name: cell for name, cell in row.items() if name not in left_out} for row in _overview(plan)]
    notes = [Text(f"Note: {note}", style="yellow") for note in plan.notes]
    table = _table(overview[0], (row.values() for row in overview))
    parts: list[RenderableType] = [Text(_facts(plan)), *notes, Text(), table]
    details = [[*_details(phase), _total(phase)] for phase in plan.phases]
    widths = [max(len(row[column]) for rows in details for row in rows) for column in range(len(_DETAIL))]
    for phase, (*rows, total) in zip(plan.phases, details, strict=True):
        parts += [Text(_title(phase), style="bold"), Text(_once(phase)), _table(_DETAIL, rows, total, widths)]
    return Group(*parts, Text(_LEGEND, style="dim"))


def plan_text(plan: PlanCost, width: int = _FULL) -> str:
    """The tables as plain text; the arguments are those of `plan_tables`."""
    printed = io.StringIO()
    Console(file=printed, width=width, no_color=True).print(plan_tables(plan, width))
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines()) + "\n"


def plan_markdown(plan: PlanCost) -> str:
    """The tables in Markdown."""
    overview = list(_overview(plan))
    table = _markdown(overview[0], (row.values() for row in overview))
    parts = [_facts(plan), *(f"Note: {note}" for note in plan.notes), table]
    for phase in plan.phases:
        parts += [f"#### {_title(phase)}", _once(phase), _markdown(_DETAIL, [*_details(phase), _total(phase)])]
    return "\n\n".join([*parts, _LEGEND]) + "\n"


def _facts(plan: PlanCost) -> str:
    first = plan.phases[0]
    facts = [f"{first.trained + first.frozen:,} parameters in {len(first.stages)} stages", *plan.optimizers]
    facts += ["input " + " x ".join(map(str, shape)) for shape in plan.input_shapes]
    return ", ".join(facts)


def _title(phase: PhaseCost) -> str:
    return ", ".join([f"Phase {phase.number}: {phase.trains}", phase.start_in_words, *phase.settings])


def _once(phase: PhaseCost) -> str:
    return f"Computed once per sample: {phase.computed_once}."


def _overview(plan: PlanCost) -> Iterator[Mapping[str, str]]:
    for phase in plan.phases:
        flops = ("unknown", "unknown")
        if phase.flops is not None:
            flops = (_scaled(phase.flops.forward), _scaled(phase.flops.backward))
        yield {
            "Phase": f"{phase.number} {phase.trains}",
            "Starts": f"epoch {phase.start}" if isinstance(phase.start, int) else phase.start,
            "Trained": f"{_scaled(phase.trained)} ({_share(phase.trained, phase.trained + phase.frozen)})",
            "Frozen": _scaled(phase.frozen),
            "FLOPs\nforward": flops[0],
            "FLOPs\nbackward": flops[1],
            "Step": _step(phase.flops, plan.everything),
            "Gradients": byte_size(phase.gradient_bytes),
            "Optimizer\nstate": "unknown" if phase.optimizer_bytes is None else byte_size(phase.optimizer_bytes),
        }


def _share(part: int, whole: int) -> str:
    percent = 100 * part / whole
    return f"{percent:.0f}%" if percent >= 1 or part == 0 else f"{percent:.1g}%"


def _step(flops: Flops | None, everything: Flops | None) -> str:
    if flops is None or everything is None:
        return ""
    whole = everything.forward + everything.backward
    return f"{(flops.forward + flops.backward) / whole:.0%}" if whole else ""


def _details(phase: PhaseCost) -> Iterator[Sequence[str]]:
    for (is_frozen, rates), run in groupby(phase.stages, lambda stage: (stage.trained == 0, stage.learning_rates)):
        stages = list(run)
        folded = [stages] if len(stages) > (1 if is_frozen else _ALIKE) else [[stage] for stage in stages]
        for members in folded:
            trained, frozen = sum(m.trained for m in members), sum(m.frozen for m in members)
            rate = "" if is_frozen else " to ".join(dict.fromkeys(f"{rate:.3g}" for rate in (rates[:1] + rates[-1:])))
            yield (_range(members), f"{trained:,}" if trained else "frozen", f"{frozen:,}" if frozen else "", rate)


def _total(phase: PhaseCost) -> Sequence[str]:
    return ("in all", f"{phase.trained:,}", f"{phase.frozen:,}", "")


def _range(stages: Sequence[StageCost]) -> str:
    first, last = stages[0].name, stages[-1].name
    return first if len(stages) == 1 else f"{first} … {last} ({len(stages)} stages)"


def _scaled(number: float) -> str:
    """Three digits and a unit: `8.18 G`."""
    units = ["", "k", "M", "G", "T", "P"]
    while number >= 999.5 and len(units) > 1:
        number /= 1000
        del units[0]
    return f"{number:.3g} {units[0]}".strip()


def _table(
    header: Collection[str], rows: Iterable[Collection[str]], footer: Sequence[str] = (), widths: Sequence[int] = ()
) -> RenderableType:
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False, collapse_padding=True, show_footer=bool(footer))
    for name, last, width in zip_longest(header, footer, widths):
        side: Literal["left", "right"] = "left" if name in _WORDS else "right"
        whole = name not in ("Phase", "Stage")  # these two give way where the line is too short
        table.add_column(name, last or "", justify=side, overflow="fold", min_width=width, no_wrap=whole)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row), style="dim" if "frozen" in row else "")
    return Padding(table, (0, 0, 1, 0))


def _markdown(header: Collection[str], rows: Iterable[Collection[str]]) -> str:
    numeric = [place for place, name in enumerate(header) if name not in _WORDS]
    return TextTable(list(header), [list(row) for row in rows], numeric=numeric).as_markdown()
