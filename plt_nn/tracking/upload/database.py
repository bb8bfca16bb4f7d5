"""The store's database: there as a whole, or not at all."""

import os

from mlflow.tracking import MlflowClient

from plt_nn.tracking.store import Store

_PARTIAL = ".mlflow.db.partial"


def ensure_database(store: Store) -> None:
    """Makes the store's database if there is none.

    MLflow makes one in dozens of steps that neither bear company nor an end in their midst: several processes break
    each other's migrations, and what a killed one leaves behind cannot be opened again. So one process at a time makes
    it under another name and moves it into place.

    Args:
        store: The store.
    """
    if store.database.exists():
        return
    with store.lock():
        if store.database.exists():
            return
        partial = store.root / _PARTIAL
        for left in store.root.glob(f"{_PARTIAL}*"):  # by a process that was killed
            left.unlink()
        MlflowClient(f"sqlite:///{partial}").search_experiments(max_results=1)
        try:
            os.link(partial, store.database)
        except FileExistsError:  # MLflow itself has made one meanwhile, which is not to be lost
            pass
        except OSError:  # a file system without second names
            partial.replace(store.database)
        partial.unlink(missing_ok=True)
