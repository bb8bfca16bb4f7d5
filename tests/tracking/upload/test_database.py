"""The database of a fresh store is there as a whole or not at all."""

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from plt_nn.tracking import store_at
from tests import warm

MAKE = """
import sys
from plt_nn.tracking import store_at
from plt_nn.tracking.upload.database import ensure_database
ensure_database(store_at(sys.argv[1]).uri)
"""


def make(folder: Path) -> warm.Process:
    return warm.Process(["-c", MAKE, folder], interpreter=warm.MLFLOW)


def tables(folder: Path) -> set[str]:
    with closing(sqlite3.connect(store_at(folder).database)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_makes_it_leaves_nothing_broken(tmp_path: Path) -> None:
    lottery = random.Random(0)
    for _ in range(3):
        maker = make(tmp_path)
        partial = tmp_path / ".mlflow.db.partial"
        while maker.poll() is None and not partial.exists():
            time.sleep(0.005)
        time.sleep(lottery.uniform(0.0, 0.5))
        maker.kill()
        maker.wait()
    assert make(tmp_path).wait(warm.PATIENCE) == 0
    assert {"runs", "metrics", "logged_models", "alembic_version"} <= tables(tmp_path)
    assert not any(name.startswith("_alembic_tmp") for name in tables(tmp_path))
    assert not list(tmp_path.glob(".mlflow.db*"))


@pytest.mark.slow
def test_several_at_once(tmp_path: Path) -> None:
    makers = [make(tmp_path) for _ in range(4)]
    assert [maker.wait(warm.PATIENCE) for maker in makers] == [0] * 4
    assert {"runs", "metrics", "logged_models", "alembic_version"} <= tables(tmp_path)
