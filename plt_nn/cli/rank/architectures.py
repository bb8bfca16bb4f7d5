"""`plt-nn rank` for tables, sequences and small images: which architecture, at which size and learning rate."""

import os
from pathlib import Path

from jsonargparse import ArgumentParser
from lightning.pytorch import LightningDataModule
from rich.console import Console
from torch import Tensor

from plt_nn.advice.architecture_report import architecture_report
from plt_nn.advice.architectures import space
from plt_nn.advice.short_runs import rank_architectures
from plt_nn.cli.options import parse_duration
from plt_nn.cli.rank.options import add_outputs
from plt_nn.cli.rank.output import finish
from plt_nn.data.tensors import TensorData
from plt_nn.errors import ConfigError, refuse
from plt_nn.tracking.store import store_at


def rank_architectures_of(words: list[str], command: str) -> None:
    """Ranks architectures, given the arguments in words and the whole command line."""
    parser = _parser()
    arguments = parser.parse_args(words)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("architectures for tables are tried by one process; call it without torchrun.")
    budget, store = parse_duration(arguments.budget), store_at(arguments.store)
    data = parser.instantiate(arguments).data
    if not isinstance(data, TensorData):
        raise ConfigError(
            f"{type(data).__name__} holds no tensors; for a folder of images call `plt-nn rank --data.root FOLDER`."
        )
    data.setup("fit")
    (x, y), classes = data.splits["train"], data.num_classes
    nets = space(x.shape[1:], classes or y.shape[1])
    with Console(stderr=True).status("Training ...") as status:
        found, left_out = rank_architectures(
            nets, x, y, classes, data.batch_size, arguments.epochs, budget, status.update
        )
    if not found:
        refuse("the architectures", left_out)
    has_learnt = found[0].score > _constant_score(y, classes)
    init_args = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in arguments.data.init_args.as_dict().items()
        if value is not None
    }
    source = {"class_path": arguments.data.class_path, "init_args": init_args}
    finish(architecture_report(found, left_out, source, command, classes is not None, has_learnt), arguments, store)
    if not has_learnt:
        raise ConfigError(_why_nothing(y, classes))


def _constant_score(y: Tensor, classes: int | None) -> float:
    """The score of always predicting the most common class, or the mean."""
    return 0.0 if classes is None else int(y.bincount().max()) / len(y)


def _why_nothing(y: Tensor, classes: int | None) -> str:
    """Advice where none of the nets has learnt anything."""
    if classes is not None:
        return (
            "none of these nets is better than always predicting the most common class, so there is no "
            "advice. Try more --epochs, or other columns."
        )
    return (
        "none of these nets is better than always predicting the mean of the targets, so there is no advice. The "
        f"targets have a mean of {float(y.mean()):.4g} and a standard deviation of {float(y.std()):.4g}; nets learn "
        "best with about 0 and 1. Shift and scale the column, or try more --epochs."
    )


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="plt-nn rank",
        description="Try architectures of several kinds and sizes on a table, sequences or small images, in short "
        "runs on a part of the training samples: all for few epochs, the better ones for more. For a folder of images "
        "call it with --data.root.",
    )
    default = {"class_path": "plt_nn.TabularData"}
    parser.add_subclass_arguments(LightningDataModule, "data", default=default, required=True)
    parser.add_argument("--epochs", type=int, default=32, help="of the last round (default: 32)")
    add_outputs(parser)
    return parser
