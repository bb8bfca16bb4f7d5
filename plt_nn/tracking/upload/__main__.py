"""The uploader's process: `python -m plt_nn.tracking.upload FOLDER`."""

import contextlib
import os
import sys
from pathlib import Path

from plt_nn.tracking.spool.folder import SpoolFolder
from plt_nn.tracking.upload.deliver_with_retries import stop_signals, upload
from plt_nn.tracking.upload.prune import prune


def main() -> None:
    """Delivers the spool in the folder that the command line names, until the run has ended."""
    folder = SpoolFolder(Path(sys.argv[1]))
    with contextlib.suppress(OSError):
        os.nice(10)  # training comes first
    with contextlib.suppress(OSError):  # Linux gives every session the same share, whatever its processes' niceness
        Path("/proc/self/autogroup").write_text("10")
    with stop_signals() as stop:
        if upload(folder, stop):
            prune(folder.store)


if __name__ == "__main__":
    main()
