"""Looks for faults in a configuration, all of them, before anything slow starts."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Trainer

import plt_nn
from plt_nn.architectures import MLP, ConvNet, RecurrentNet, ResidualNet, TransformerNet
from plt_nn.backbones import check_backbone_name, create_backbone
from plt_nn.callbacks import FreezingSchedule
from plt_nn.errors import ConfigError, did_you_mean, refuse
from plt_nn.freezing import parse_phases

_TOP_LEVEL = (
    "seed_everything",
    "trainer",
    "model",
    "data",
    "ckpt_path",
    "weights_only",
    "verbose",
    "return_predictions",
)


def check_config_files(words: Sequence[str]) -> None:
    """Reads the files given by `--config` and reports every fault in them together.

    Args:
        words: The words of the command line.

    Raises:
        ConfigError: Naming each fault with the key where it stands and the nearest valid names.
    """
    refuse(
        "the configuration", (f"{path}: {fault}" for path in _config_paths(words) for fault in _faults_in_file(path))
    )


def faults_in(config: Mapping[str, Any]) -> Iterator[str]:
    """The faults of a configuration: unknown keys, classes, backbones, and phases that cannot be used.

    Args:
        config: The content of a YAML file.
    """
    yield from _unknown_keys("", config, _TOP_LEVEL)
    trainer = config.get("trainer")
    if isinstance(trainer, Mapping):
        yield from _unknown_keys("trainer", trainer, list(inspect.signature(Trainer.__init__).parameters)[1:])
    yield from _faults_below("", config)


def _build(made: Callable[..., object], arguments: Mapping[str, Any]) -> None:
    """Builds a net without memory for its weights, for the faults that its constructor finds."""
    try:
        with torch.device("meta"):
            made(**arguments)
    except ConfigError:
        raise
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        return  # a value of the wrong type, which the parser will report


# What can be wrong with the arguments of a class, beyond their names.
_VALUE_CHECKS: dict[Any, Callable[[Mapping[str, Any]], object]] = {
    create_backbone: lambda arguments: check_backbone_name(str(arguments["name"])) if "name" in arguments else None,
    FreezingSchedule: lambda arguments: parse_phases(arguments["phases"]) if "phases" in arguments else None,
    **{net: partial(_build, net) for net in (MLP, ConvNet, RecurrentNet, TransformerNet, ResidualNet)},
}


def _config_paths(words: Sequence[str]) -> list[Path]:
    paths = [Path(after) for word, after in pairwise(words) if word in ("--config", "-c")]
    return paths + [Path(word.partition("=")[2]) for word in words if word.startswith("--config=")]


def _faults_in_file(path: Path) -> list[str]:
    if not path.is_file():
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*.y*ml")], n=3)
        return ["there is no such file." + (f" Did you mean {' or '.join(near)}?" if near else "")]
    try:
        config = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return [f"this is not YAML: {' '.join(str(error).split())}"]
    if not isinstance(config, Mapping):
        return [
            f"expected a mapping with keys such as 'trainer', 'model' and 'data', but found {type(config).__name__}"
        ]
    return list(faults_in(config))


def _faults_below(place: str, value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("class_path"), str):
            yield from _faults_of_class(place, value["class_path"], value.get("init_args") or {})
        for key, inner in value.items():
            yield from _faults_below(f"{place}.{key}".lstrip("."), inner)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _faults_below(f"{place}.{position}", inner)


def _faults_of_class(place: str, class_path: str, arguments: object) -> Iterator[str]:
    if "." not in class_path:
        return  # a short name, which the parser resolves among the subclasses that it knows
    made = _resolve(class_path)
    if not callable(made):
        yield f"{place}.class_path: there is no {class_path!r}.{_near_classes(class_path)}"
        return
    if not isinstance(arguments, Mapping):
        yield f"{place}.init_args: expected a mapping of arguments, but found {type(arguments).__name__}"
        return
    parameters = inspect.signature(made).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        yield from _unknown_keys(f"{place}.init_args", arguments, [parameter.name for parameter in parameters])
    if made in _VALUE_CHECKS:
        try:
            _VALUE_CHECKS[made](arguments)
        except ConfigError as error:
            yield f"{place}.init_args: {error}"


def _unknown_keys(place: str, given: Mapping[str, Any], valid: Sequence[str]) -> Iterator[str]:
    for key in given:
        if key not in valid:
            yield f"{f'{place}.{key}'.lstrip('.')}: there is no such key.{did_you_mean(str(key), valid)}"


def _resolve(class_path: str) -> Any:
    module, _, name = class_path.rpartition(".")
    try:
        return getattr(import_module(module), name, None)
    except ImportError:
        return None


def _near_classes(class_path: str) -> str:
    ours = [f"plt_nn.{name}" for name in plt_nn.__all__]
    module, _, _ = class_path.rpartition(".")
    try:
        beside = [f"{module}.{name}" for name in dir(import_module(module)) if not name.startswith("_")]
    except ImportError:
        beside = []
    return did_you_mean(class_path, beside + ours)
