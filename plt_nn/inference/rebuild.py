"""Makes a net from plain values that come from outside: only classes and functions that make nets are called."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import nn

from plt_nn.errors import ConfigError, WeightsError

TRUSTED = ("plt_nn", "torch", "torchvision", "timm")
# Functions that make nets, and the arguments with which they download nothing.
_MAKERS: dict[str, dict[str, Any]] = {
    "plt_nn.backbones.create.create_backbone": {"pretrained": False},
    "timm.models._factory.create_model": {"pretrained": False, "checkpoint_path": ""},
}
_TORCHVISION = "torchvision.models."


def rebuild(recipe: Mapping[str, Any], trusted: Sequence[str] = ()) -> nn.Module:
    """Makes a net, with random weights.

    Args:
        recipe: `class_path` and `init_args`, in which others may be nested.
        trusted: Names of top-level modules, besides those of `TRUSTED`, whose classes may be made: importing them runs
            their code.

    Raises:
        WeightsError: If a class is not to be trusted or cannot be made.
    """
    made = _made(recipe, (*TRUSTED, *trusted))
    if not isinstance(made, nn.Module):
        raise WeightsError(f"{recipe.get('class_path')!r} makes a {type(made).__name__}; expected a torch.nn.Module.")
    return made


def without_downloads(recipe: Mapping[str, Any], outputs: int | None) -> dict[str, Any]:
    """A recipe that makes the same net with random weights.

    Args:
        recipe: `class_path` and `init_args`.
        outputs: The number of classes; a backbone's head gets as many outputs.

    Raises:
        ConfigError: If there is no such class.
    """
    found = _resolve(str(recipe["class_path"]))
    path = f"{found.__module__}.{found.__qualname__}"
    arguments = {name: _inner_without_downloads(value) for name, value in (recipe.get("init_args") or {}).items()}
    if path in _MAKERS:
        arguments |= {name: value for name, value in _MAKERS[path].items() if name == "pretrained" or name in arguments}
        if path.startswith("plt_nn.") and outputs is not None:
            arguments["num_classes"] = outputs
    elif path.startswith(_TORCHVISION):
        arguments |= {name: None for name in ("weights", "weights_backbone") if name in arguments}
    return {"class_path": str(recipe["class_path"]), "init_args": arguments}


def _inner_without_downloads(value: Any) -> Any:
    if isinstance(value, Mapping):
        if isinstance(value.get("class_path"), str):
            return without_downloads(value, None)
        return {name: _inner_without_downloads(inner) for name, inner in value.items()}
    return [_inner_without_downloads(inner) for inner in value] if isinstance(value, list) else value


def _made(value: Any, trusted: Sequence[str]) -> Any:
    if isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
        maker = _maker(value["class_path"], trusted)
        arguments = _made(dict(value.get("init_args") or {}), trusted)
        try:
            return maker(**arguments)
        except (TypeError, ValueError, RuntimeError) as error:
            raise WeightsError(f"{value['class_path']} cannot be made with {arguments}: {error}") from error
    if isinstance(value, Mapping):
        return {name: _made(inner, trusted) for name, inner in value.items()}
    if isinstance(value, list):
        return [_made(inner, trusted) for inner in value]
    return value


def _maker(class_path: str, trusted: Sequence[str]) -> Any:
    """What a class path names, if it may be called."""
    top = class_path.partition(".")[0]
    if top not in trusted:
        raise WeightsError(
            f"The model's net is a {class_path}, a class from outside {', '.join(TRUSTED)}. To make it runs the code "
            f"of {top!r}, as it is here, or else as the model carries it; if you trust it, say so (`--trust {top}`; "
            "`trusted=` in Python)."
        )
    try:
        found = _resolve(class_path)
    except ConfigError as error:
        raise WeightsError(str(error)) from error
    home = str(getattr(found, "__module__", "")).partition(".")[0]
    is_net = isinstance(found, type) and issubclass(found, nn.Module)
    if home in trusted and (is_net or _is_maker(found) or top not in TRUSTED):
        return found
    raise WeightsError(f"{class_path} is neither a torch.nn.Module nor a function that makes one.")


def _is_maker(found: Any) -> bool:
    path = f"{found.__module__}.{getattr(found, '__qualname__', '')}"
    if path in _MAKERS:
        return True
    if not path.startswith(_TORCHVISION):
        return False
    from torchvision import models

    return getattr(found, "__name__", "") in models.list_models()


def _resolve(class_path: str) -> Any:
    module, _, name = class_path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"There is no class {class_path!r} here: {error}") from error
