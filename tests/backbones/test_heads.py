"""Giving nets another number of classes."""

import re

import pytest
import torch
from torch import nn

from plt_nn.backbones import create_backbone, set_num_classes, stages
from plt_nn.errors import ConfigError


@pytest.mark.parametrize(
    "name",
    [
        "timm/test_resnet",
        "timm/test_vit",
        "timm/levit_128s",
        "timm/crossvit_tiny_240",
        "timm/vit_tiny_patch16_dinov3_qkvb",
        "torchvision/squeezenet1_1",
        "torchvision/mobilenet_v3_small",
        "torchvision/shufflenet_v2_x0_5",
    ],
)
def test_the_output_and_the_head_take_the_new_number(name: str) -> None:
    net = create_backbone(name, pretrained=False)
    body = [parameter for stage in stages(net)[:-1] for parameter in map(net.get_parameter, stage.parameters)]
    before = [parameter.clone() for parameter in body]
    set_num_classes(net, 7)
    size = 240 if "crossvit" in name else 160 if "test_" in name else 224
    with torch.no_grad():
        assert net.eval()(torch.randn(1, 3, size, size)).shape == (1, 7)
    assert all(old.equal(new) for old, new in zip(before, body, strict=True))
    assert all(parameter.isfinite().all() for parameter in net.parameters())


def test_dtype_device_and_mode_are_kept() -> None:
    for name in ("timm/vit_tiny_patch16_dinov3_qkvb", "timm/test_resnet"):  # without and with a head before
        with torch.device("meta"):
            net = create_backbone(name, pretrained=False).to(torch.bfloat16).eval()
        set_num_classes(net, 3)
        head = net.get_submodule("head" if "vit" in name else "fc")
        assert isinstance(head, nn.Linear)
        assert (head.weight.device.type, head.weight.dtype, head.training) == ("meta", torch.bfloat16, False)


def test_a_head_with_that_number_is_left_as_it_is() -> None:
    net = create_backbone("timm/test_resnet", pretrained=False)
    before = net.get_parameter("fc.weight").clone()
    set_num_classes(net, 1000)
    assert net.get_parameter("fc.weight").equal(before)


def test_auxiliary_heads_follow() -> None:
    net = create_backbone("torchvision/googlenet", pretrained=False, num_classes=4, model_args={"aux_logits": True})
    outputs = net.train()(torch.randn(2, 3, 64, 64))
    assert [tuple(output.shape) for output in outputs] == [(2, 4)] * 3


def test_any_net_that_ends_in_a_linear_layer() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), nn.LogSoftmax(1))
    set_num_classes(net, 5)
    assert net(torch.randn(3, 4)).shape == (3, 5)


def test_the_head_of_a_wrapped_net() -> None:
    net = create_backbone("timm/levit_128s", pretrained=False)
    set_num_classes(nn.ModuleDict({"net": net}), 5)
    assert net.num_classes == 5
    assert net.eval()(torch.randn(1, 3, 224, 224)).shape == (1, 5)


def test_a_net_without_a_layer_of_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match=re.escape("Sequential (found: 1) does not end in a linear layer")):
        set_num_classes(nn.Sequential(nn.Linear(4, 8), nn.GRU(8, 2)), 5)


def test_fewer_than_one_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_classes is 0; expected at least 1"):
        set_num_classes(nn.Linear(2, 2), 0)
