"""Callbacks are called in one order, in whatever order they are given."""

import random
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, EarlyStopping, LearningRateFinder, ModelCheckpoint

from plt_nn import BestLossStopping, FreezingSchedule, Phase
from plt_nn.callbacks import (
    ChannelsLast,
    CompileNet,
    ExactResume,
    FrozenFeatureCache,
    SignalsBetweenSteps,
    StepSeeds,
    TrainingView,
)
from plt_nn.callbacks.lightning.callback_order import CALL_ORDER, all_callbacks
from plt_nn.reports import RunReport

PHASES = [Phase("head"), Phase("all", start="plateau")]


class Users(Callback):
    """A callback of the user's own."""


class UsersCheckpoint(ModelCheckpoint):
    """A checkpoint callback of the user's own."""


def in_order(callbacks: Sequence[Callback], folder: Path) -> list[str]:
    """The names of the classes in the order in which they are called in a fit."""
    options: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_model_summary": False}
    options["enable_progress_bar"] = any(isinstance(callback, TrainingView) for callback in callbacks)
    trainer = Trainer(default_root_dir=folder, callbacks=list(callbacks), **options)
    for _ in range(2):  # a second fit with the same trainer changes nothing
        for callback in all_callbacks(trainer):
            if not isinstance(callback, ChannelsLast | BatchSizeFinder | LearningRateFinder | ModelCheckpoint):
                callback.setup(trainer, LightningModule(), "fit")
    return [type(callback).__name__ for callback in all_callbacks(trainer)]


def test_all_of_them_in_any_order(tmp_path: Path) -> None:
    given = [
        *(ModelCheckpoint(), Users(), BestLossStopping(), RunReport(), FrozenFeatureCache(), StepSeeds(), CompileNet()),
        *(FreezingSchedule(PHASES), LearningRateFinder(), BatchSizeFinder(), TrainingView(), EarlyStopping("val_loss")),
    ]
    first = ["TrainingView", "BatchSizeFinder", "FreezingSchedule", "LearningRateFinder"]
    anywhere = {"Users", "BestLossStopping", "EarlyStopping", "DeployableModel"}
    last = [
        *("PlateauWatch", "StepSeeds", "FrozenFeatureCache", "RunReport", "ModelCheckpoint", "ExactResume"),
        *("SignalsBetweenSteps", "RestoreBest", "CompileNet", "PhaseAdapters"),
    ]
    drawn = random.Random(0)
    for _ in range(20):
        drawn.shuffle(given)
        found = in_order(given, tmp_path)
        assert found[: len(first)] == first
        assert found[-len(last) :] == last
        between = found[len(first) : -len(last)]
        assert len(between) == len(anywhere)
        assert set(between) == anywhere
        users = [type(callback).__name__ for callback in given if type(callback).__name__ in anywhere]
        assert [name for name in between if name in users] == users, "others stay in the order in which they were given"


@pytest.mark.parametrize("ours", [FreezingSchedule([Phase("all")]), FrozenFeatureCache(), CompileNet(), StepSeeds()])
def test_each_alone_among_a_users_callbacks(ours: Callback, tmp_path: Path) -> None:
    given = [ours, Users(), UsersCheckpoint()]
    found = {tuple(in_order(order, tmp_path)) for order in permutations(given)}
    assert len(found) == 1
    (names,) = found
    assert names.index("Users") < names.index("UsersCheckpoint")
    assert (names.index(type(ours).__name__) > names.index("UsersCheckpoint")) == isinstance(ours, CompileNet)


def test_a_subclass_of_ours_stands_where_ours_does(tmp_path: Path) -> None:
    class MySchedule(FreezingSchedule):
        pass

    assert in_order([Users(), MySchedule([Phase("all")])], tmp_path)[:2] == ["MySchedule", "Users"]


def test_companions_that_are_given_are_not_added_again(tmp_path: Path) -> None:
    found = in_order([BestLossStopping(), ExactResume(), SignalsBetweenSteps(), StepSeeds()], tmp_path)
    assert len(found) == len(set(found))


def test_every_name_in_the_table_is_a_class() -> None:
    known = {kind.__name__ for kind in _all_subclasses(Callback)} | {"Callback"}
    assert set(CALL_ORDER) <= known
    assert len(set(CALL_ORDER)) == len(CALL_ORDER)


def _all_subclasses(kind: type[Callback]) -> set[type[Callback]]:
    return {kind}.union(*map(_all_subclasses, kind.__subclasses__()))
