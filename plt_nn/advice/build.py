"""Builds the net of a candidate for its image size, with the preprocessing of its images."""

from dataclasses import replace

import torch
from torch import nn

from plt_nn.advice.candidates import Candidate
from plt_nn.backbones import BackboneInfo, Preprocessing, backbone_info, create_backbone
from plt_nn.errors import ConfigError, PltNNError

_SIZE_ARGUMENTS = {"timm": "img_size", "torchvision": "image_size"}  # of nets for one size, such as ViT
_SEED = 0  # of random weights, so that they are the same in each process and call


def build_net(candidate: Candidate) -> nn.Module:
    """The net of a candidate, with its weights, for images of its size.

    Raises:
        ConfigError: If there is no such net, or if it does not accept images of that size.
        WeightsError: If its weights are not available.
    """
    net, size = _create(candidate, {}), candidate.size
    own = info_of(net).preprocessing.size
    if size is None or own == size or _accepts(net, size):
        return net
    argument = _SIZE_ARGUMENTS[candidate.name.partition("/")[0]]
    refused = f"{candidate.name} takes images of {own} px, not of {size}."
    try:
        sized = _create(candidate, {argument: size})
    except (PltNNError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ConfigError(refused) from error
    if not _accepts(sized, size):
        raise ConfigError(refused)
    return sized


def info_of(net: nn.Module) -> BackboneInfo:
    """The information that `create_backbone` attached to a net that it created."""
    info = backbone_info(net)
    assert info is not None
    return info


def preprocessing_of(net: nn.Module, candidate: Candidate) -> Preprocessing:
    """The preprocessing of a candidate's images."""
    own = info_of(net).preprocessing
    sized = own.with_size(candidate.size) if candidate.size is not None else own
    return replace(sized, crop_pct=candidate.crop_pct) if candidate.crop_pct is not None else sized


def own_size(name: str) -> int:
    """The image side that a net was pretrained with, in pixels; nothing is downloaded."""
    with torch.device("meta"):
        try:
            net = create_backbone(name, pretrained=False)
        except (RuntimeError, NotImplementedError, TypeError):  # its constructor reads values
            net = None
    return side_of(info_of(net or create_backbone(name, pretrained=False)).preprocessing)


def side_of(preprocessing: Preprocessing) -> int:
    """The side of a net's images in pixels; the shorter one if they are not square."""
    size = preprocessing.size
    return size if isinstance(size, int) else min(size)


def _create(candidate: Candidate, args: dict[str, object]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return create_backbone(candidate.name, candidate.pretrained, model_args=args).eval()


@torch.no_grad()
def _accepts(net: nn.Module, size: int) -> bool:
    try:
        net.eval()(torch.zeros(1, len(info_of(net).preprocessing.mean), size, size))
    except (RuntimeError, AssertionError, ValueError):
        return False
    return True
