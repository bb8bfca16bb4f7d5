"""The stages and the head of every family of timm and every classification net of torchvision."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from plt_nn.backbones import Stage, backbone_info, list_backbones, set_num_classes, stages
from plt_nn.backbones.heads import AUXILIARY, num_outputs, output_layers
from plt_nn.errors import ConfigError

TIMM = (  # one small net of every class in every module of timm
    "beit_base_patch16_224",
    "halonet_h1",
    "test_byobnet",
    "cait_xxs24_224",
    "coat_tiny",
    "convit_tiny",
    "convmixer_768_32",
    "test_convnext",
    "cpubone_nano",
    "crossvit_tiny_240",
    "csatv2",
    "cs3darknet_focus_s",
    "cspnext_tiny",
    "davit_tiny",
    "deepseek_vit_412m",
    "deit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "densenet121",
    "dla46x_c",
    "dpn48b",
    "edgenext_xx_small",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "test_efficientnet",
    "efficientvim_m1",
    "efficientvim_m1_dist",
    "efficientvit_b0",
    "efficientvit_l1",
    "efficientvit_m0",
    "vit_tiny_patch16_dinov3_qkvb",
    "fasternet_t0",
    "fastvit_t8",
    "focalnet_tiny_srf",
    "gcvit_xxtiny",
    "gemma4_vit_167m",
    "ghostnet_050",
    "hardcorenas_b",
    "hgnetv2_b0",
    "hiera_tiny_224",
    "sam2_hiera_tiny",
    "hrnet_w18_small",
    "iformer_t",
    "inception_next_atto",
    "inception_resnet_v2",
    "inception_v3",
    "inception_v4",
    "lcnetv2_small",
    "levit_256d",
    "levit_128s",
    "lowformer_b0",
    "test_mambaout",
    "test_coatnet",
    "poolformerv2_s12",
    "gmlp_ti16_224",
    "mobilenetv3_small_050",
    "mobilenetv5_base",
    "mobilevit_xxs",
    "mvitv2_tiny",
    "naflexvit_base_patch16_parfac_gap",
    "nasnetalarge",
    "nest_tiny",
    "nextvit_small",
    "test_nfnet",
    "pit_ti_224",
    "pnasnet5large",
    "pvt_v2_b0",
    "qwen3_vit_88m",
    "rdnet_tiny",
    "regnetx_002",
    "repghostnet_050",
    "repvit_m1",
    "res2next50",
    "resnest14d",
    "test_resnet",
    "resnetv2_18",
    "rexnet_100",
    "selecsls42",
    "legacy_seresnet18",
    "sequencer2d_s",
    "shvit_s1",
    "skresnet18",
    "starnet_s050",
    "swiftformer_xs",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window16_256",
    "swinv2_cr_tiny_224",
    "tiny_vit_5m_224",
    "tnt_s_legacy_patch16_224",
    "tresnet_m",
    "twins_svt_small",
    "vgg11",
    "visformer_tiny",
    "test_vit",
    "vit_tiny_r_s16_p8_224",
    "test_vit_relpos",
    "samvit_base_patch16_224",
    "vitamin_small_224",
    "volo_d1_224",
    "ese_vovnet19b_slim_dw",
    "legacy_xception",
    "xception41p",
    "xcit_nano_12_p8_224",
)
TORCHVISION = (  # one small net of every class
    "alexnet",
    "convnext_tiny",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_t",
    "swin_v2_t",
    "vgg11_bn",
    "vit_b_32",
)
HEADLESS = (  # timm gives these without a classifier, but they take one
    "deepseek_vit_412m",
    "gemma4_vit_167m",
    "qwen3_vit_88m",
    "sam2_hiera_tiny",
    "vit_tiny_patch16_dinov3_qkvb",
)
ENCODERS = ("deepseek_vit_412m_enc", "gemma4_vit_167m_enc", "mobilenetv5_300m_enc", "qwen3_vit_88m_enc")
OUT_OF_ORDER = {  # the stages that run before one that precedes them, and why that is right
    "timm/coat_tiny": "the position encodings of a stem run in the blocks behind it",
    "timm/efficientvim_m1": "the norms of all classifiers are one stage, and the first runs after the first stage",
    "timm/efficientvim_m1_dist": "as efficientvim_m1",
    "timm/volo_d1_224": "the head for single tokens runs beside the other one",
}


@pytest.mark.parametrize("name", TIMM)
def test_timm_family(name: str, on_meta: Callable[..., nn.Module]) -> None:
    net = on_meta(f"timm/{name}")
    _check(net, headless=name in HEADLESS)
    _check_order(net, f"timm/{name}")


@pytest.mark.parametrize("name", list_backbones("torchvision/*"))
def test_torchvision_net(name: str, on_meta: Callable[..., nn.Module]) -> None:
    net = on_meta(name)
    _check(net, headless=False)
    if name.removeprefix("torchvision/") in TORCHVISION:
        _check_order(net, name)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_has_an_empty_head(name: str, on_meta: Callable[..., nn.Module]) -> None:
    net = on_meta(f"timm/{name}")
    found = stages(net)
    _check_partition(net, found)
    assert (found[-1].name, found[-1].parameters) == ("head", ())
    with pytest.raises(ConfigError, match=r"\(found: none\) does not end in a linear layer"):
        set_num_classes(net, 7)


def _check(net: nn.Module, headless: bool) -> None:
    found = stages(net)
    assert (found[0].name, found[-1].name) == ("stem", "head")
    _check_partition(net, found)
    _check_head(net, found, headless)
    before = dict(net.named_parameters())
    set_num_classes(net, 7)
    assert num_outputs(net) == 7
    renewed = {name for name, parameter in net.named_parameters() if parameter is not before.get(name)}
    layers = {*output_layers(net), *(name for name in AUXILIARY if name in dict(net.named_modules()))}
    assert {name.rpartition(".")[0] for name in renewed} == layers


def _check_partition(net: nn.Module, found: list[Stage]) -> None:
    """Disjoint and complete, in parameters and in modules."""
    names = [name for stage in found for name in stage.parameters]
    assert sorted(names) == sorted(name for name, _ in net.named_parameters())
    assert len({stage.name for stage in found}) == len(found)
    assert all(stage.parameters for stage in found[:-1])
    modules = [name for stage in found for name in stage.modules]
    assert len(set(modules)) == len(modules)
    for stage in found:  # a caller may put these in eval mode, children and all, and touches no other stage
        inside = {id(parameter) for name in stage.modules for parameter in net.get_submodule(name).parameters()}
        assert inside <= {id(net.get_parameter(name)) for name in stage.parameters}
    spanning = [module for name, module in net.named_modules() if name not in modules]
    assert all(any(True for _ in module.children()) for module in spanning), "a leaf is in no stage"


def _check_head(net: nn.Module, found: list[Stage], headless: bool) -> None:
    layers = output_layers(net)
    assert bool(layers) != headless
    assert bool(found[-1].parameters) != headless
    for layer in layers:
        assert f"{layer}.weight" in found[-1].parameters
        module = net.get_submodule(layer)
        outputs = module.out_features if isinstance(module, nn.Linear) else module.out_channels
        assert outputs == getattr(net, "num_classes", 1000)


def _check_order(net: nn.Module, name: str) -> None:
    """The stages run in their order, and the new head is used."""
    shape, late = _run(net, stages(net))
    assert shape == (2, 7)
    assert bool(late) == (name in OUT_OF_ORDER), late


def _run(net: nn.Module, found: list[Stage]) -> tuple[tuple[int, ...], list[str]]:
    """Runs the net; gives the shape of its output, and the modules that first ran after one of a later stage had."""
    position = {name: index for index, stage in enumerate(found) for name in stage.modules}
    order: list[str] = []
    for name, module in net.named_modules():
        if name in position and next(module.parameters(recurse=False), None) is not None:
            module.register_forward_pre_hook(lambda _module, _args, name=name: order.append(name))
    info = backbone_info(net)
    assert info is not None
    size = info.preprocessing.size
    height, width = (size, size) if isinstance(size, int) else size
    with torch.no_grad():
        output = net.eval()(torch.empty(2, 3, height, width, device="meta"))
    late, furthest = [], 0
    for name in dict.fromkeys(order):
        if position[name] < furthest:
            late.append(name)
        furthest = max(furthest, position[name])
    return tuple(output.shape), late
