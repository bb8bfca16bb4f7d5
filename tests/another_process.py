"""What a script prints, here and in a process with other hashes."""

import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO


def printed_everywhere(script: str) -> str:
    """What a script prints in this process, which must be what it prints in another one."""
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", script]
    other = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    with redirect_stdout(StringIO()) as own:  # this process has another seed
        exec(script, {"__name__": "__main__"})
    assert own.getvalue() == other
    return other
