"""The preprocessing of images that the net of the running module was trained with."""

from lightning.pytorch import Trainer
from torch import nn

from plt_nn.backbones import Preprocessing, backbone_info


def net_preprocessing(trainer: Trainer | None) -> Preprocessing | None:
    """What the weights of `trainer`'s module expect; None without a trainer, or where its `net` is no backbone."""
    net = getattr(trainer, "lightning_module", None)
    while isinstance(net, nn.Module):
        info = backbone_info(net)
        if info is not None:
            return info.preprocessing
        net = getattr(net, "net", None)
    return None
