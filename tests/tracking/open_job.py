"""One of four processes that open a fresh store at the same moment. Started by test_store.py.

Arguments: a folder for the store and the signals, this process's number, and what it is: `trainer`, whose uploader
opens the store, or that `uploader` itself.
"""

import runpy
import sys
import time
from pathlib import Path

folder, number, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
folder.mkdir(exist_ok=True)
(folder / f"ready{number}").touch()
while len(list(folder.glob("ready*"))) < 4:
    time.sleep(0.005)
if kind == "trainer":
    from plt_nn import DurableMLFlowLogger

    logger = DurableMLFlowLogger("together", store=str(folder / "store"), flush_seconds=600)
    logger.log_metrics({"number": float(number)})
    logger.finalize("success")
else:
    from tests.tracking.read_back import end, metrics, new_spool

    named = f"sqlite:///{folder / 'store' / 'named.db'}" if folder.name.startswith("named") else None
    writer = new_spool(folder / "store", named, experiment="together")
    writer.append(metrics(0, number=float(number)))
    writer.append(end())
    writer.close()
    sys.argv[1] = str(writer.folder.root)
    runpy.run_module("plt_nn.tracking.upload", run_name="__main__")
