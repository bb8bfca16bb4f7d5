"""`plt-nn ui` on real stores: what it refuses, and that the server it starts shows the runs and ends as a whole."""

import base64
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
from functools import partial
from pathlib import Path

import psutil
import pytest
from mlflow.tracking import MlflowClient

from plt_nn.cli.ui import users as ui_users
from plt_nn.cli.ui.address import free_port
from plt_nn.cli.ui.command import page_address
from plt_nn.errors import ConfigError
from plt_nn.tracking import store_at
from plt_nn.tracking.read.find_run import find_run
from tests import ports, warm

Completed = subprocess.CompletedProcess[str]
Call = Callable[..., Completed]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", ports.free_port()))
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
    port = ports.free_port()
    assert free_port("127.0.0.1", port) == port


def test_the_page_of_a_run(fitted: tuple[Path, Completed]) -> None:
    store = store_at(fitted[0] / "mlruns")
    client = MlflowClient(store.uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    find = partial(find_run, store)
    expected = f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
    assert page_address("http://127.0.0.1:5000", run.info.run_id, find, "here") == expected
    assert page_address("http://127.0.0.1:5000", None, find, "here") == "http://127.0.0.1:5000"
    with pytest.raises(ConfigError, match="no run 'another' here"):
        page_address("http://127.0.0.1:5000", "another", find, "here")


def test_what_to_ask_for_is_said_once(call: Call, store: Path) -> None:
    done = call("ui", "--host", "0.0.0.0", "--auth", "--no-auth")
    assert done.returncode == 2
    assert "--auth and --no-auth exclude each other" in done.stderr


def test_without_the_extra_there_are_no_users(call: Call, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui_users, "find_spec", lambda name: None)
    done = call("ui", "--auth")
    assert done.returncode == 2
    assert '`pip install "plt-nn[auth]"`' in done.stderr
    assert not (store / "auth").exists()


@pytest.mark.parametrize(
    ("password", "told"), [("password1234", "everyone knows"), ("short", "at least 12 characters")]
)
def test_a_weak_password_is_refused(
    password: str, told: str, call: Call, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", password)
    done = call("ui", "--auth")
    assert done.returncode == 2
    assert "at least 12 characters, and must not be MLflow's former default" in done.stderr


def two_runs(store: Path) -> tuple[str, str]:
    """The ids of two runs, the second started later; the first has a uid."""
    client = MlflowClient(store_at(store).uri)
    experiment = client.create_experiment("two", store_at(store).artifacts("two"))
    first = client.create_run(experiment, start_time=1000, tags={"plt_nn.uid": "20261124-133254-1a2b3c4d"})
    second = client.create_run(experiment, start_time=2000)
    return first.info.run_id, second.info.run_id


def test_a_run_is_named_by_id_uid_or_last(store: Path) -> None:
    first, second = two_runs(store)
    find = partial(find_run, store_at(store))
    runs = "http://[::1]/#/experiments/1/runs/"
    for name, run in (("20261124-133254-1a2b3c4d", first), (first, first), (second, second), ("last", second)):
        assert page_address("http://[::1]", name, find, "here") == runs + run
    MlflowClient(store_at(store).uri).delete_run(second)
    assert page_address("http://[::1]", "last", find, "here") == runs + first


def test_a_name_that_no_run_has_meets_those_there_are(call: Call, store: Path) -> None:
    assert "there is no run 'last'" in call("ui", "--run", "last").stderr
    _, second = two_runs(store)
    done = call("ui", "--run", "20261124")
    assert done.returncode == 2
    assert "Expected an MLflow run id, a `plt_nn.uid` or `last`" in done.stderr
    assert f"the newest are {second}, 20261124-133254-1a2b3c4d" in done.stderr


def test_runs_that_go_to_a_server_are_shown_there(call: Call, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@runs.example.org:5000/")
    done = call("ui")
    assert done.returncode == 0
    assert "the runs go to a server that has its own UI: http://***@runs.example.org:5000\n" in done.stdout
    assert "secret" not in done.stdout
    assert f"there are no runs in {here}/mlruns" in call("ui", "--store", "mlruns").stderr, "a folder was asked for"


def get(url: str, body: dict[str, object] | None = None) -> str:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=warm.PATIENCE) as answer:
        assert answer.status == 200
        text: str = answer.read().decode()
    return text


@pytest.mark.slow
def test_the_server_shows_the_runs_and_answers_to_its_own_names_only(
    fitted: tuple[Path, Completed],
    here: Path,
    taken: int,
    start: Callable[..., subprocess.Popen[str]],
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(fitted[0] / "mlruns", here / "my runs")
    first, second = two_runs(here / "my runs")
    monkeypatch.setenv("MLFLOW_SERVER_ALLOWED_HOSTS", "runs.example.org, runs")
    monkeypatch.setenv("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", "https://runs.example.org")
    server = start("ui", "--no-auth", "--host", "0.0.0.0", "--store", "my runs", "--port", taken)
    try:
        assert server.stdout is not None
        assert re.fullmatch(rf"Port {taken} is taken; using \d+\.\n", server.stdout.readline())
        told = told_until(server, "It answers to the names")
        url = re.findall(r"http://[^\s/]+:\d+", told)[0]
        assert "127.0.0.1" not in url or len(psutil.net_if_addrs()) == 1, "an address that others can open"
        shows_the_runs(url)
        answers_to_its_own_names_only(url)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        for name, run in (("20261124-133254-1a2b3c4d", first), (second, second)):
            assert re.search(rf"{url}/#/experiments/\d+/runs/{run}\n", call("ui", "--run", name).stdout)
        assert f"{url}/#/experiments/" in call("ui", "--run", "last").stdout
        assert f"there is no run 'x' on {url}" in call("ui", "--run", "x").stderr
        processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        assert 2 <= len(processes) <= 4
        assert sum(process.memory_full_info().pss for process in processes) < 0.6e9
        rest = end(server, signal.SIGINT)
        assert server.returncode == 130
        assert "Traceback" not in rest
        assert not any(process.is_running() for process in processes)
    finally:
        server.kill()
    with pytest.raises(urllib.error.URLError):
        get(f"{url}/health")
    assert not (here / "mlruns").exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(server.pid, 0)


def shows_the_runs(url: str) -> None:
    assert "<html" in get(f"{url}/").lower()
    experiments = json.loads(get(f"{url}/api/2.0/mlflow/experiments/search", {"max_results": 10}))["experiments"]
    (tiny,) = [found["experiment_id"] for found in experiments if found["name"] == "tiny"]
    runs = json.loads(get(f"{url}/api/2.0/mlflow/runs/search", {"experiment_ids": [tiny]}))["runs"]
    assert [run["info"]["status"] for run in runs] == ["FINISHED"]


def answers_to_its_own_names_only(url: str) -> None:
    port = url.rpartition(":")[2]
    for host in (f"localhost:{port}", "127.0.0.1:8080", f"[::1]:{port}", f"{socket.gethostname()}:{port}"):
        assert status(f"{url}/", {"Host": host}) == 200, host
    for host in (f"evil.example:{port}", "10.evil.example", "192.168.evil.example", f"127.0.0.1.evil.example:{port}"):
        assert status(f"{url}/", {"Host": host}) == 403, host
    typed = {"Content-Type": "application/json"}
    assert status(url + SEARCH[0], typed | {"Origin": url}, SEARCH[1]) == 200, "the page itself"
    assert status(url + SEARCH[0], typed | {"Origin": "http://evil.example"}, SEARCH[1]) == 403
    assert status(f"{url}/", {"Host": "runs.example.org"}) == 200, "MLFLOW_SERVER_ALLOWED_HOSTS adds it"
    assert status(url + SEARCH[0], typed | {"Origin": "https://runs.example.org"}, SEARCH[1]) == 200, "so does CORS"


def end(server: subprocess.Popen[str], by: int) -> str:
    """Ends a server with a signal, and gives what it still said."""
    server.send_signal(by)
    return server.communicate(timeout=warm.PATIENCE)[0]


def told_until(server: subprocess.Popen[str], last: str) -> str:
    """What a server says up to a line that holds `last`."""
    assert server.stdout is not None
    told = ""
    for line in server.stdout:
        told += line
        if last in line:
            return told
    raise AssertionError(f"it ended and said: {told}")


def status(url: str, headers: dict[str, str], body: bytes | None = None) -> int:
    """What a server answers to a request."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=warm.PATIENCE) as answer:
            found: int = answer.status
    except urllib.error.HTTPError as error:
        return error.code
    return found


def login(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


SEARCH = ("/api/2.0/mlflow/experiments/search", b'{"max_results": 5}')


@pytest.mark.multiprocess
@pytest.mark.parametrize(
    ("seconds", "by"), [(0.0, signal.SIGINT), (0.3, signal.SIGTERM), (1.0, signal.SIGINT), (2.0, signal.SIGTERM)]
)
def test_it_can_be_ended_while_it_starts(
    seconds: float, by: int, store: Path, taken: int, start: Callable[..., subprocess.Popen[str]]
) -> None:
    server = start("ui", "--port", taken)
    assert "is taken" in told_until(server, "is taken")
    time.sleep(seconds)
    processes = psutil.Process(server.pid).children(recursive=True)
    rest = end(server, by)
    assert server.returncode in (128 + by, -by), "as told, or before it could say what to do when it is told"
    assert "Traceback" not in rest
    assert not any(process.is_running() for process in processes)


@pytest.mark.slow
def test_users_are_asked_for_their_password(
    store: Path, taken: int, start: Callable[..., subprocess.Popen[str]]
) -> None:
    passwords = []
    for time_ in ("first", "second"):
        server = start("ui", "--auth", "--port", taken)
        try:
            told = told_until(server, "If it is lost")
            url = re.findall(r"http://127\.0\.0\.1:\d+", told)[0]
            passwords += re.findall(r"name admin  password (\S+)", told)
            assert len(passwords) == 1, f"the password is told once, not the {time_} time only: {told}"
            search = url + SEARCH[0]
            typed = {"Content-Type": "application/json"}
            assert status(search, typed, SEARCH[1]) == 401
            assert status(search, typed | login("admin", "password1234"), SEARCH[1]) == 401
            assert status(search, typed | login("admin", passwords[0]), SEARCH[1]) == 200
            assert status(f"{url}/", {}) == 401
            for process in (psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)):
                secret = (store / "auth" / "flask_secret_key").read_text()
                assert passwords[0] not in " ".join(process.cmdline())
                assert secret not in " ".join(process.cmdline())
            if time_ == "first":  # the server ends by itself
                for child in psutil.Process(server.pid).children(recursive=True):
                    child.kill()
                assert "plt-nn: the MLflow server ended with status" in server.communicate(timeout=warm.PATIENCE)[0]
                assert server.returncode == 1
            else:
                end(server, signal.SIGTERM)
                assert server.returncode == 143
        finally:
            server.terminate()
    assert {path.stat().st_mode & 0o777 for path in (store / "auth").iterdir()} == {0o600}


def test_a_store_that_has_moved_says_so(
    store: Path, here: Path, start: Callable[..., subprocess.Popen[str]], taken: int
) -> None:
    two_runs(store)
    store.rename(here / "moved")
    server = start("ui", "--store", "moved", "--port", taken)
    told = told_until(server, "`plt-nn relocate`")
    end(server, signal.SIGTERM)
    assert f"Artifacts are looked for in {store}, where the runs were before; `plt-nn relocate` corrects that." in told
