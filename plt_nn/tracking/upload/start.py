"""Starts the uploader, and sets its environment."""

import os
import subprocess
import sys
from pathlib import Path

import plt_nn
from plt_nn.tracking.mlflow_client import SETTINGS
from plt_nn.tracking.spool.folder import SpoolFolder


def start_uploader(folder: SpoolFolder, login: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Starts a process that delivers a spool, in a session of its own, so that Ctrl-C does not reach it.

    Args:
        folder: The spool.
        login: Environment variables with which to log in at the server.
    """
    command = [sys.executable, "-P", "-m", "plt_nn.tracking.upload", str(folder.root)]  # -P: not the folder we are in
    with folder.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=uploader_environment(login),
        )


def uploader_environment(login: dict[str, str]) -> dict[str, str]:
    """The environment of the uploader: that of this process, the login, and settings that suit an uploader."""
    package = str(Path(plt_nn.__file__).parent.parent)
    paths = [path for path in (os.environ.get("PYTHONPATH"), package) if path]
    defaults = {"OMP_NUM_THREADS": "1", **SETTINGS}
    return defaults | os.environ | login | {"PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": ""}
