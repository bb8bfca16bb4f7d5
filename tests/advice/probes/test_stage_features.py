"""Features at the end of each stage, in one pass, and the exact last feature."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

from plt_nn.advice.probes.stage_features import LAST, StageFeatures, pooled
from plt_nn.backbones import create_backbone, stages

NETS = [
    "timm/tf_efficientnet_lite0",
    "timm/resnet18",
    "timm/convnext_atto",
    "timm/vit_tiny_patch16_224",
    "timm/swin_tiny_patch4_window7_224",
    "timm/mobilenetv3_small_050",
    "torchvision/resnet18",
    "torchvision/mobilenet_v3_small",
]


@pytest.mark.parametrize("name", NETS)
def test_each_stage_and_the_last_feature(name: str) -> None:
    net = create_backbone(name, pretrained=False)
    images = torch.randn(2, 3, 224, 224)
    found = StageFeatures(net)(images)
    assert list(found) == [*(stage.name for stage in stages(net)[:-1]), LAST]
    assert all(tensor.dim() == 2 and len(tensor) == 2 for tensor in found.values())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in net.modules())
    seen = dict[str, torch.Tensor]()
    get_classifier: Any = getattr(net, "get_classifier", None)
    classifier = get_classifier() if get_classifier is not None else None
    if isinstance(classifier, nn.Linear):
        with torch.no_grad():
            classifier.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
            net(images)
        torch.testing.assert_close(found[LAST], seen["x"])


def test_it_is_what_timm_calls_the_features_before_the_head() -> None:
    net: Any = timm.create_model("resnet18", pretrained=False).eval()
    images = torch.randn(2, 3, 64, 64)
    found = StageFeatures(net)(images)
    with torch.no_grad():
        theirs = net.forward_features(images)
    torch.testing.assert_close(found[LAST], theirs.mean((2, 3)))


def test_the_place_of_the_channels() -> None:
    x = torch.randn(2, 5, 7, 7)
    torch.testing.assert_close(pooled(x), x.mean((2, 3)))
    torch.testing.assert_close(pooled(x.permute(0, 2, 3, 1)), x.mean((2, 3)))
    tokens = torch.randn(2, 9, 5)
    torch.testing.assert_close(pooled(tokens), tokens.mean(1))
    assert pooled(torch.randn(2, 5).half()).dtype == torch.float32
