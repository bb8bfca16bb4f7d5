"""The page as text: it needs nothing else, and what users call things cannot act in it."""

import re
from dataclasses import replace

import numpy as np
import pytest

from plt_nn.reports.comparison import Comparison, row_of
from plt_nn.reports.metric import Best
from plt_nn.reports.page import Report, page, read_facts
from plt_nn.tracking.read.runs import Point, RunRecord, history_of

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'"


def report(name: str = "run", count: int = 2, steps: int = 50) -> Report:
    rows, histories = [], []
    for number in range(count):
        history = history_of(
            np.stack([np.arange(steps), np.linspace(1, 0.1, steps) + number, np.arange(steps)], axis=1)
        )
        last = Point(float(history.values[-1]), steps - 1, steps)
        run = RunRecord(
            *(f"id{number}", f"{name} {number}", name, "FINISHED", 0, 60_000),
            *({f"p{name}": f"{name}{number}"}, {}, {"val_loss": last, f"val_{name}": last}),
        )
        rows.append(row_of(run, Best(0.1 + number, steps - 1), None))
        histories.append({"val_loss": history, f"val_{name}": history})
    columns = {f"p{name}": f"p{name}"}
    comparison = Comparison("val_loss", "min", tuple(rows), None, (), (), columns, (f"A note on {name}.",))
    facts = {"classes": [name, "b"], "confusion": [[1, 0], [0, 1]], "validation": name, "most_wrong": []}
    return Report(name, comparison, histories, [facts] * count, "Made now.")


def test_what_users_call_things_is_shown_and_never_acts() -> None:
    text = page(report(EVIL))
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert "<img" not in text
    assert len(re.findall(r"<script", text)) == 4, "the data, the arrays, the library and our own"


def test_nothing_is_asked_from_anywhere() -> None:
    text = page(report())
    assert re.search(r'(src|href)="(?!#|data:)', text) is None
    assert "default-src 'none'" in text
    assert "@import" not in text
    assert "url(" not in text


def test_only_images_are_shown_as_images() -> None:
    given = report()
    sample = {"true": "a", "said": "b", "probability": 0.9, "file": EVIL}
    images = [
        "javascript:alert(1)",
        "https://example.org/x.jpg",
        "data:text/html;base64,AAAA",
        "data:image/jpeg;base64,AAAA",
    ]
    facts = {"most_wrong": [{**sample, "image": image} for image in images]}
    text = page(replace(given, facts=[facts, {}]))
    assert re.findall(r'<img src="([^"]*)"', text) == ["data:image/jpeg;base64,AAAA"]


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b'{"classes": ["a"], "confusion": [[1, 2]]}', b'{"classes": 3}']
)
def test_damaged_facts_are_no_facts(content: bytes | None) -> None:
    assert read_facts(content) == {}


def test_a_single_run_has_its_parameters_and_no_legend() -> None:
    text = page(report(count=1))
    assert 'class="legend"' not in text
    assert "1 parameters" in text


def test_equal_steps_are_kept_once() -> None:
    noise = np.random.default_rng(0).normal(size=100_000)
    given = report(count=1, steps=100_000)
    own = {f"val_{n}": history_of(np.stack([np.arange(100_000), noise, np.arange(100_000)], axis=1)) for n in range(6)}
    run = replace(given.comparison.rows[0].run, last={name: Point(0.0, 1, 1) for name in own})
    row = replace(given.comparison.rows[0], run=run)
    text = page(replace(given, comparison=replace(given.comparison, rows=(row,)), histories=[own]))
    assert len(text) < 5e6, "six metrics of the same values and steps take the room of one"
