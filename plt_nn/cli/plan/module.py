"""Prepares a LightningModule as the start of a fit does, as far as that can be done without training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.data import DataLoader

from plt_nn.backbones import BackboneInfo, backbone_info
from plt_nn.callbacks.freezing.net_stages import net_stages
from plt_nn.callbacks.lightning.connectors import attach_data
from plt_nn.data import ImageFolderData
from plt_nn.errors import ConfigError
from plt_nn.freezing import Phase
from plt_nn.freezing.adapters.stage_adapters import insert_adapters
from plt_nn.freezing.costs.phase_costs import PlanCost, phase_costs
from plt_nn.text import one_line


def plan_of_module(
    trainer: Trainer,
    module: LightningModule,
    datamodule: LightningDataModule | None,
    net: str | None,
    phases: Sequence[Phase],
) -> tuple[list[str], PlanCost]:
    """Sets up the module and its data, inserts the adapters of the phases, makes the optimizers, and plans.

    Steps that fail because there is no data, or in the user's own code, become notes of the plan.

    Args:
        trainer: A trainer that will not train.
        module: The module; its net may get another head, and adapters.
        datamodule: Its data; images of an `ImageFolderData` are not opened.
        net: The attribute that holds the net. Default: as `net_stages` has it.
        phases: The phases of the schedule.

    Returns:
        The names of the pretrained nets in the module, and what the phases train and cost.

    Raises:
        ConfigError: If the module's own arguments or the phases do not go with it.
    """
    notes: list[str] = []
    infos = [info for part in module.modules() if (info := backbone_info(part)) is not None]
    entry = "" if type(module).forward is not LightningModule.forward else net or _only_child(module)
    trainer.strategy.connect(module)
    trainer.state.fn = TrainerFn.FITTING
    present = _set_up_data(trainer, datamodule, notes)
    attach_data(trainer, module, present)
    steps: dict[str, Callable[[], object]] = {
        "setup": lambda: module.setup("fit"),
        "configure_model": module.configure_model,
        "precision": lambda: trainer.precision_plugin.convert_module(module),
    }
    _take(steps, module, notes, lacks_data=present is not datamodule)
    stages = net_stages(module, net)
    adapters = insert_adapters(module, stages, phases)
    _take({"configure_optimizers": lambda: trainer.strategy.setup_optimizers(trainer)}, module, notes)
    inputs = _inputs(module, datamodule, present, infos)
    if inputs is not None:
        inputs = trainer.precision_plugin.convert_input(inputs)
    plan = phase_costs(phases, stages, module, adapters, trainer.strategy.optimizers, inputs, entry)
    return [info.name for info in infos], replace(plan, notes=(*notes, *plan.notes))


def _set_up_data(
    trainer: Trainer, datamodule: LightningDataModule | None, notes: list[str]
) -> LightningDataModule | None:
    """The data, set up; None if there is none."""
    if datamodule is None:
        return None
    if isinstance(datamodule, ImageFolderData):
        datamodule.check_images = False
    datamodule.trainer = trainer
    try:
        datamodule.setup("fit")
    except Exception as error:  # noqa: BLE001 -- whatever the data lack, the rest of the plan can be made
        notes.append(f"The data cannot be read, so the head is as the net was made: {_sentence(error)}")
        return None
    return datamodule


def _take(
    steps: Mapping[str, Callable[[], object]], module: LightningModule, notes: list[str], lacks_data: bool = False
) -> None:
    """Takes the steps at the start of a fit; a step that fails does not prevent the next ones."""
    for name, step in steps.items():
        try:
            step()
        except Exception as error:  # the user's own code, which may need what a plan does not give it
            if isinstance(error, ConfigError) and not lacks_data:
                raise
            notes.append(f"{type(module).__name__}: {name} failed: {_sentence(error)}")


def _inputs(
    module: LightningModule,
    datamodule: LightningDataModule | None,
    present: LightningDataModule | None,
    infos: Sequence[BackboneInfo],
) -> tuple[Any, ...] | None:
    example = module.example_input_array
    if example is not None:
        return example if isinstance(example, tuple) else (example,)
    if present is not None and not isinstance(present, ImageFolderData):
        x = _first_input(present)
        if x is not None:
            return (x,)
    size = getattr(getattr(present, "preprocessing_used", None), "size", None) or getattr(
        datamodule, "image_size", None
    )
    if size is None and infos:
        size = infos[0].preprocessing.size
    shape = (size, size) if isinstance(size, int) else size
    return None if shape is None else (torch.empty(2, 3, *shape, device="meta"),)


def _first_input(datamodule: LightningDataModule) -> Tensor | tuple[Tensor, ...] | None:
    """The inputs in the first training batch, or None where the batch is of an unknown kind."""
    try:
        loader: Any = datamodule.train_dataloader()
        if isinstance(loader, DataLoader) and loader.batch_size is not None and hasattr(loader.dataset, "__getitem__"):
            batch = loader.collate_fn([loader.dataset[0], loader.dataset[1]])  # no workers are started for it
        else:
            batch = next(iter(loader))
    except Exception:  # noqa: BLE001 -- the user's own code
        return None
    x = batch[0] if isinstance(batch, tuple | list) else batch
    return x if isinstance(x, Tensor | tuple) else None


def _only_child(module: LightningModule) -> str:
    names = [name for name, child in module.named_children() if any(True for _ in child.parameters())]
    return names[0] if len(names) == 1 else ""


def _sentence(error: Exception) -> str:
    text = one_line(error)
    return text if text.endswith(".") else f"{text}."
