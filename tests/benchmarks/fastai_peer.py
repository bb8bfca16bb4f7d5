"""The phases of a schedule in fastai's own words: `freeze_to` and `fit`. Used by frontier.py.

The body's parameters are split by the phase that adds them, so that `freeze_to(-1)`, `freeze_to(-2)` ... trains just
what each phase trains. `fit` keeps the learning rate; the one-cycle policy of `fine_tune` would be another recipe. By
default a `Learner` trains the norms of what is frozen, which takes a backward pass through all of it; `train_bn=False`
with the callback `BnFreeze` is its way to leave them alone, and its progress bar and log are off.
"""

import importlib.util
import logging
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader

if TYPE_CHECKING:
    from tests.benchmarks.freezing_peers import Schedule
else:  # a script finds its neighbours by their bare names
    from freezing_peers import Schedule

FASTAI, FASTAI_NORMS = "fastai", "fastai, norms frozen"


def missing() -> str:
    """Why it cannot take part, or nothing."""
    return "" if importlib.util.find_spec("fastai") is not None else "not installed"


def accuracies(
    module: Any, schedule: Schedule, train: DataLoader[Any], val: DataLoader[Any], freezes_norms: bool
) -> list[float]:
    """Trains by the schedule, with a validation at each epoch; the accuracy of each.

    Args:
        module: A backbone and a head.
        schedule: The phases.
        train: The training batches.
        val: The validation batches.
        freezes_norms: Whether the norms of what is frozen are frozen too.
    """
    from fastai.callback.training import BnFreeze
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.metrics import accuracy
    from fastai.optimizer import OptimWrapper

    logging.getLogger("fastai").setLevel(logging.ERROR)
    model = nn.Sequential()
    model.add_module("backbone", module.backbone)  # under the names that the phases use
    model.add_module("head", module.head)
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(
            DataLoaders(train, val),
            model,
            nn.CrossEntropyLoss(),
            opt_func=partial(OptimWrapper, opt=torch.optim.AdamW),
            splitter=partial(_groups, schedule),
            metrics=accuracy,
            cbs=[BnFreeze()] if freezes_norms else [],
            train_bn=not freezes_norms,
            path=Path(folder),
        )
        reached: list[float] = []
        with learner.no_bar(), learner.no_logging():
            for number, (stretch, end) in enumerate(zip(schedule.stretches, schedule.ends(), strict=True)):
                learner.freeze_to(-1 - number)
                _require_trained(model, schedule, stretch.start, freezes_norms)
                learner.fit(end - stretch.start, schedule.rate_of(number))
                reached += [float(row[-1]) for row in learner.recorder.values]
    return reached


def _groups(schedule: Schedule, model: nn.Module) -> list[list[nn.Parameter]]:
    """What is never trained, and what each phase adds, the first phase last."""
    named = list(model.named_parameters())
    added = [[p for name, p in named if name.startswith(stretch.adds)] for stretch in schedule.stretches]
    known = {id(parameter) for group in added for parameter in group}
    return [group for group in [[p for _, p in named if id(p) not in known], *reversed(added)] if group]


def _require_trained(model: nn.Module, schedule: Schedule, epoch: int, freezes_norms: bool) -> None:
    """Makes sure that just what the schedule says is trained; and norms, if they are not frozen."""
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    agreed = set(schedule.rates([name for name, _ in model.named_parameters()], epoch))
    extra = {name for name in names - agreed if "bn" not in name}
    assert agreed <= names, f"fastai leaves {sorted(agreed - names)[:5]} against the schedule"
    assert not extra, f"fastai trains {sorted(extra)[:5]} against the schedule"
    assert not freezes_norms or names == agreed, f"fastai trains norms: {sorted(names - agreed)[:5]}"
