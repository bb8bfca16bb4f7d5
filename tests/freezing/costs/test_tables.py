"""The tables of a plan: folded where stages are alike, within their width, and the same in Markdown."""

import json
import re

import pytest

from plt_nn.freezing.costs.flops import Flops
from plt_nn.freezing.costs.phase_costs import PhaseCost, PlanCost, StageCost
from plt_nn.freezing.costs.tables import plan_markdown, plan_text


def deep(blocks: int, first_trained: int, decay: float = 1.0, trains: str = "last stages") -> PhaseCost:
    names = ["stem", *(f"blocks.{number}" for number in range(blocks)), "head"]
    stages = tuple(
        StageCost(name, 1000, 0, (decay ** (len(names) - place),))
        if place >= first_trained
        else StageCost(name, 0, 1000, ())
        for place, name in enumerate(names)
    )
    trained = 1000 * (len(names) - first_trained)
    frozen = 1000 * first_trained
    flops, once = Flops(8.178e9, 16.1e9), "all up to stem, 1,024 values a sample"
    return PhaseCost(1, trains, 3, "from epoch 3", (), stages, trained, frozen, flops, 4096, 10**9, once)


def plan(*phases: PhaseCost, notes: tuple[str, ...] = ()) -> PlanCost:
    return PlanCost(phases, Flops(10e9, 20e9), ("AdamW",), ((3, 224, 224),), notes)


def rows_of(text: str, header: str) -> list[str]:
    """The lines of the last table with this header, without rules."""
    lines = text[text.rindex(header) :].split("\n\n")[0].splitlines()[1:]
    return [line for line in lines if not set(line) <= {"─", " "}]


def test_a_run_of_frozen_stages_is_one_line() -> None:
    rows = rows_of(plan_text(plan(deep(24, 24))), "Stage ")
    assert [row.split()[0] for row in rows] == ["stem", "blocks.23", "head", "in"]
    assert re.fullmatch(r"stem … blocks\.22 \(24 stages\) +frozen +24,000", rows[0])
    assert re.fullmatch(r"in all +2,000 +24,000", rows[-1])


def test_a_long_run_of_stages_at_one_rate_is_one_line_but_not_at_several() -> None:
    rows = rows_of(plan_text(plan(deep(24, 0))), "Stage ")
    assert re.fullmatch(r"stem … head \(26 stages\) +26,000 +1", rows[0])
    assert len(rows) == 2
    assert len(rows_of(plan_text(plan(deep(24, 0, decay=0.75))), "Stage ")) == 27
    assert len(rows_of(plan_text(plan(deep(3, 0))), "Stage ")) == 6


@pytest.mark.parametrize("width", [72, 80, 100])
def test_no_line_is_wider_than_asked_for_and_no_number_is_cut(width: int) -> None:
    wordy = deep(24, 12, decay=0.9, trains=r"re:blocks\.[0-9]+\.(attn|mlp).*, head, blocks.*.norm?.weight")
    text = plan_text(plan(wordy, wordy, notes=("Nothing is known. " * 20,)), width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert text.count("Computed once per sample: all up to stem, 1,024 values a sample.") == 2
    for cell in ("14 k (54%)", "8.18 G", "16.1 G", "81%", "4.1 KB", "1.0 GB", " 0.729\n"):
        assert text.count(cell) >= 2
    assert ("epoch 3 " in text) == (width == 100), "told by the tables of the phases"


def test_names_with_brackets_are_printed_as_they_are() -> None:
    name = "re:[bold]layer[/bold][0-9]"
    text = plan_text(plan(deep(2, 1, trains=name)), 200)
    assert f"Phase 1: {name}, from epoch 3" in text
    assert f"1 {name}" in text


def test_the_overview_tells_the_costs_in_units() -> None:
    (row,) = rows_of(plan_text(plan(deep(24, 13))), "Phase  ")
    assert row.split() == [
        *("1", "last", "stages", "epoch", "3", "13", "k", "(50%)", "13", "k", "8.18", "G", "16.1", "G", "81%"),
        *("4.1", "KB", "1.0", "GB"),
    ]


def test_what_is_not_known_is_said() -> None:
    phase = deep(2, 1)
    unknown = PhaseCost(**{**vars(phase), "flops": None, "optimizer_bytes": None})
    text = plan_text(PlanCost((unknown,), None, (), (), ("No input is known.",)))
    assert "Note: No input is known." in text
    assert rows_of(text, "Phase  ")[0].split()[-5:] == ["unknown", "unknown", "4.1", "KB", "unknown"]


def test_markdown_has_the_same_cells() -> None:
    found = plan_markdown(plan(deep(24, 24, trains="re:a|b"), notes=("Mind the gap.",)))
    overview, detail = (
        [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in table.splitlines()]
        for table in found.split("\n\n")
        if table.startswith("|")
    )
    assert len(overview) == len(overview[0]) - 6 == 3
    assert {len(row) for row in overview} == {9}
    assert overview[2][0] == r"1 re:a\|b"
    assert [row[0] for row in detail] == ["Stage", "---", "stem … blocks.22 (24 stages)", "blocks.23", "head", "in all"]
    assert "Note: Mind the gap." in found


def test_a_plan_is_plain_data() -> None:
    told = json.loads(json.dumps(plan(deep(2, 1)).as_dict()))
    assert told["phases"][0]["stages"][0] == {"name": "stem", "trained": 0, "frozen": 1000, "learning_rates": []}
    assert told["phases"][0]["flops"] == {"forward": 8.178e9, "backward": 16.1e9}
