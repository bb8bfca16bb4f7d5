"""How many batches remain until a fit's limit, on trainers as far as the function looks at them."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from plt_nn.callbacks.lightning.loops import remaining_batches


@pytest.mark.parametrize(
    ("epoch", "done", "an_epoch", "max_epochs", "step", "max_steps", "accumulated", "remaining"),
    [
        (0, 0, 10, 3, 0, -1, 1, 30),
        (2, 4, 10, 3, 24, -1, 1, 6),
        (3, 0, 10, 3, 30, -1, 1, 0),
        (0, 0, 10, -1, 0, -1, 1, math.inf),
        (0, 0, 10, None, 0, -1, 1, math.inf),
        (0, 0, math.inf, 3, 0, -1, 1, math.inf),
        (3, 0, math.inf, 3, 9, -1, 1, 0),
        (0, 4, math.inf, -1, 4, 100, 1, 96),
        (0, 4, 10, -1, 2, 100, 2, 196),
        (1, 0, 10, 3, 10, 15, 1, 5),
        (1, 0, 10, 9, 20, 15, 1, 0),  # resumed with a limit that is behind
    ],
)
def test_the_first_limit_counts(
    epoch: int,
    done: int,
    an_epoch: float,
    max_epochs: int | None,
    step: int,
    max_steps: int,
    accumulated: int,
    remaining: float,
) -> None:
    trainer: Any = SimpleNamespace(num_training_batches=an_epoch, max_epochs=max_epochs, global_step=step)
    trainer.max_steps, trainer.accumulate_grad_batches = max_steps, accumulated
    assert remaining_batches(trainer, epoch, done) == remaining
