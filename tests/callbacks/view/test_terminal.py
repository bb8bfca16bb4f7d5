"""What is drawn and written, at every width."""

import io
import math

import pytest
from rich.cells import cell_len
from rich.console import Console

from plt_nn.callbacks.view.snapshot import BestSoFar, Snapshot, estimate, metric_text
from plt_nn.callbacks.view.terminal import EpochTable, drawing

BEST = BestSoFar("val_loss", 0.0567, 2, 2, 3, "epochs")
WHOLE = Snapshot(
    title="Epoch 3/13",
    done=23,
    total=45,
    seconds=83.0,
    share=0.27,
    remaining=220.0,
    phase="1/2 trains last 3 stages (2,345,678 of 3,400,000 parameters)",
    metrics={"loss": 0.1234},
    speed=812.4,
    best=BEST,
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
    assert epoch.split()[-3:] == ["23/45", "812", "samples/s"]
    assert fit.startswith("Fit        ━")
    assert fit.endswith("27 %  1 min 23 s, about 3 min 40 s left")
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


@pytest.mark.parametrize("width", [30, 45, 60, 80, 100, 150])
def test_everything_is_there_at_every_width_that_has_room(width: int) -> None:
    text = " ".join(" ".join(drawn(WHOLE, width)).split())
    shown = [
        "Epoch 3/13",
        "23/45",
        "27 %",
        "phase 1/2",
        "loss 0.1234",
        "best val_loss",
        "patience ●●○",
        "812 samples/s",
    ]
    assert [words for words in shown if words not in text] == []
    assert ("━" in text) == (width >= 40)


def test_what_is_not_known_is_left_out() -> None:
    _, line = drawn(Snapshot("Epoch 0", 1234, math.inf, 1.0), 100)
    assert line.split() == ["Epoch", "0", "1,234"]


METRICS = {"train_loss": 0.7, "val_loss": 0.44, "val_acc": 0.871}
ROW = Snapshot("Epoch 0/13", 9, 9, 12.3, phase="0 head", metrics=METRICS, speed=812.0)


def test_headings_come_once_and_again_with_a_new_metric_or_width() -> None:
    table = EpochTable()
    headings, first = table.lines(ROW, 100)
    assert headings.plain.split() == ["epoch", "phase", "train_loss", "val_loss", "val_acc", "samples/s", "time"]
    assert first.plain.split() == ["0/13", "0", "head", "0.7000", "0.4400", "0.8710", "812", "12", "s"]
    assert len(table.lines(ROW, 100)) == 1
    assert len(table.lines(Snapshot("Epoch 1/13", 9, 9, 1.0, metrics={**METRICS, "val_f1": 0.5}), 100)) == 2
    assert len(table.lines(ROW, 60)) == 2
    assert len(table.lines(ROW, 59)) == 1  # the columns are the same


def test_numbers_stand_below_the_ends_of_their_headings() -> None:
    headings, row = EpochTable().lines(ROW, 100)
    assert headings.plain.index("val_loss") + len("val_loss") == row.plain.index("0.4400") + len("0.4400")


def test_the_best_is_marked_and_what_was_not_measured_is_a_dash() -> None:
    table = EpochTable()
    best = Snapshot("Epoch 0/1", 9, 9, 1.0, metrics=METRICS, best=BestSoFar("val_loss", 0.44, 0), is_best=True)
    assert "0.4400 ★" in table.lines(best, 100)[1].plain
    assert "0.4400 *" in table.lines(best, 100, ascii_only=True)[0].plain
    line = table.lines(Snapshot("Epoch 1/1", 9, 9, 1.0, metrics={"train_loss": 0.5}, best=best.best), 100)[0].plain
    assert line.split() == ["1/1", "0.5000", "-", "-", "1.0", "s"]


@pytest.mark.parametrize("width", [1, 10, 24, 46, 80])
def test_a_narrow_table_keeps_what_matters_most(width: int) -> None:
    row = Snapshot("Epoch 0/13", 9, 9, 12.3, phase="0 head", metrics=METRICS, speed=812.0, best=BEST)
    headings, line = EpochTable().lines(row, width)
    assert max(headings.cell_len, line.cell_len) <= max(width, 7)
    shown = headings.plain.split()
    assert shown[0] == "epoch"
    assert ("val_loss" in shown) == (width >= 24)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (metric_text(0.03991), "0.0399"),
        (metric_text(0.0), "0.0000"),
        (metric_text(3.1e-5), "3.10e-05"),
        (metric_text(123456.0), "1.23e+05"),
        (metric_text(math.nan), "nan"),
        (metric_text(-math.inf), "-inf"),
        (estimate(0.2), "1 s"),
        (estimate(7.4), "7 s"),
        (estimate(220), "3 min 40 s"),
        (Snapshot("", 0, 0, 0, speed=3.14).words()["speed"], "3.1 samples/s"),
        (Snapshot("", 0, 0, 0, speed=12345.6).words()["speed"], "12,346 samples/s"),
    ],
)
def test_numbers_and_times(written: str, expected: str) -> None:
    assert written == expected
