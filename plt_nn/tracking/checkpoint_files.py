"""Which of a run's checkpoints are kept with it in MLflow."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from lightning.pytorch.callbacks import ModelCheckpoint

Policy = Literal["best", "last", "all", "none"]
POLICIES: tuple[Policy, ...] = ("best", "last", "all", "none")


def wanted_checkpoints(policy: Policy, callback: ModelCheckpoint) -> list[Path]:
    """The files that a policy asks for, of those that a callback keeps now.

    `best` is the file of the best monitored value, and nothing for a callback that monitors nothing; `last` the one
    from which a run would be resumed; `all` whatever lies on disk.

    Args:
        policy: The policy.
        callback: Lightning's checkpoint callback, which has just saved.
    """
    last = callback.last_model_path or _newest(callback)  # the first only with `save_last`
    if policy == "best":
        names = [callback.best_model_path] if callback.monitor is not None else []
    elif policy == "last":
        names = [last]
    elif policy == "all":
        names = [*callback.best_k_models, callback.best_model_path, last]
    else:
        names = []
    return _files(names)


def _newest(callback: ModelCheckpoint) -> str:
    """The file that the callback has just saved."""
    files = Path(callback.dirpath or "").rglob(f"*{callback.FILE_EXTENSION}")
    return max(((file.stat().st_mtime_ns, str(file)) for file in files), default=(0, ""))[1]


def _files(names: Iterable[str]) -> list[Path]:
    return [path for path in map(Path, dict.fromkeys(filter(None, names))) if path.is_file()]
