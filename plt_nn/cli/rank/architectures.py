"""`plt-nn rank` for tables, sequences and small images: which architecture, at which size and learning rate."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch import LightningDataModule
from rich.console import Console
from torch import Tensor

from plt_nn.advice.architectures import space
from plt_nn.advice.short_runs import Tried, rank_architectures
from plt_nn.cli.options import parse_duration
from plt_nn.cli.rank.options import require_yaml
from plt_nn.cli.rank.output import say_where, write_configuration
from plt_nn.data import TabularData
from plt_nn.data.tensors import TensorSplit
from plt_nn.errors import ConfigError, refuse
from plt_nn.text_table import TextTable
from plt_nn.tracking.store import store_at
from plt_nn.tracking.written_runs import WrittenRun, deliver, write_run

_BATCH = 32


def run(argv: list[str]) -> int:
    """Ranks architectures, and gives advice.

    Raises:
        ConfigError: For data that are not tensors in memory, or if nothing could be tried or nothing was learnt.
        DataError: For data that cannot be trained on.
    """
    parser = _parser()
    arguments = parser.parse_args(argv[1:])
    require_yaml(arguments.write)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("architectures for tables are tried by one process; call it without torchrun.")

    data = parser.instantiate(arguments).data
    data.setup("fit")
    splits: dict[str, TensorSplit] = getattr(data, "splits", {})
    if "train" not in splits:
        raise ConfigError(
            f"{type(data).__name__} holds no tensors; for a folder of images call `plt-nn rank --data.root FOLDER`."
        )
    x, y = splits["train"]
    classes: int | None = getattr(data, "num_classes", None)
    outputs = classes if classes is not None else int(y.shape[1])
    console = Console(stderr=True)
    with console.status("Training ...") as status:
        found, unfinished = rank_architectures(
            space(x.shape[1:], outputs),
            x,
            y,
            classes,
            getattr(data, "batch_size", _BATCH),
            arguments.epochs,
            parse_duration(arguments.budget or ""),
            status.update,
        )
    if not found:
        refuse("the architectures", unfinished)
    command, has_learnt = shlex.join(["plt-nn", *argv]), found[0].score > _constant_score(y, classes)
    files = _show(arguments, found, unfinished, classes is not None)
    if has_learnt:
        advice = yaml.safe_dump(_configuration(found[0], arguments, classes is not None), sort_keys=False, width=110)
        files["recommended.yaml"] = f"# Made by: {command}\n{advice}"
        write_configuration(Path(arguments.write) if arguments.write else None, files["recommended.yaml"])
    _record(arguments, command, found, files)
    if not has_learnt:
        raise ConfigError(_why_nothing(y, classes))
    return 0


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


def _show(arguments: Namespace, found: list[Tried], unfinished: list[str], is_classes: bool) -> dict[str, str]:
    """Prints the table; returns it as files for the record."""
    header = ("", "net", "accuracy (95 %)" if is_classes else "R2", "loss", "parameters", "epochs", "seconds")
    rows = [_cells(number, tried) for number, tried in enumerate(found, 1)]
    styles = ["" if tried.in_last_round else "dim" for tried in found]
    table = TextTable(header, rows, numeric=(0, 2, 3, 4, 5, 6), styles=styles)
    plain = {"candidates": [_plain(tried) for tried in found], "left_out": unfinished}
    if arguments.format == "text":
        console = Console(width=None if sys.stdout.isatty() else 120)
        console.print(table.as_rich())
        for text in unfinished:
            console.print(f"Left out: {text}", highlight=False)
    else:
        print(json.dumps(plain, indent=1) if arguments.format == "json" else table.as_markdown())
    return {"ranking.md": table.as_markdown(), "ranking.json": json.dumps(plain)}


def _record(arguments: Namespace, command: str, found: list[Tried], files: dict[str, str]) -> None:
    store = store_at(arguments.store)
    content = {name: text.encode() for name, text in files.items()}
    whole = WrittenRun("rank", {"command": command}, _metrics(found[0]), note=files["ranking.md"], files=content)
    parent = write_run(store, arguments.experiment, whole)
    folders = [parent]
    for number, tried in enumerate(found, 1):
        net = tried.architecture
        params = {"net": net.class_path, **net.plain_args(), "lr": net.lr}
        child = WrittenRun(str(net), params, _metrics(tried) | {"rank": {0: float(number)}})
        folders.append(write_run(store, arguments.experiment, child, parent.uid))
    say_where(parent.uid, deliver(folders))


def _metrics(tried: Tried) -> dict[str, dict[int, float]]:
    values = {"held_out_loss": tried.loss, "held_out_score": tried.score, "parameters": float(tried.parameters)}
    return {name: {0: value} for name, value in values.items()}


def _configuration(best: Tried, arguments: Namespace, is_classes: bool) -> dict[str, Any]:
    data = {"class_path": arguments.data.class_path, "init_args": _given(arguments.data.init_args)}
    net = {"class_path": best.architecture.class_path, "init_args": best.architecture.plain_args()}
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": best.architecture.lr}}
    stopping = {"class_path": "plt_nn.BestLossStopping", "init_args": {"monitor": "val_loss", "patience": 10}}
    return {
        "seed_everything": 0,
        "trainer": {"max_epochs": 4 * best.epochs, "log_every_n_steps": 10, "callbacks": [stopping]},
        "model": {
            "class_path": "plt_nn.Classifier" if is_classes else "plt_nn.Regressor",
            "init_args": {"net": net, "optimizer": optimizer},
        },
        "data": data,
    }


def _given(init_args: Namespace) -> dict[str, Any]:
    """The arguments of the data, without those that are None."""
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in init_args.as_dict().items()}
    return {name: value for name, value in plain.items() if value is not None}


def _cells(number: int, tried: Tried) -> list[str]:
    interval = "" if tried.interval is None else f" ({tried.interval[0]:.0%}-{tried.interval[1]:.0%})"
    score = f"{tried.score:.3f}" if tried.interval is None else f"{tried.score:.1%}{interval}"
    facts = [f"{tried.loss:.4g}", f"{tried.parameters:,}", str(tried.epochs), f"{tried.seconds:.1f}"]
    return [str(number), str(tried.architecture), score, *facts]


def _plain(tried: Tried) -> dict[str, Any]:
    """What was tried as plain values, for JSON."""
    net = tried.architecture
    results = {name: value for name, value in vars(tried).items() if name not in ("architecture", "losses")}
    return {"net": net.class_path, "init_args": net.plain_args(), "lr": net.lr, "loss": tried.loss, **results}


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="plt-nn rank",
        description="Try architectures of several kinds and sizes on a table, sequences or small images, in short "
        "runs on a part of the training samples: all for few epochs, the better ones for more. For a folder of images "
        "call it with --data.root.",
    )
    parser.add_subclass_arguments(
        LightningDataModule, "data", default={"class_path": f"plt_nn.{TabularData.__name__}"}, required=True
    )
    parser.add_argument("--epochs", type=int, default=32, help="of the last round (default: 32)")
    parser.add_argument("--budget", type=str, help="such as 90s, 10min or 1h; default: none")
    parser.add_argument("--write", type=str, metavar="FILE", help="write the advice as a configuration")
    parser.add_argument("--format", choices=["text", "md", "json"], default="text", help="default: text")
    parser.add_argument("--experiment", type=str, default="rank", help="the experiment in MLflow (default: rank)")
    parser.add_argument("--store", type=str, default="mlruns", help="folder of the runs (default: mlruns)")
    return parser
