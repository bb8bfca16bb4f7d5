"""What a run was made with: versions, git commit, command line."""

import contextlib
import getpass
import os
import platform
import shlex
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from plt_nn.tracking import tags
from plt_nn.tracking.masking import masked_code, masked_words

_PACKAGES = ("plt-nn", "lightning", "torch", "torchvision", "timm", "torchmetrics", "mlflow", "numpy")
_VARIABLES = {tags.SLURM_JOB: "SLURM_JOB_ID", tags.SEED: "PL_GLOBAL_SEED"}
_LONGEST_DIFF = 1 << 20


def environment_tags() -> dict[str, str]:
    """Tags for a run: `version/<package>`, `python`, `platform`, `host`, `command`, `seed`, git's commit and state.

    In a job of SLURM also `slurm/job_id`.
    """
    found_tags = {tag: os.environ[variable] for tag, variable in _VARIABLES.items() if variable in os.environ}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found_tags[f"{tags.VERSION}{name}"] = version(name)
    with contextlib.suppress(OSError, KeyError):  # a user without a name, as in many a container
        found_tags[tags.USER] = getpass.getuser()
    found_tags |= {
        tags.SOURCE_NAME: Path(sys.argv[0]).name,
        tags.SOURCE_TYPE: "LOCAL",
        tags.PYTHON: platform.python_version(),
        tags.PLATFORM: platform.platform(),
        tags.HOST: socket.gethostname(),
        tags.COMMAND: shlex.join(masked_words(sys.argv)),
    }
    return found_tags | git_tags()


def git_tags() -> dict[str, str]:
    """The commit of the working directory's repository and whether it has changes; nothing outside a repository."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {tags.GIT_COMMIT: commit, tags.GIT_DIRTY: str(bool(changes)).lower(), tags.SOURCE_COMMIT: commit}


def git_diff() -> str | None:
    """The changes in the working directory's repository since its commit, secrets masked; None if there are none."""
    diff = _git("diff", "HEAD")
    if not diff:
        return None
    return masked_code(diff if len(diff) <= _LONGEST_DIFF else f"{diff[:_LONGEST_DIFF]}\n... cut at 1 MB\n")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603, S607
    except (OSError, subprocess.SubprocessError):  # no git, no repository, no commit
        return None
    return done.stdout.strip()
