"""In which order the callbacks of a trainer are called: one table, and one function that sorts by it."""

from typing import Any, TypeVar

from lightning.pytorch import Callback, Trainer

_Kind = TypeVar("_Kind", bound=Callback)

# From first to last, by the name of a callback's class or of its nearest base class that is named here. "Callback" are
# all others, in the order in which the user gave them.
CALL_ORDER = (
    "TrainingView",  # writes the row of the last epoch before anybody prints something about the next one
    "BatchSizeFinder",  # searches with everything trainable, because the size must do for the last phase too
    "FreezingSchedule",  # starts a phase before any other callback looks at what is trained
    "LearningRateFinder",  # searches with what the first phase trains
    "Callback",
    "PlateauWatch",  # after the user's EarlyStopping, which `trainer.early_stopping_callback` should find first
    "StepSeeds",  # seeds a step after other callbacks may have drawn random numbers
    "FrozenFeatureCache",  # after everything that freezes weights or seeds the order of the samples
    "RunReport",  # after everything that logs
    "Checkpoint",  # Lightning's: saves the state of all callbacks above, each up to date
    "ExactResume",  # ends an interrupted epoch as training starts, when all callbacks above have been restored
    "SignalsBetweenSteps",  # may end the fit, so a step is complete for all callbacks above
    "RestoreBest",  # the checkpoints above hold the last weights, not the best
    "CompileNet",  # gives the forward pass back after the feature cache, which replaced it on top of this one
    "PhaseAdapters",  # changes the names of parameters, so nothing may read weights after it
)


def sort_callbacks(trainer: Trainer, *companions: Callback | type[Callback]) -> None:
    """Adds the callbacks that one of ours needs, and sorts all callbacks of the trainer; call it from `setup`.

    Args:
        trainer: The trainer.
        companions: A class is instantiated unless the trainer has an instance of it; an instance takes the place of
            any other of its class.
    """
    present = all_callbacks(trainer)
    for companion in companions:
        if isinstance(companion, Callback):
            present = [callback for callback in present if type(callback) is not type(companion)] + [companion]
        elif not any(isinstance(callback, companion) for callback in present):
            present.append(companion())
    typed_loosely: Any = trainer  # Lightning sets the attribute from outside the class
    typed_loosely.callbacks = sorted(present, key=_rank)  # a new list, because Lightning is iterating over the old one


def all_callbacks(trainer: Trainer) -> list[Callback]:
    """The trainer's callbacks, in the order in which they are called."""
    callbacks: list[Callback] = getattr(trainer, "callbacks", [])  # an attribute that Lightning does not declare
    return list(callbacks)


def callbacks_of(trainer: Trainer, kind: type[_Kind]) -> list[_Kind]:
    """The trainer's callbacks of one class, in the order in which they are called."""
    return [callback for callback in all_callbacks(trainer) if isinstance(callback, kind)]


def callback_of(trainer: Trainer, kind: type[_Kind]) -> _Kind | None:
    """The trainer's first callback of one class, or None."""
    return next(iter(callbacks_of(trainer, kind)), None)


def _rank(callback: Callback) -> int:
    return next(CALL_ORDER.index(base.__name__) for base in type(callback).__mro__ if base.__name__ in CALL_ORDER)
