"""What is written to a spool is read from it, whatever happens in between."""

import math
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plt_nn.errors import TrackingError
from plt_nn.tracking.spool.events import End, LostRows, Metrics, Tags, decode, encode, rows_in
from plt_nn.tracking.spool.folder import SpoolFolder, spool_folders
from plt_nn.tracking.spool.reader import read_batch, read_events
from plt_nn.tracking.spool.writer import SpoolWriter

MEGABYTE = 1 << 20


def metrics(step: int, /, **values: float) -> Metrics:
    return Metrics(step, values or {"loss": 1.0}, time=1)


@pytest.fixture
def folder(tmp_path: Path) -> SpoolFolder:
    return SpoolFolder(tmp_path / "mlruns" / "spool" / "20261124-133254-1a2b3c4d")


def steps(folder: SpoolFolder) -> list[int | None]:
    return [read.event.step if isinstance(read.event, Metrics) else None for read in read_events(folder.events)]


# -- events and lines -------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(), st.floats(allow_nan=False)), st.integers(0, 2**62))
def test_an_event_comes_back_as_it_was(values: dict[str, float], step: int) -> None:
    event = metrics(step, **values)
    line = encode(event)
    assert line.count(b"\n") == 1
    assert decode(line) == event


def test_nan_comes_back_and_objects_become_texts() -> None:
    wrong: Any = Path("/b")
    assert decode(encode(Tags({"a": wrong}))) == Tags({"a": "/b"})
    event = decode(encode(metrics(1, loss=math.nan)))
    assert isinstance(event, Metrics)
    assert math.isnan(event.metrics["loss"])


@given(st.integers(1, 200))
def test_no_part_of_a_line_passes_for_an_event(cut: int) -> None:
    line = encode(metrics(7, loss=0.25, acc=0.5)).rstrip(b"\n")
    assert decode(line[: max(1, len(line) - cut)]) is None or cut == 0


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 12))
def test_batches_cover_every_line_once(sizes: list[int], most: int) -> None:
    lines = [encode(metrics(n, **{f"m{i}": float(i) for i in range(size)})) for n, size in enumerate(sizes)]
    path = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"plt_nn_batches_{threading.get_ident()}"
    path.write_bytes(b"".join(lines))
    try:
        offset, seen = 0, []
        while batch := read_batch(path, offset, most):
            assert len(batch) == 1 or sum(rows_in(read.event) for read in batch if read.event) <= most
            seen += [read.event.step for read in batch if isinstance(read.event, Metrics)]
            offset = batch[-1].end
        assert seen == list(range(len(sizes)))
        assert offset == path.stat().st_size
    finally:
        path.unlink()


# -- writing ----------------------------------------------------------------------------------------------------------


def test_what_is_being_written_is_left_for_the_next_time(folder: SpoolFolder) -> None:
    writer = SpoolWriter(folder, MEGABYTE)
    writer.append(metrics(1))
    with folder.events.open("ab") as file:
        file.write(encode(metrics(2))[:-10])
    assert steps(folder) == [1]
    writer.close()


def test_a_torn_line_is_recognised_and_the_next_one_is_whole(folder: SpoolFolder) -> None:
    writer = SpoolWriter(folder, MEGABYTE)
    for step in (1, 2):
        writer.append(metrics(step))
    writer.close()
    folder.events.write_bytes(folder.events.read_bytes()[:-5])
    writer = SpoolWriter(folder, MEGABYTE)
    writer.append(metrics(3))
    writer.close()
    assert steps(folder) == [1, None, 3]


def test_several_threads_do_not_mix_their_lines(folder: SpoolFolder) -> None:
    writer = SpoolWriter(folder, 100 * MEGABYTE)
    threads = [
        threading.Thread(target=lambda n=n: [writer.append(metrics(1000 * n + i)) for i in range(1000)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    assert sorted(step for step in steps(folder) if step is not None) == list(range(4000))


def test_beyond_its_limit_rows_are_counted_and_the_end_is_written(folder: SpoolFolder) -> None:
    writer = SpoolWriter(folder, 1000)
    with pytest.warns(UserWarning, match="reached its limit of 0 MB: what is logged is being lost"):
        assert [writer.append(metrics(step, a=1.0, b=2.0)) for step in range(100)].count(True) > 0
    writer.append(End("FINISHED"))
    writer.close()
    events = [read.event for read in read_events(folder.events)]
    written = [event for event in events if isinstance(event, Metrics)]
    assert 0 < len(written) < 100
    assert [event.step for event in written] == list(range(len(written)))
    assert writer.lost == 2 * (100 - len(written))
    (lost,) = [event for event in events if isinstance(event, LostRows)]
    assert lost.rows == writer.lost
    assert isinstance(events[-1], End)


def test_a_full_disk_loses_rows_counts_them_and_tells_when_there_is_room(folder: SpoolFolder) -> None:
    job = f"""
import resource, signal, warnings
from pathlib import Path
from typing import Any
from plt_nn.tracking.spool.events import Metrics
from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.spool.writer import SpoolWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = SpoolWriter(SpoolFolder(Path({str(folder.root)!r})), 1 << 30)
metrics = lambda step: Metrics(step, {{"loss": 1.0}}, time=1)
for step in range(5):
    writer.append(metrics(step))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (folder_size := writer.folder.size() + 30, hard))  # in the middle of a line
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for step in range(5, 10):
        writer.append(metrics(step))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
for step in range(10, 12):
    writer.append(metrics(step))
print(writer.lost, len(caught))
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", job], capture_output=True, text=True, check=False)
    assert done.stdout == "5 1\n", done.stderr
    events = [read.event for read in read_events(folder.events)]
    before, after = [metrics(step) for step in range(5)], [metrics(step) for step in (10, 11)]
    assert events == [*before, None, LostRows(5, "[Errno 27] File too large"), *after]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrackingError, match=r"cannot be written \(Not a directory\)"):
        SpoolWriter(SpoolFolder(tmp_path / "file" / "spool" / "uid"), MEGABYTE)


# -- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_set_aside_as_it_is_and_a_later_one_takes_its_place(folder: SpoolFolder, tmp_path: Path) -> None:
    writer = SpoolWriter(folder, MEGABYTE)
    source = tmp_path / "a.txt"
    staged: list[Path] = []
    for text in ("one", "two"):
        source.write_text(text)
        artifact = writer.stage(source, "notes/a.txt")
        assert artifact is not None
        staged.append(folder.root / artifact.file)
    source.write_text("three")
    assert not staged[0].exists()
    assert staged[1].read_text() == "two"
    writer.unstage("notes/a.txt")
    assert not staged[1].exists()
    writer.close()


def test_a_file_that_is_only_replaced_takes_no_space(folder: SpoolFolder, tmp_path: Path) -> None:
    writer = SpoolWriter(folder, MEGABYTE)
    source = tmp_path / "last.ckpt"
    source.write_text("one")
    artifact = writer.stage(source, "checkpoints/last.ckpt", is_replaced=True)
    assert artifact is not None
    assert (folder.root / artifact.file).samefile(source)
    other = tmp_path / "new"
    other.write_text("two")
    other.replace(source)
    assert (folder.root / artifact.file).read_text() == "one"
    writer.close()


def test_a_file_that_is_gone_is_told_and_kills_nothing(folder: SpoolFolder, tmp_path: Path) -> None:
    writer = SpoolWriter(folder, MEGABYTE)
    with pytest.warns(UserWarning, match=r"a\.txt could not be copied for MLflow: .*No such file"):
        assert writer.stage(tmp_path / "nowhere", "a.txt") is None
    writer.close()


def test_the_spools_of_a_store(folder: SpoolFolder) -> None:
    assert list(spool_folders(folder.store)) == []
    SpoolWriter(folder, MEGABYTE).close()
    (folder.root.parent / "something else").mkdir()
    assert list(spool_folders(folder.store)) == [folder]
    assert folder.uid == "20261124-133254-1a2b3c4d"
    assert SpoolFolder(folder.root.with_name(f"{folder.uid}.node1")).uid == folder.uid


def test_it_needs_neither_lightning_nor_torch_nor_mlflow() -> None:
    code = "import sys, plt_nn.tracking.upload.deliver_with_retries; print({n.partition('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for heavy in ("lightning", "torch", "mlflow", "pandas", "numpy"):
        assert f"'{heavy}'" not in done.stdout, "the uploader imports MLflow when there is something to deliver"
