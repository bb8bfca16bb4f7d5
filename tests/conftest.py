"""Fixtures that several folders of tests share."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# Before torch loads OpenMP: threads that wait for each other leave the core to the processes that a test has started,
# where they would else keep it busy. Small fits take half the processor time, and as long as before when nobody waits.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if "PYTEST_XDIST_WORKER" in os.environ:  # the other cores have workers of their own
    os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch

# A busy machine is no fault of the code.
settings.register_profile("plt_nn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("plt_nn")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seeds what fixtures draw: what came before in this process is chance."""
    _seed()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Seeds each test, whichever fixtures were made for it."""
    _seed()


def _seed() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def environment_as_found() -> Iterator[None]:
    """Takes back what a test, or MLflow's client in it, has set in the environment: the next one's processes get it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a store without runs; making one takes seconds, copying it does not."""
    from mlflow.tracking import MlflowClient  # slow to import, and most folders of tests do not need it

    from plt_nn.tracking import store_at

    store = store_at(tmp_path_factory.mktemp("empty"))
    MlflowClient(store.uri).search_experiments()
    return store.root / "mlflow.db"


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of ant and bee photographs (`train/`, `val/`); skips where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data" / "ants_bees"
    folder = Path(os.environ.get("PLT_NN_PHOTOS", default))
    if not (folder / "train").is_dir():
        pytest.skip(f"the photographs are not at {folder} (set PLT_NN_PHOTOS to their folder)")
    return folder
