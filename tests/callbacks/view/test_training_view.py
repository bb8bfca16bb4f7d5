"""The training view: on a real terminal (a pty, read by a terminal emulator), and as lines."""

import fcntl
import os
import pickle
import re
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pyte
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from plt_nn import MLP, BestLossStopping, Classifier, DigitsData, FreezingSchedule
from plt_nn.callbacks import TrainingView
from plt_nn.errors import ConfigError
from tests import warm

JOB = Path(__file__).with_name("view_job.py")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Screen(threading.Thread):
    """A terminal of a given size, with what is on it and what has left it at the top."""

    def __init__(self, columns: int = 100, rows: int = 40) -> None:
        super().__init__(daemon=True)
        self.ours, self.theirs = os.openpty()
        self.emulator = pyte.HistoryScreen(columns, rows, history=1000)
        self._stream = pyte.ByteStream(self.emulator)
        self._lock = threading.Lock()
        self.raw = b""
        self.resize(columns, rows)
        self.start()

    def run(self) -> None:
        while True:
            try:
                data = os.read(self.ours, 65536)
            except OSError:  # nobody has the other end any more
                return
            with self._lock:
                self.raw += data
                self._stream.feed(data)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        with self._lock:
            self.emulator.resize(rows, columns)

    def text(self) -> str:
        with self._lock:
            gone = ["".join(line[x].data for x in range(self.emulator.columns)) for line in self.emulator.history.top]
            return "\n".join(line.rstrip() for line in [*gone, *self.emulator.display])

    def await_text(self, pattern: str) -> str:
        end = time.monotonic() + warm.PATIENCE
        while time.monotonic() < end:
            is_over = not self.is_alive()
            if re.search(pattern, text := self.text(), re.MULTILINE):
                return text
            if is_over:
                break
            time.sleep(0.02)
        raise AssertionError(f"{pattern} did not come: {self.text()}")

    @property
    def has_cursor(self) -> bool:
        return not self.emulator.cursor.hidden


class Job:
    """The fit of `view_job.py` on a terminal of its own."""

    def __init__(self, *happening: str, columns: int = 100) -> None:
        self.screen = Screen(columns)
        plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        plain |= {"TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
        self.process = warm.Process([JOB, *happening], env=plain, output=self.screen.theirs)
        os.close(self.screen.theirs)

    def end(self) -> str:
        self.status = self.process.wait(warm.PATIENCE)
        self.screen.join(warm.PATIENCE)
        return self.screen.text()


@pytest.fixture
def start() -> Iterator[Callable[..., Job]]:
    """Starts fits, and leaves none behind."""
    jobs: list[Job] = []

    def start_one(*happening: str, **options: Any) -> Job:
        jobs.append(Job(*happening, **options))
        return jobs[-1]

    yield start_one
    for job in jobs:
        job.process.kill()


def rows(text: str) -> list[str]:
    return re.findall(r"^ +(\d+/\d+) ", text, re.MULTILINE)


# -- on a terminal ----------------------------------------------------------------------------------------------------


def test_a_fit_on_a_terminal_leaves_a_table_and_what_was_printed_in_its_order(start: Callable[..., Job]) -> None:
    job = start("workers")
    text = job.end()
    assert job.status == 0, text
    assert rows(text) == ["0/2", "1/2", "2/2"]
    assert re.search(r"^ +epoch +train_loss +val_loss +samples/s +time$", text, re.MULTILINE)
    assert re.search(r"0/2 +\d\.\d{4} +\d\.\d{4} ★", text)
    assert "━" in job.screen.raw.decode()
    assert "━" not in text, text  # what was drawn is gone
    assert job.screen.has_cursor
    assert text.rstrip().endswith("the end")
    said = ["printed in two words", "printed by the module", "UserWarning: warned", "logged by Lightning's handler"]
    places = [text.index(words) for words in [*said, "written to the stream that was found"]]
    assert places == sorted(places)
    (before,) = re.finditer(r"^ +0/2 ", text, re.MULTILINE)
    (after,) = re.finditer(r"^ +1/2 ", text, re.MULTILINE)
    assert before.start() < places[0] < places[-1] < after.start()


def test_an_error_leaves_the_terminal_as_it_was(start: Callable[..., Job]) -> None:
    job = start("boom")
    text = job.end()
    assert job.status == 1
    assert job.screen.has_cursor
    assert "━" not in text, text
    assert rows(text) == ["0/2"]
    assert "RuntimeError: an error in the middle of training" in text


def test_ctrl_c_leaves_the_terminal_as_it_was(start: Callable[..., Job]) -> None:
    job = start("endless")
    job.screen.await_text(r"^Epoch [1-9]\d* .*━")
    assert not job.screen.has_cursor
    job.process.send_signal(signal.SIGINT)
    text = job.end()
    assert job.screen.has_cursor
    assert "━" not in text, text
    assert re.search(r"^ +0 ", text, re.MULTILINE)


def test_the_drawing_follows_the_size_of_the_terminal(start: Callable[..., Job]) -> None:
    job = start("endless", columns=120)
    job.screen.await_text(r"^Epoch \d+ .*samples/s")
    job.screen.resize(30, 20)
    job.screen.await_text(r"^ +epoch +train_loss$|^ +epoch +val_loss$")
    job.screen.await_text(r"^best val_loss ")
    job.screen.resize(120, 40)
    job.screen.await_text(r"^Epoch \d+ .*samples/s$")
    job.process.send_signal(signal.SIGINT)
    job.end()
    assert job.screen.has_cursor


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Screen]]:
    """Gives this process a terminal to print to."""
    opened: list[TextIO] = []

    def open_screen() -> Screen:
        screen = Screen(80)
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("TERM", "xterm-256color")
        terminal = os.fdopen(screen.theirs, "w", buffering=1)
        opened.append(terminal)
        monkeypatch.setattr(sys, "stdout", terminal)
        return screen

    yield open_screen
    for terminal in opened:
        terminal.close()


class Lean(LightningModule):
    """Logs what it is told to."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.net, self.names = torch.nn.Linear(4, 1), names

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss: Tensor = self.net(batch[0]).pow(2).mean()
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        for name in self.names:
            self.log(name, self.net(batch[0]).pow(2).mean() / (1 + self.current_epoch))

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test_loss", self.net(batch[0]).pow(2).mean())

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Any:
        return self.net(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


def loader(samples: int = 32) -> DataLoader[Any]:
    torch.manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(samples, 4)), 4)


class Endless(IterableDataset[tuple[Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor]]:
        while True:
            yield (torch.ones(4),)


def a_trainer(*callbacks: Any, **arguments: Any) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(**{"callbacks": list(callbacks), **quiet, **arguments})


def test_validation_test_and_prediction_are_drawn_and_taken_away(on_a_terminal: Callable[[], Screen]) -> None:
    screen = on_a_terminal()
    trainer = a_trainer(TrainingView())
    trainer.validate(Lean("val_loss"), loader(), verbose=False)
    trainer.test(Lean(), loader(), verbose=False)
    trainer.predict(Lean(), loader())
    print("all done", flush=True)
    screen.await_text("all done")
    for words in (b"Validation", b"Test", b"Prediction"):
        assert words in screen.raw
    assert screen.text().strip() == "all done"
    assert screen.has_cursor
    assert "write" not in sys.stdout.__dict__


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_shall_have_plain_text_gets_lines(
    on_a_terminal: Callable[[], Screen], monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    screen = on_a_terminal()
    monkeypatch.setenv(variable, value)
    a_trainer(TrainingView(), max_epochs=2, limit_val_batches=0).fit(Lean(), loader())
    print("all done", flush=True)
    text = screen.await_text("all done")
    assert [line[:10] for line in text.splitlines() if line.startswith("Epoch")] == ["Epoch 0/1:", "Epoch 1/1:"]
    assert b"\x1b" not in screen.raw


def test_a_loader_without_an_end_has_a_count_and_no_bar(on_a_terminal: Callable[[], Screen]) -> None:
    screen = on_a_terminal()
    trainer = a_trainer(TrainingView(), max_steps=30, limit_val_batches=0)
    trainer.fit(Lean(), DataLoader(Endless(), 2))
    drawn = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.raw.decode())
    assert re.search(r"^Epoch 0 +\d+ ", drawn, re.MULTILINE), drawn
    assert re.search(r"^Fit +━+ +\d+ % ", drawn, re.MULTILINE), drawn  # the fit has an end
    assert "inf" not in drawn


# -- as lines ---------------------------------------------------------------------------------------------------------


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out = capsys.readouterr().out
    assert not CONTROL.search(out), repr(out)
    return [line for line in out.splitlines() if line.startswith("Epoch")]


def test_without_a_terminal_each_epoch_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    a_trainer(TrainingView(), max_epochs=2).fit(Lean("val_loss"), loader(), loader())
    first, second = lines_of(capsys)
    number = r"\d+\.\d{4}"
    assert re.fullmatch(
        rf"Epoch 0/1: loss {number}, val_loss {number} \(best\), [\d,.]+ samples/s, [\d.]+ s, about \d+ s left", first
    )
    assert re.fullmatch(rf"Epoch 1/1: loss {number}, val_loss {number} \(best\), [\d,.]+ samples/s, [\d.]+ s", second)


def test_phases_best_and_patience_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    phases: list[dict[str, Any]] = [{"train": "head"}, {"train": "all", "start": 1}]
    stopping = BestLossStopping(patience=4, dirpath=str(tmp_path))
    module = Classifier(MLP(64, [8], 10), optimizer=lambda p: torch.optim.SGD(p, 0.1))
    trainer = a_trainer(TrainingView(), FreezingSchedule(phases), stopping, max_epochs=2)
    trainer.fit(module, DigitsData(layout="flat", batch_size=256))
    first, second = lines_of(capsys)
    assert first.startswith("Epoch 0/1: phase 0 head, train_loss ")
    assert re.search(r" val_loss \S+ \(best\), val_acc \S+, .* patience 4 of 4 epochs, about", first)
    assert second.startswith("Epoch 1/1: phase 1 all, train_loss ")
    best = f"{stopping.progress.best:.4f}"
    assert f"val_loss {best} (best)" in second


def test_lightnings_early_stopping_is_a_source_too(capsys: pytest.CaptureFixture[str]) -> None:
    module = Lean("val_score", "val_other")
    stopping = EarlyStopping("val_score", mode="max", patience=3)  # which falls from epoch to epoch
    a_trainer(stopping, TrainingView(), max_epochs=3).fit(module, loader(), loader())
    lines = lines_of(capsys)
    assert "val_score" in lines[0]
    assert "(best)" in lines[0]
    assert "patience 3 of 3 checks" in lines[0]
    assert re.search(r"best val_score \d+\.\d{4} at epoch 0, patience 1 of 3 checks", lines[2])


def test_metrics_that_an_epoch_did_not_measure_are_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    a_trainer(TrainingView(), max_epochs=4, check_val_every_n_epoch=2).fit(Lean("val_loss"), loader(), loader())
    assert ["val_loss 0" in line for line in (re.sub(r"best val_loss.*", "", line) for line in lines_of(capsys))] == [
        False,
        True,
        False,
        True,
    ]


def test_a_long_epoch_has_lines_in_between(capsys: pytest.CaptureFixture[str]) -> None:
    class Slow(Lean):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            time.sleep(0.02)
            return super().training_step(batch, batch_idx)

    a_trainer(TrainingView(line_seconds=0.01), max_epochs=1, limit_val_batches=0).fit(Slow(), loader(48))
    *between, last = lines_of(capsys)
    assert any(
        re.fullmatch(r"Epoch 0/0: \d+ of 12 batches, loss .*, [\d.]+ samples/s, about \d+ s left", line)
        for line in between
    ), between
    assert last.startswith("Epoch 0/0: loss ")


def test_a_limit_of_time_is_an_end_too(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = a_trainer(TrainingView(), max_epochs=2, max_time={"hours": 1}, limit_val_batches=0)
    trainer.fit(Lean(), loader())
    assert "about" in lines_of(capsys)[0]
    endless = a_trainer(TrainingView(), max_epochs=-1, max_time={"seconds": 1}, limit_val_batches=0)
    endless.fit(Lean(), loader())
    assert re.search(r"Epoch 0: loss .*, about 1 s left", lines_of(capsys)[0])


def test_a_resumed_fit_goes_on_where_it_was(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first = a_trainer(TrainingView(), max_epochs=2)
    first.fit(Lean("val_loss"), loader(), loader())
    first.save_checkpoint(tmp_path / "last.ckpt")
    capsys.readouterr()
    second = a_trainer(TrainingView(), max_epochs=3)
    second.fit(Lean("val_loss"), loader(), loader(), ckpt_path=tmp_path / "last.ckpt")
    (line,) = lines_of(capsys)
    assert line.startswith("Epoch 2/2: loss ")
    assert "best" not in line  # what was best before is not known


def test_output_that_is_gone_ends_no_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    gone = os.fdopen(write, "w", buffering=1)
    monkeypatch.setattr(sys, "stdout", gone)
    trainer = a_trainer(TrainingView(), max_epochs=2, limit_val_batches=0)
    trainer.fit(Lean(), loader())
    assert trainer.current_epoch == 2
    monkeypatch.undo()
    with pytest.raises(BrokenPipeError):
        gone.close()


def test_it_can_be_switched_off_and_on_as_lightning_does(capsys: pytest.CaptureFixture[str]) -> None:
    view = TrainingView()
    view.disable()
    a_trainer(view, max_epochs=1, limit_val_batches=0).fit(Lean(), loader())
    assert lines_of(capsys) == []
    view.enable()
    a_trainer(view, max_epochs=1, limit_val_batches=0).fit(Lean(), loader())
    assert len(lines_of(capsys)) == 1


def test_of_two_processes_the_first_alone_shows() -> None:
    done = warm.run_ranks(2, [JOB, "ddp"])
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("Epoch")]
    assert [line[:10] for line in lines] == [f"Epoch {n}/2:" for n in range(3)]


class Copies(Callback):
    """Pickles another callback within an epoch, as `ddp_spawn` does with the whole trainer."""

    def __init__(self, other: Callback) -> None:
        self.other, self.copy = other, b""

    def on_train_batch_end(self, *args: Any) -> None:
        self.copy = pickle.dumps(self.other)


def test_a_copy_for_a_spawned_process_is_whole(on_a_terminal: Callable[[], Screen]) -> None:
    screen = on_a_terminal()
    copies = Copies(TrainingView())
    a_trainer(copies.other, copies, max_epochs=1, limit_val_batches=0).fit(Lean(), loader())
    a_trainer(pickle.loads(copies.copy), max_epochs=4, limit_val_batches=0).fit(Lean(), loader())
    print("all done", flush=True)
    assert rows(screen.await_text("all done")) == ["0/0", "0/3", "1/3", "2/3", "3/3"]


def test_a_time_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="line_seconds=0"):
        TrainingView(line_seconds=0)
