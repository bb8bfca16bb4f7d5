"""What a trainer's connectors know: its data and the checkpoint of a requeued job."""

from pathlib import Path

from lightning.pytorch import LightningDataModule, LightningModule, Trainer


def attach_data(trainer: Trainer, module: LightningModule, datamodule: LightningDataModule | None) -> None:
    """Lets a trainer that will not train know its data, so that the module's `configure_optimizers` may ask for it."""
    trainer._data_connector.attach_data(module, datamodule=datamodule)


def requeued_checkpoint(trainer: Trainer) -> Path | None:
    """The checkpoint that Lightning made when a scheduler ended the job, and from which it would resume by itself."""
    path = trainer._checkpoint_connector._hpc_resume_path
    return None if path is None else Path(path)
