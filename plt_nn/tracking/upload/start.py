"""Starts the uploader."""

import subprocess
import sys

from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.upload.environment import uploader_environment


def start_uploader(folder: SpoolFolder, login: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Starts a process that delivers a spool, in a session of its own, so that no Ctrl-C reaches it.

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
