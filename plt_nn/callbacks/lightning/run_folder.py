"""The folder of a run's checkpoints, the same on every process."""

from pathlib import Path

from lightning.pytorch import Trainer

from plt_nn.tracking import tags


def run_folder(trainer: Trainer, chosen: str | None = None) -> Path:
    """The folder for the run's checkpoints, as process 0 sees it.

    Args:
        trainer: The trainer of the run.
        chosen: A folder that the user chose. Default: `checkpoints` in the first logger's folder for this run, or in
            the trainer's `default_root_dir` without a logger.
    """
    folder = Path(chosen) if chosen else _default_folder(trainer)
    return Path(trainer.strategy.broadcast(str(folder.absolute())))


def _default_folder(trainer: Trainer) -> Path:
    for logger in trainer.loggers:
        if logger.save_dir is not None and logger.name is not None and logger.version is not None:
            version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
            return Path(logger.save_dir) / logger.name / version / tags.CHECKPOINTS
    return Path(trainer.default_root_dir) / tags.CHECKPOINTS
