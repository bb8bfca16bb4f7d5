"""Workers that outlive SIGTERM do not outlive the process that started them, nor keep it from ending."""

from pathlib import Path

import pytest
from PIL import Image

from tests import warm

SCRIPT = """
import os, signal, sys
from plt_nn import ImageFolderData
data = ImageFolderData(sys.argv[1], 2, 32, num_workers=2)
data.setup("fit")
loader = data.train_dataloader()
batches = iter(loader)
next(batches)
workers = [worker.pid for worker in loader._iterator._workers]
for worker in workers:
    os.kill(worker, signal.SIGTERM)  # as a scheduler does to every process of a job
next(batches)
print(*workers)
"""


@pytest.mark.slow
def test_a_loader_that_is_read_from_to_the_end(tmp_path: Path) -> None:
    for kind in ("ants", "bees"):
        (tmp_path / kind).mkdir()
        for number in range(10):
            Image.new("RGB", (40, 40)).save(tmp_path / kind / f"{number}.png")
    done = warm.run(["-c", SCRIPT, tmp_path])
    assert done.returncode == 0, done.stderr
    workers = done.stdout.split()
    assert len(workers) == 2
    assert not any(Path("/proc", worker).exists() for worker in workers)
    assert "Exception ignored" not in done.stderr
