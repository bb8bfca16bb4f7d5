"""`plt-nn ui` on real stores: what it refuses, and that the server it starts shows the runs."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from plt_nn.cli.ui import address, free_port
from plt_nn.errors import ConfigError
from plt_nn.tracking import store_at

Completed = subprocess.CompletedProcess[str]
Call = Callable[..., Completed]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_without_a_store_there_is_nothing_to_show(call: Call, here: Path) -> None:
    done = call("ui", "--store", "elsewhere")
    assert done.returncode == 2
    assert f"there are no runs in {here}/elsewhere; `plt-nn fit` makes them" in done.stderr
    assert not (here / "elsewhere").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::"])
def test_an_address_that_others_can_reach_must_be_meant(host: str, call: Call, store: Path) -> None:
    done = call("ui", "--host", host)
    assert done.returncode == 2
    assert f"--host {host} would show and give the runs to everyone" in done.stderr
    assert "add --no-auth if that is meant" in done.stderr


def test_a_run_that_is_not_there(call: Call, store: Path) -> None:
    done = call("ui", "--run", "0123abc")
    assert done.returncode == 2
    assert f"there is no run '0123abc' in {store}" in done.stderr


@pytest.mark.parametrize("port", ["70000", "-1", "x"])
def test_a_port_that_cannot_be(port: str, call: Call, store: Path) -> None:
    done = call("ui", "--port", port)
    assert done.returncode == 2
    assert port in done.stderr


def test_an_address_that_this_machine_does_not_have(call: Call, store: Path) -> None:
    done = call("ui", "--host", "192.0.2.7", "--no-auth")
    assert done.returncode == 2
    assert "192.0.2.7" in done.stderr
    assert "taken" not in done.stderr, "its ports are not taken: it is another machine's"


def test_the_next_free_port(taken: int) -> None:
    assert free_port("127.0.0.1", taken) > taken
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert free_port("127.0.0.1", port) == port


def test_the_page_of_a_run(fitted: tuple[Path, Completed]) -> None:
    store = store_at(fitted[0] / "mlruns")
    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    page = f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
    assert address(store, "127.0.0.1", 5000, run.info.run_id) == page
    assert address(store, "127.0.0.1", 5000, None) == "http://127.0.0.1:5000"
    with pytest.raises(ConfigError, match="no run 'another'"):
        address(store, "127.0.0.1", 5000, "another")


def get(url: str, body: dict[str, object] | None = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
        text: str = answer.read().decode()
    return text


def wait_until_healthy(url: str, server: subprocess.Popen[str]) -> None:
    while server.poll() is None:
        try:
            get(f"{url}/health")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the server ended with {server.returncode}")


@pytest.mark.slow
def test_the_server_shows_the_runs(
    fitted: tuple[Path, Completed], here: Path, taken: int, start: Callable[..., subprocess.Popen[str]]
) -> None:
    shutil.copytree(fitted[0] / "mlruns", here / "my runs")
    server = start("ui", "--store", "my runs", "--port", taken)
    try:
        assert server.stdout is not None
        first = server.stdout.readline()
        assert first == f"Port {taken} is taken; using {free_port('127.0.0.1', taken)}.\n"
        told = server.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", told)
        assert found is not None, told
        url = found[0]
        wait_until_healthy(url, server)
        assert "<html" in get(f"{url}/").lower()
        experiments = json.loads(get(f"{url}/api/2.0/mlflow/experiments/search", {"max_results": 10}))["experiments"]
        (tiny,) = [found["experiment_id"] for found in experiments if found["name"] == "tiny"]
        runs = json.loads(get(f"{url}/api/2.0/mlflow/runs/search", {"experiment_ids": [tiny]}))["runs"]
        assert [run["info"]["status"] for run in runs] == ["FINISHED"]
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=30)
    finally:
        server.kill()
    with pytest.raises(urllib.error.URLError):
        get(f"{url}/health")
    assert not (here / "mlruns").exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(server.pid, 0)
