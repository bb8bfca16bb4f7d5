"""Pretrained nets of timm and torchvision, their stages in order, and the preprocessing that their weights need."""

from plt_nn.backbones.create import check_backbone_name, create_backbone, list_backbones, weights_at_hand
from plt_nn.backbones.heads import set_num_classes
from plt_nn.backbones.info import BackboneInfo, backbone_info, inner_preprocessing
from plt_nn.backbones.preprocessing import Preprocessing
from plt_nn.backbones.stages import Stage, stages

__all__ = [
    "BackboneInfo",
    "Preprocessing",
    "Stage",
    "backbone_info",
    "check_backbone_name",
    "create_backbone",
    "inner_preprocessing",
    "list_backbones",
    "set_num_classes",
    "stages",
    "weights_at_hand",
]
