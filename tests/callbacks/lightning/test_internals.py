"""Only `callbacks/lightning/` reads or sets what Lightning's objects keep for themselves."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import lightning.pytorch
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

import plt_nn

PACKAGE = Path(plt_nn.__file__).parent
ROOM = PACKAGE / "callbacks" / "lightning"
BY_NAME = ("getattr", "setattr", "hasattr", "delattr", "pop")


def is_internal(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__")


@cache
def internals_of_lightning() -> frozenset[str]:
    """Every attribute and method of Lightning's classes that begins with an underscore, but for those of torch."""
    names = set[str]()
    for file in Path(lightning.pytorch.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                names.add(node.name)
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "trainer", "self.trainer"):
                names.add(node.attr)
    torchs = {*dir(nn.Linear(1, 1)), *dir(torch.zeros(1)), *dir(DataLoader)}
    return frozenset(name for name in names - torchs if is_internal(name))


def accesses(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each access to an attribute of another object than `self`, also by `getattr` and the like."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            is_own |= isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()"
            if not is_own:
                yield node.lineno, node.attr
        if isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            yield from ((node.lineno, name) for name in names if called in BY_NAME and isinstance(name, str))


def test_no_other_room_touches_them() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line} {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if ROOM not in path.parents
        for line, name in accesses(path.read_text("utf-8"))
        if name in internals_of_lightning()
    ]
    assert found == [], "give callbacks/lightning a function with a name that says what is asked for"


def test_the_names_are_those_of_objects_in_use() -> None:
    trainer = Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    objects = (trainer, trainer.fit_loop, trainer.fit_loop.epoch_loop, trainer.strategy, trainer._logger_connector)
    alive = {name for each in objects for name in vars(each) if is_internal(name)}
    assert alive <= internals_of_lightning()
    assert {"_results", "_data_fetcher", "_swap_models", "_last_checkpoint_saved"} <= internals_of_lightning()


def test_each_way_of_access_is_seen() -> None:
    source = "trainer._results\ngetattr(loop, '_data_fetcher', None)\nvars(loop).pop('_restarting')\nself._mine\n"
    assert list(accesses(source)) != []
    assert {name for _, name in accesses(source)} & internals_of_lightning() == {
        *("_results", "_data_fetcher", "_restarting"),
    }
