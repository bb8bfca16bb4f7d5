"""Writes, beside the best weights, what is needed to use them without the code that trained them."""

import json
import platform
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from plt_nn.backbones import backbone_info
from plt_nn.callbacks.lightning.callback_order import all_callbacks
from plt_nn.callbacks.lightning.run_logger import run_loggers
from plt_nn.callbacks.model.exported_state import exported_state
from plt_nn.errors import ConfigError, PltNNError
from plt_nn.files import atomic_write
from plt_nn.inference.card import ModelCard
from plt_nn.inference.inputs import Inputs, TensorInputs
from plt_nn.inference.model_files import CARD
from plt_nn.inference.own_sources import own_sources
from plt_nn.inference.predictor import fits
from plt_nn.inference.rebuild import TRUSTED, rebuild, without_downloads
from plt_nn.tracking import tags


@runtime_checkable
class _KeepsBest(Protocol):
    """`BestLossStopping`, which brings this callback along."""

    monitor: str
    mode: str
    best_path: Path | None


class DeployableModel(Callback):
    """Writes `model.json` beside `best.safetensors`, once, when training begins; a logger that stores models gets both.

    It describes how the net is made, how its inputs are preprocessed, and what its outputs mean. It needs:

    - a module with an attribute `net`, and `task`, `classification` or `regression`, as `Classifier` and `Regressor`;
    - a net that can be made again: from a configuration of `plt-nn fit`, by `create_backbone`, or as described by the
      argument `net`;
    - a data module with a method `model_inputs`, as ours have, or batches whose first element is a tensor.

    Otherwise the run has weights but no deployable model, and its tag `plt_nn.not_deployable` says why. The names of
    the classes are the data module's `class_names`.

    Args:
        net: How the net is made: `class_path` and `init_args`, plain values. Default: see above. A class of your own
            must be in a module that can be imported (not in the script that is run), whose files the model carries;
            who uses the model trusts them by name (`plt-nn predict --trust MODULE`). Give it arguments with which it
            downloads no weights, if it has such.
    """

    def __init__(self, net: dict[str, Any] | None = None) -> None:
        self.net = net
        self._done = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts over."""
        self._done = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file, if the data module knows the net's inputs."""
        data: Any = getattr(trainer, "datamodule", None)
        if callable(getattr(data, "model_inputs", None)):
            self._write_card(trainer, pl_module, data.model_inputs())

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Otherwise writes it after a look at the first batch."""
        if not self._done:
            first = batch[0] if isinstance(batch, tuple | list) and batch else batch
            shape = tuple(first.shape[1:]) if isinstance(first, Tensor) else None
            self._write_card(trainer, pl_module, None if shape is None else TensorInputs(shape))

    def _write_card(self, trainer: Trainer, pl_module: LightningModule, inputs: Inputs | None) -> None:
        self._done = True
        keeper = next((callback for callback in all_callbacks(trainer) if isinstance(callback, _KeepsBest)), None)
        if (
            keeper is None
            or keeper.best_path is None
            or not trainer.is_global_zero
            or getattr(trainer, "fast_dev_run", False)
        ):
            return
        place = keeper.best_path.with_name(CARD)
        try:
            card = model_card(trainer, pl_module, inputs, self.net, keeper.monitor, keeper.mode)
        except PltNNError as error:
            place.unlink(missing_ok=True)  # of an earlier fit into the same folder
            rank_zero_info(f"The best weights will be saved, but not as a deployable model: {error}")
            for logger in run_loggers(trainer):
                logger.log_tags({tags.NOT_DEPLOYABLE: str(error)})
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(place) as partial:
            partial.write_text(card.to_json(), "utf-8")


def model_card(
    trainer: Trainer,
    module: LightningModule,
    inputs: Inputs | None,
    recipe: Mapping[str, Any] | None,
    monitor: str,
    mode: Any,
) -> ModelCard:
    """What a module that is about to be trained is.

    Args:
        trainer: Its trainer.
        module: The module.
        inputs: What its net takes; None if that is not known.
        recipe: How its net is made; None if the net itself is to be asked.
        monitor: The metric by which the best is chosen.
        mode: Whether lower or higher values of it are better.

    Raises:
        ConfigError: If it cannot be described, with the reason.
        WeightsError: If what the description makes is another net.
    """
    net, task = getattr(module, "net", None), getattr(module, "task", None)
    if not isinstance(net, nn.Module) or task not in ("classification", "regression"):
        raise ConfigError(
            f"{type(module).__name__} has no `net` that is a torch.nn.Module, or no `task` that is 'classification' or "
            "'regression'."
        )
    if inputs is None:
        raise ConfigError("what the net takes is not one tensor, and the data module has no `model_inputs`.")
    made = _plain(without_downloads(recipe or _recipe_of(net), getattr(module, "num_classes", None)))
    sources = own_sources(made, TRUSTED)
    state = exported_state(trainer, module, module.state_dict())
    own = {name.removeprefix("net."): each.shape for name, each in state.items() if name.startswith("net.")}
    _require_same_net(made, own, tuple(sources), trainer)
    names = getattr(getattr(trainer, "datamodule", None), "class_names", None)
    return ModelCard(
        task=task,
        net=made,
        inputs=inputs,
        class_names=tuple(map(str, names)) if names is not None and task == "classification" else None,
        monitor=monitor,
        mode=mode,
        versions=versions_used(made, inputs.kind),
        trained_on=_sketch(getattr(trainer, "datamodule", None)) if inputs.kind == "images" else "",
        sources={path: text for files in sources.values() for path, text in files.items()},
    )


def _sketch(data: Any) -> str:
    """The sketch of the training samples, if the data module knows their contents."""
    found = data.fingerprints() if callable(getattr(data, "fingerprints", None)) else {}
    return str(getattr(found.get("train"), "sketch", ""))


def _recipe_of(net: nn.Module) -> dict[str, Any]:
    info = backbone_info(net)
    if info is None:
        raise ConfigError(
            f"how this {type(net).__name__} was made is not known. Fit it with `plt-nn fit`, make it with "
            "`create_backbone`, or add `DeployableModel(net={'class_path': ..., 'init_args': {...}})` to the callbacks."
        )
    arguments = {"name": info.name, "pretrained": False, "model_args": dict(info.model_args)}
    return {"class_path": "plt_nn.create_backbone", "init_args": arguments}


def _plain(recipe: dict[str, Any]) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(recipe))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the arguments of {recipe['class_path']} are no plain values: {error}") from error
    return plain


def _require_same_net(
    recipe: dict[str, Any], shapes: Mapping[str, Any], trusted: tuple[str, ...], trainer: Trainer
) -> None:
    """Makes the net once more, without memory where that can be, and compares."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as that weights which are loaded get no memory
        try:
            with torch.device("meta"):
                again = rebuild(recipe, trusted)
        except Exception:  # noqa: BLE001  # some nets compute their widths with tensors
            with torch.device("cpu"):
                again = rebuild(recipe, trusted)
    if (difference := fits(again, shapes)) is not None:
        raise ConfigError(f"{recipe['class_path']} as it is configured makes another net than is trained: {difference}")


_ALWAYS = ("mlflow", "torch", "numpy", "pandas", "safetensors", "lazy-loader", "pillow")
_OF_IMAGES = ("torchvision", "timm")  # timm has some of the ways of cropping


def versions_used(recipe: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Package -> version, as pip names them, with `python` and `plt-nn`.

    Args:
        recipe: How the net is made.
        kind: What it takes.
    """
    path = str(recipe["class_path"])
    is_backbone = path.endswith("create_backbone") or path.startswith(("timm", "torchvision"))
    packages = [*_ALWAYS, *(_OF_IMAGES if kind == "images" or is_backbone else ())]
    found = {"python": platform.python_version()}
    for name in ["plt-nn", *packages]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a copy of the package that was never installed
            continue
    return found
