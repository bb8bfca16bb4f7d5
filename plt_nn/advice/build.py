"""Building the net of a candidate, and what its images must look like."""

from dataclasses import replace

import torch
from torch import nn

from plt_nn.advice.candidates import Candidate
from plt_nn.backbones import Preprocessing, backbone_info, create_backbone
from plt_nn.errors import ConfigError, PltNNError

_SIZE_ARGUMENTS = {"timm": "img_size", "torchvision": "image_size"}  # of nets that are built for one size (ViT)
_SEED = 0  # of random weights: the same ones in each process and each call


def build_net(candidate: Candidate) -> nn.Module:
    """The net of a candidate, with its weights, for images of its size.

    Raises:
        ConfigError: If there is no such net, or if it does not take images of that size.
        WeightsError: If its weights cannot be had.
    """
    net = _create(candidate, {})
    info = backbone_info(net)
    assert info is not None
    size = candidate.size
    if size is None or info.preprocessing.size == size or _takes(net, size):
        return net
    argument = _SIZE_ARGUMENTS[candidate.name.partition("/")[0]]
    try:
        sized = _create(candidate, {argument: size})
    except (PltNNError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        own = info.preprocessing.size
        raise ConfigError(f"{candidate.name} takes images of {own} px, not of {size}.") from error
    if not _takes(sized, size):
        raise ConfigError(f"{candidate.name} takes images of {info.preprocessing.size} px, not of {size}.")
    return sized


def model_args(net: nn.Module) -> dict[str, object]:
    """The further arguments with which `create_backbone` has built a net."""
    info = backbone_info(net)
    return dict(info.model_args) if info is not None else {}


def preprocessing_of(net: nn.Module, candidate: Candidate) -> Preprocessing:
    """What is done to the images of a candidate."""
    info = backbone_info(net)
    assert info is not None
    own = info.preprocessing
    sized = own.with_size(candidate.size) if candidate.size is not None else own
    return replace(sized, crop_pct=candidate.crop_pct) if candidate.crop_pct is not None else sized


def own_size(name: str) -> int:
    """The side of the images that a net was pretrained on, in pixels; nothing is downloaded."""
    with torch.device("meta"):
        try:
            net = create_backbone(name, pretrained=False)
        except (RuntimeError, NotImplementedError, TypeError):  # its constructor reads values
            net = None
    if net is None:
        net = create_backbone(name, pretrained=False)
    info = backbone_info(net)
    assert info is not None
    size = info.preprocessing.size
    return size if isinstance(size, int) else min(size)


def _create(candidate: Candidate, args: dict[str, object]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return create_backbone(candidate.name, candidate.pretrained, model_args=args).eval()


@torch.no_grad()
def _takes(net: nn.Module, size: int) -> bool:
    info = backbone_info(net)
    channels = len(info.preprocessing.mean) if info is not None else 3
    try:
        net.eval()(torch.zeros(1, channels, size, size))
    except (RuntimeError, AssertionError, ValueError):
        return False
    return True
