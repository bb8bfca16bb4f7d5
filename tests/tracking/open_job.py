"""One of four processes that open a fresh store at the same moment. Started by test_store.py.

Arguments: a folder for the store and the signals, this process's number.
"""

import sys
import time
from pathlib import Path

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # what takes long comes before the start

from plt_nn import DurableMLFlowLogger

folder, number = Path(sys.argv[1]), int(sys.argv[2])
(folder / f"ready{number}").touch()
while len(list(folder.glob("ready*"))) < 4:
    time.sleep(0.005)
logger = DurableMLFlowLogger("together", store=str(folder / "store"))
logger.log_metrics({"number": float(number)})
logger.finalize("success")
