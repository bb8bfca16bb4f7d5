"""Waiting for what runs have logged: the end of a fit waits 30 s, and on a busy machine the delivery takes longer."""

from pathlib import Path

from plt_nn.tracking.spool.folder import spool_folders
from plt_nn.tracking.upload.backlog import wait_for_delivery
from tests import warm


def until_all_delivered(store: Path) -> None:
    """Waits until MLflow has everything that the runs of a store have logged.

    Args:
        store: The folder `mlruns`.
    """
    for spool in spool_folders(store):
        left = wait_for_delivery(spool, warm.PATIENCE)
        assert left.is_empty, left
