"""The model card: what must be known beside the weights to use a model, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from plt_nn.errors import WeightsError
from plt_nn.inference.inputs import Inputs, inputs_from_plain, inputs_to_plain
from plt_nn.inference.model_files import CARD

FORMAT = 1
Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class ModelCard:
    """What a model is.

    Args:
        task: What its outputs mean: logits of classes, or values.
        net: How the net is made: `class_path` and `init_args`, plain values.
        inputs: Its inputs.
        class_names: The classes in the order of the outputs.
        prefix: What stands before the net's own names in the file of weights.
        monitor: The metric by which the best was chosen.
        mode: Whether lower (`min`) or higher (`max`) values of it are better.
        versions: The packages that it was trained with.
        trained_on: A sketch of the training samples, by which they are recognised; empty if there is none.
        sources: The user's Python files with the class of the net: path -> text.
    """

    task: Task
    net: dict[str, Any]
    inputs: Inputs
    class_names: tuple[str, ...] | None = None
    prefix: str = "net."
    monitor: str = "val_loss"
    mode: Literal["min", "max"] = "min"
    versions: dict[str, str] = field(default_factory=dict)
    trained_on: str = ""
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def modules(self) -> tuple[str, ...]:
        """The top-level names of the modules in `sources`."""
        return tuple(dict.fromkeys(path.split("/")[0].removesuffix(".py") for path in self.sources))

    def to_json(self) -> str:
        """The card as text."""
        return json.dumps({"format": FORMAT, **vars(self), "inputs": inputs_to_plain(self.inputs)}, indent=1)

    @classmethod
    def from_json(cls, text: str, where: str = CARD) -> "ModelCard":
        """The inverse of `to_json`; errors say `where` the text comes from.

        Raises:
            WeightsError: If it is no card, or one of a later format.
        """
        try:
            plain = json.loads(text)
            if plain["format"] > FORMAT:
                raise WeightsError(f"{where} has format {plain['format']}; this plt_nn reads {FORMAT}. Update plt_nn.")
            del plain["format"]
            names, inputs = plain["class_names"], inputs_from_plain(plain["inputs"])
            card = cls(**plain | {"inputs": inputs, "class_names": tuple(names) if names is not None else None})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, WeightsError):
                raise
            raise WeightsError(f"{where} does not describe a model: {type(error).__name__}: {error}") from error
        if card.task not in ("classification", "regression") or not isinstance(card.net, Mapping):
            raise WeightsError(f"{where} does not describe a model: task {card.task!r}, net {card.net!r}")
        return card


def read_card(folder: Path) -> ModelCard:
    """The card in a model's folder.

    Raises:
        WeightsError: If there is none.
    """
    path = folder / CARD
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"{folder} holds no model that can be used: there is no {CARD} that can be read. Models have one since "
            "plt_nn logs them with `BestLossStopping` and `DeployableModel`, unless the run says (in its tag "
            "`plt_nn.not_deployable`) why it could not."
        ) from error
    return ModelCard.from_json(text, str(path))
