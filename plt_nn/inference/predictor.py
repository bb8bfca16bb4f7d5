"""A model that predicts: its weights, and its card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from plt_nn.errors import WeightsError
from plt_nn.inference.card import ModelCard, read_card
from plt_nn.inference.model_files import WEIGHTS
from plt_nn.inference.own_sources import make_importable
from plt_nn.inference.rebuild import rebuild
from plt_nn.text import counted


class Predictor(nn.Module):
    """A net with the meaning of its outputs, in evaluation mode.

    Args:
        net: The net.
        card: What it is.
        reached: What is known of the time of its weights, such as `epoch`, `step` and `metrics`.
    """

    def __init__(self, net: nn.Module, card: ModelCard, reached: Mapping[str, str]) -> None:
        super().__init__()
        self.net, self.card, self.reached = net.eval().requires_grad_(False), card, dict(reached)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities `(N, classes)`, or values `(N, targets)`.

        Args:
            x: What the net takes, as `card.inputs` makes it.
        """
        output: Tensor = self.net(x)
        return output.softmax(1) if self.card.task == "classification" else output

    @property
    def class_names(self) -> list[str]:
        """The classes in the order of the outputs; their numbers where they have no names. For classification."""
        if self.card.class_names is not None:
            return list(self.card.class_names)
        return [str(number) for number in range(self._outputs())]

    def predict(self, x: Tensor) -> Tensor:
        """The outputs for any number of samples, float32 on the CPU."""
        device = next(iter(self.net.parameters()), torch.empty(0)).device
        with torch.inference_mode():
            output: Tensor = self(x.to(device, non_blocking=True))
            return output.float().cpu()

    def _outputs(self) -> int:
        linear = [module.out_features for module in self.net.modules() if isinstance(module, nn.Linear)]
        return linear[-1]


def load_predictor(folder: Path, device: str = "cpu", trusted: Sequence[str] = ()) -> Predictor:
    """The model in a folder; nothing is downloaded, and nothing is unpickled.

    Args:
        folder: With `model.json` and `best.safetensors`.
        device: Where the net is to run.
        trusted: See `rebuild`. The text that the model carries is used if there is no such module.

    Raises:
        WeightsError: If it is no model, or its parts do not fit each other.
    """
    card = read_card(folder)
    weights, reached = _read(folder / WEIGHTS, card.prefix)
    if set(card.modules) & set(trusted):
        make_importable(card.sources)
    net = rebuild(card.net, trusted)
    _load(net, weights, folder)
    return Predictor(net, card, reached).to(device)


def fits(net: nn.Module, shapes: Mapping[str, Any]) -> str | None:
    """Why weights of these names and shapes do not fit a net; None if they do."""
    own = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    given = {name: tuple(shape) for name, shape in shapes.items()}
    wrong = [
        f"{name}: {given.get(name, 'missing')} instead of {own.get(name, 'nothing')}"
        for name in dict.fromkeys([*own, *given])
        if own.get(name) != given.get(name)
    ]
    return f"{counted(len(wrong), 'tensor')} do not match, such as {'; '.join(wrong[:3])}" if wrong else None


def _read(path: Path, prefix: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118  # it is no dict
            weights = {name.removeprefix(prefix): file.get_tensor(name) for name in names}
            return weights, dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from error


def _load(net: nn.Module, weights: dict[str, Tensor], folder: Path) -> None:
    difference = fits(net, {name: tensor.shape for name, tensor in weights.items()})
    if difference is not None:
        raise WeightsError(
            f"The weights in {folder} do not fit the net that {folder.name}/model.json makes: {difference}"
        )
    net.load_state_dict(weights)
