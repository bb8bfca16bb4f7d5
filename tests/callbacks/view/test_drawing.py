"""What is drawn and written, at every width."""

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from plt_nn.callbacks.view.epoch_table import EpochTable
from plt_nn.callbacks.view.snapshot import BestSoFar, EpochRow, Snapshot, about, duration, number, speed
from plt_nn.callbacks.view.terminal import drawing, flow

STANDING = BestSoFar("val_loss", 0.0567, 2, 2, 3, "epochs")
WHOLE = Snapshot(
    doing="Epoch 3/13",
    done=23,
    total=45,
    elapsed=83.0,
    share=0.27,
    left=220.0,
    phase="1/2 trains last 3 stages (2,345,678 of 3,400,000 parameters)",
    loss=0.1234,
    speed=812.4,
    standing=STANDING,
)


def drawn(snapshot: Snapshot, width: int, encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, color_system=None)
    with console.capture() as capture:
        console.print(drawing(snapshot, width, encoding == "ascii"))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_all_of_it() -> None:
    above, epoch, fit, phase, figures = drawn(WHOLE, 120)
    assert above == ""
    assert epoch.startswith("Epoch 3/13 ━")
    assert epoch.endswith("23/45 812 samples/s")
    assert fit.endswith("27 % 1:23 min, about 3:40 min left")
    assert phase == "phase 1/2 trains last 3 stages (2,345,678 of 3,400,000 parameters)"
    assert figures == "loss 0.1234   best val_loss 0.0567 at epoch 2   patience ●●○ 2 of 3 epochs left"


@pytest.mark.parametrize("width", [1, 8, 20, 40, 71, 72, 109, 110, 300])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_line_is_wider_than_the_terminal(width: int, encoding: str) -> None:
    for snapshot in (WHOLE, Snapshot("Validation", 3, math.inf, 1.0)):
        lines = drawn(snapshot, width, encoding)
        assert max(map(cell_len, lines)) <= width
        assert len(lines) <= 9
        if encoding == "ascii":
            assert "".join(lines).replace("…", "").isascii()


def test_what_is_not_known_is_left_out() -> None:
    _, line = drawn(Snapshot("Epoch 0", 1234, math.inf, 1.0), 100)
    assert line.split() == ["Epoch", "0", "1,234"]


@given(st.lists(st.text("ab ", min_size=1, max_size=30), max_size=6), st.integers(1, 60))
def test_fields_flow_in_their_order(fields: list[str], width: int) -> None:
    lines = flow([Text(field) for field in fields], width)
    assert all(line.cell_len <= width for line in lines)
    if width >= 30:
        assert "   ".join(fields).split() == "   ".join(line.plain for line in lines).split()


ROW = EpochRow(0, 13, {"train_loss": 0.7, "val_loss": 0.44, "val_acc": 0.871}, 12.3, "0 head", 812.0)


def test_headings_come_once_and_again_with_a_new_metric_or_width() -> None:
    table = EpochTable()
    headings, first = table.lines(ROW, 100)
    assert headings.plain.split() == ["epoch", "phase", "train_loss", "val_loss", "val_acc", "samples/s", "time"]
    assert first.plain.split() == ["0/13", "0", "head", "0.7000", "0.4400", "0.8710", "812", "12", "s"]
    assert len(table.lines(ROW, 100)) == 1
    assert len(table.lines(EpochRow(1, 13, {**ROW.metrics, "val_f1": 0.5}, 1.0, "0 head", 1.0), 100)) == 2
    assert len(table.lines(ROW, 60)) == 2
    assert len(table.lines(ROW, 59)) == 1  # the columns are the same


def test_numbers_stand_below_the_ends_of_their_headings() -> None:
    headings, row = EpochTable().lines(ROW, 100)
    assert headings.plain.index("val_loss") + len("val_loss") == row.plain.index("0.4400") + len("0.4400")


def test_the_best_is_marked_and_what_was_not_measured_is_a_dash() -> None:
    table = EpochTable()
    best = BestSoFar("val_loss", 0.44, 0)
    assert "0.4400 ★" in table.lines(EpochRow(0, 1, ROW.metrics, 1.0, standing=best), 100)[1].plain
    assert "0.4400 *" in table.lines(EpochRow(0, 1, ROW.metrics, 1.0, standing=best), 100, ascii_only=True)[0].plain
    line = table.lines(EpochRow(1, 1, {"train_loss": 0.5}, 1.0, standing=best), 100)[0].plain
    assert line.split() == ["1/1", "0.5000", "-", "-", "1.0", "s"]


@pytest.mark.parametrize("width", [1, 10, 24, 46, 80])
def test_a_narrow_table_keeps_what_matters_most(width: int) -> None:
    row = EpochRow(0, 13, ROW.metrics, 12.3, "0 head", 812.0, STANDING)
    headings, line = EpochTable().lines(row, width)
    assert max(headings.cell_len, line.cell_len) <= max(width, 7)
    kept = headings.plain.split()
    assert kept[0] == "epoch"
    assert ("val_loss" in kept) == (width >= 24)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (number(0.03991), "0.0399"),
        (number(0.0), "0.0000"),
        (number(3.1e-5), "3.10e-05"),
        (number(123456.0), "1.23e+05"),
        (number(math.nan), "nan"),
        (number(-math.inf), "-inf"),
        (duration(4.24), "4.2 s"),
        (duration(9.99), "10 s"),
        (duration(59.6), "1:00 min"),
        (duration(220), "3:40 min"),
        (duration(3599.8), "1:00 h"),
        (duration(90_061), "25:01 h"),
        (about(0.2), "about 1 s"),
        (about(7.4), "about 7 s"),
        (speed(3.14), "3.1 samples/s"),
        (speed(12345.6), "12,346 samples/s"),
    ],
)
def test_numbers_and_times(written: str, expected: str) -> None:
    assert written == expected
