"""Reads files of weights without running any code in them."""

import pickle
import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plt_nn.errors import WeightsError
from plt_nn.text import and_more

CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model")  # in timm's order of preference
WRAPPERS = ("module.", "_orig_mod.", "net.", "model.")  # DataParallel and DDP, torch.compile, LightningModules


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. The usual containers are opened, and the usual prefixes removed.

    Args:
        path: `.safetensors`, or anything `torch.save` writes (`.pth`, `.pt`, `.bin`, `.ckpt`), which is read with
            `weights_only=True`.

    Raises:
        WeightsError: The file is missing or damaged, holds more than plain data, or holds no state dict.
    """
    if not path.is_file():
        raise WeightsError(
            f"There is no file of weights at '{path}'. pretrained takes True (download), False (random weights), "
            "'package:NAME' or the path of a .safetensors, .pth, .pt, .bin or .ckpt file."
        )
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    return _without_wrappers(_state_dict(content, path))


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"'{path}' is not a safetensors file, or is incomplete: {error}") from error


def _read_torch(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals([Namespace]):  # timm's training script saves its arguments too
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError) as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))  # how torch names what it refused to import
        with path.open("rb") as file:
            is_pickle = file.read(1) == pickle.PROTO
        if not asked and not is_pickle:
            raise WeightsError(
                f"'{path}' ({path.stat().st_size:,} bytes) is not a file of weights, or is damaged or incomplete. "
                "Expected .safetensors, or what torch.save(net.state_dict(), path) writes."
            ) from error
        raise WeightsError(
            f"'{path}' was refused: it holds Python objects besides tensors{f' ({asked[1]})' if asked else ''}, and "
            "loading them would run code. Nothing in it was executed. Save the weights alone: "
            "torch.save(net.state_dict(), path), or as safetensors."
        ) from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in the content of a file."""
    if not isinstance(content, Mapping):
        raise WeightsError(f"'{path}' holds a {type(content).__name__}; expected names and tensors (a state dict).")
    inner = (content.get(container) for container in CONTAINERS)
    content = next((each for each in inner if isinstance(each, Mapping)), content)
    others = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if others or not content:
        raise WeightsError(
            f"'{path}' holds no state dict: {len(others)} of {len(content)} entries are not tensors"
            f"{': ' + and_more(others, 10) if others else ''}. Expected names and tensors, or these under one of the "
            f"keys {', '.join(CONTAINERS)}."
        )
    return {str(key): value for key, value in content.items()}


def _without_wrappers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights without the prefixes that all of them have."""
    for wrapper in WRAPPERS * 2:  # nested in any order
        if all(name.startswith(wrapper) for name in weights):
            weights = {name.removeprefix(wrapper): value for name, value in weights.items()}
    return weights
