"""Nets of timm: names, construction, download, and the preprocessing of their weights."""

import sys
from typing import Any

from torch import Tensor, nn

from plt_nn.backbones.hub import downloading, is_in_torch_cache
from plt_nn.backbones.packages import packages_for
from plt_nn.backbones.preprocessing import Preprocessing
from plt_nn.errors import WeightsError


def names(tagged: bool) -> list[str]:
    """The names of all nets, or (`tagged`) of all nets with the tags of their weights."""
    import timm

    return [str(name) for name in (timm.list_pretrained() if tagged else timm.list_models())]


def cached() -> list[str]:
    """The names, with tags, of the nets whose weights have been downloaded before."""
    import timm

    configs = ((str(name), timm.get_pretrained_cfg(name)) for name in timm.list_pretrained())
    return [name for name, config in configs if config is not None and config.has_weights and _location(config)[1]]


def tags(net: str) -> list[str]:
    """The tags of the pretrained weights of a net."""
    import timm

    return [str(name).partition(".")[2] for name in timm.list_pretrained(f"{net}.*")]


def build(name: str, model_args: dict[str, Any]) -> nn.Module:
    """The net with random weights and the number of classes of its pretrained weights."""
    import timm

    net: nn.Module = timm.create_model(name, pretrained=False, **model_args)
    return net


def download(name: str, model_args: dict[str, Any]) -> nn.Module:
    """The net with pretrained weights, from timm's cache or downloaded.

    Raises:
        WeightsError: There are no weights, or they cannot be downloaded.
    """
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise WeightsError(f"timm has no pretrained weights of {name}; choose pretrained=False (random weights).")
    url, is_cached = _location(config)
    with downloading(url, f"timm/{name}", is_cached, packages_for(f"timm/{name}")):
        net: nn.Module = timm.create_model(name, pretrained=True, **model_args)
    return net


def convert(weights: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor] | None:
    """Weights of the original authors under timm's names, at the net's image size; `None` if timm cannot do it."""
    conversion = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if conversion is None:
        return None
    try:
        converted: dict[str, Tensor] = conversion(dict(weights), net)
    except (LookupError, AttributeError, RuntimeError, ValueError, TypeError, AssertionError):
        return None  # timm does not know this kind of weights: the names are compared unchanged
    return converted


def preprocessing(name: str, net: nn.Module, model_args: dict[str, Any]) -> Preprocessing:
    """The preprocessing that the weights of the net were trained with."""
    from timm.data.config import resolve_model_data_config

    resolve: Any = resolve_model_data_config  # timm leaves it untyped
    config = resolve(net)
    height, width = config["input_size"][-2:]
    result = Preprocessing(
        size=height if height == width else (height, width),
        interpolation=config["interpolation"],
        crop_pct=config["crop_pct"],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        crop_mode=config["crop_mode"],
    )
    return result.with_size(model_args["img_size"]) if "img_size" in model_args else result


def _location(config: Any) -> tuple[str, bool]:
    """The address of timm's weights, and whether they are in the cache."""
    from huggingface_hub import constants, try_to_load_from_cache

    if not config.hf_hub_id:
        return config.url, bool(config.url) and is_in_torch_cache(config.url)
    repository = config.hf_hub_id.partition("@")[0]
    files = [config.hf_hub_filename or constants.SAFETENSORS_SINGLE_FILE, constants.PYTORCH_WEIGHTS_NAME]
    is_cached = any(isinstance(try_to_load_from_cache(repository, file), str) for file in files)
    return f"{constants.ENDPOINT}/{repository}/resolve/main/{files[0]}", is_cached
