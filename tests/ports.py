"""Ports for the servers of tests.

The kernel gives ports from 32768 on to whatever connects to something: one that was free a moment ago, as `bind` to
port 0 finds it, may be taken when the server that was told of it starts. Below that, only tests of ours look.
"""

import secrets
import socket

_FIRST, _LAST = 10_240, 32_000


def free_port() -> int:
    """A port of loopback that nobody listens at, and that nobody is given without asking for it by number."""
    while True:
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
