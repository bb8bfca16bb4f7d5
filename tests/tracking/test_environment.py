"""What a run is said to have been made with."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from plt_nn.tracking.environment import environment_tags, git_diff, git_tags


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, and the working directory in it."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def test_versions_command_and_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["plt-nn", "fit", "--config", "my file.yaml"])
    monkeypatch.setenv("PL_GLOBAL_SEED", "17")
    tags = environment_tags()
    for package in ("plt-nn", "torch", "lightning", "timm", "mlflow"):
        assert tags[f"version/{package}"] == version(package)
    assert tags["python"] == platform.python_version()
    assert tags["command"] == "plt-nn fit --config 'my file.yaml'"
    assert tags["seed"] == "17"
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert "seed" not in environment_tags()


@pytest.mark.parametrize("words", [["--model.api_key", "hunter2"], ["--model.token=hunter2"]])
def test_no_secret_of_the_command_line_is_told(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["plt-nn", "fit", *words, "--trainer.max_epochs", "3"])
    command = environment_tags()["command"]
    assert "hunter2" not in command
    assert command.endswith("--trainer.max_epochs 3")


def test_the_commit_and_whether_there_were_changes(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert git_tags() == {"git/commit": commit, "git/dirty": "false", "mlflow.source.git.commit": commit}
    (repository / "notes.txt").write_text("not of the repository\n")
    assert git_tags()["git/dirty"] == "false"
    (repository / "code.py").write_text("2\n")
    assert git_tags()["git/dirty"] == "true"


def test_what_was_changed_since_the_commit_without_its_secrets(repository: Path) -> None:
    assert git_diff() is None
    (repository / "code.py").write_text("2\napi_key = 'hunter2'\n")
    diff = git_diff()
    assert diff is not None
    assert "+2\n+api_key = '***'" in diff
    assert "hunter2" not in diff
    (repository / "code.py").write_text("x" * 2_000_000)
    diff = git_diff()
    assert diff is not None
    assert len(diff) < 1_100_000
    assert diff.endswith("... cut at 1 MB\n")


def test_outside_a_repository_there_is_nothing_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_tags() == {}
    git(tmp_path, "init", "--quiet")
    assert git_tags() == {}, "there is no commit yet"
    assert git_diff() is None


def test_without_git_there_is_nothing_to_say(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert git_tags() == {}
