"""Names, order and membership of stages."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from plt_nn.backbones import create_backbone, stages

RESNET = ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
LITE0 = ["stem", *(f"blocks.{index}" for index in range(7)), "conv_head", "head"]
VIT = ["stem", *(f"blocks.{index}" for index in range(6)), "norm", "head"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm/resnet18", RESNET),
        ("torchvision/resnet18", RESNET),
        ("timm/tf_efficientnet_lite0", LITE0),
        ("timm/test_vit", VIT),
        ("timm/test_convnext", ["stem", "stages.0", "stages.1", "stages.2", "stages.3", "head.norm", "head"]),
        ("torchvision/densenet121", ["stem", *(f"features.denseblock{n}" for n in "1234"), "features.norm5", "head"]),
        ("torchvision/mnasnet0_5", ["stem", *(f"layers.{n}" for n in range(8, 15)), "head"]),
    ],
)
def test_names(name: str, expected: list[str], on_meta: Callable[..., nn.Module]) -> None:
    assert [stage.name for stage in stages(on_meta(name))] == expected


def test_parameters_on_the_net_itself_belong_to_the_stem(on_meta: Callable[..., nn.Module]) -> None:
    stem = stages(on_meta("timm/test_vit"))[0]
    assert {"cls_token", "pos_embed", "patch_embed.proj.weight"} <= set(stem.parameters)


def test_a_block_holds_its_layer_scale(on_meta: Callable[..., nn.Module]) -> None:
    found = {stage.name: stage for stage in stages(on_meta("timm/test_vit", {"init_values": 1e-5}))}
    assert "blocks.2.ls1.gamma" in found["blocks.2"].parameters
    assert "blocks.2" in found["blocks.2"].modules


def test_a_convolution_and_its_norm_are_one_stage(on_meta: Callable[..., nn.Module]) -> None:
    found = {stage.name: stage for stage in stages(on_meta("torchvision/vgg11_bn"))}
    assert found["features.4"].parameters == tuple(
        f"features.{n}.{kind}" for n in (4, 5) for kind in ("weight", "bias")
    )


def test_dropout_before_the_classifier_belongs_to_the_head(on_meta: Callable[..., nn.Module]) -> None:
    assert "classifier.0" in stages(on_meta("torchvision/mobilenet_v2"))[-1].modules
    assert "head_drop" in stages(on_meta("timm/test_vit"))[-1].modules


def test_auxiliary_heads_stand_before_the_head(on_meta: Callable[..., nn.Module]) -> None:
    found = stages(on_meta("torchvision/inception_v3", {"aux_logits": True}))
    assert [stage.name for stage in found[-3:]] == ["Mixed_7c", "AuxLogits", "head"]


@pytest.mark.parametrize("frozen", range(1, 6))
def test_eval_mode_of_a_stage_holds_its_statistics_and_no_other(frozen: int) -> None:
    torch.manual_seed(0)
    net = create_backbone("timm/test_resnet", pretrained=False).train()
    found = stages(net)
    for stage in found[:frozen]:
        for name in stage.modules:
            net.get_submodule(name).eval()
    before = copy.deepcopy(net.state_dict())
    net(torch.randn(4, 3, 64, 64))
    changed = {name.rpartition(".")[0] for name, value in net.state_dict().items() if not value.equal(before[name])}
    norms = [{name for name in stage.modules if f"{name}.running_mean" in before} for stage in found]
    assert changed == set().union(*norms[frozen:])


class _TwoParts(nn.Module):
    """A net whose parts are registered in the reverse of their order, with tokens and a shared parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.second = nn.Sequential(nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout())
        self.first = nn.ModuleDict({"a": nn.Linear(4, 8), "b": nn.Linear(8, 8, bias=False)})
        self.token = nn.Parameter(torch.zeros(4))
        self.second[0].weight = self.first["b"].weight

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.second(self.first["b"](self.first["a"](x + self.token))))
        return y


def test_another_net_is_divided_in_execution_order() -> None:
    found = stages(_TwoParts())
    assert [stage.name for stage in found] == ["first", "second", "head"]
    assert found[0].parameters == ("token", "first.a.weight", "first.a.bias")
    assert found[1].parameters == ("second.0.weight", "second.1.weight", "second.1.bias")  # the shared one only here
    assert {"second.2", "second.3"} <= set(found[1].modules)


class _Branching(_TwoParts):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > 0 else x


def test_a_net_that_cannot_be_traced_is_divided_as_registered() -> None:
    assert [stage.name for stage in stages(_Branching())] == ["token", "second", "first", "head"]


class _Wrapper(nn.Module):
    def __init__(self, net: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = net
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.backbone(x))
        return y


def test_a_known_net_inside_another_keeps_its_stages() -> None:
    import timm

    net = _Wrapper(timm.create_model("test_resnet", num_classes=0), nn.Sequential(nn.Linear(256, 9), nn.Linear(9, 3)))
    found = stages(net)
    body = ["backbone.conv1", *(f"backbone.layer{n}" for n in range(1, 5))]
    assert [stage.name for stage in found] == [*body, "head"]
    assert found[-1].parameters == ("head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias")


def test_a_net_that_only_wraps_another_is_divided_as_that_one() -> None:
    inner = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    wrapped = nn.ModuleDict({"model": nn.ModuleDict({"net": inner})})
    assert [stage.name for stage in stages(wrapped)] == ["model.net.0", "model.net.2", "head"]


def test_compiled_and_wrapped_nets_have_the_same_stages_under_their_path() -> None:
    net = create_backbone("timm/levit_128s", pretrained=False)
    plain = stages(net)
    for wrapped, prefix in ((torch.compile(net), "_orig_mod."), (nn.ModuleDict({"module": net}), "module.")):
        assert isinstance(wrapped, nn.Module)
        found = stages(wrapped)
        expected = [tuple(prefix + name for name in stage.parameters) for stage in plain]
        assert [stage.parameters for stage in found] == expected
        assert found[-1].name == "head"


def test_the_smallest_nets() -> None:
    linear = stages(nn.Linear(2, 3))
    assert [(stage.name, stage.parameters, stage.modules) for stage in linear] == [("head", ("weight", "bias"), ("",))]
    assert [(stage.name, stage.parameters) for stage in stages(nn.ReLU())] == [("head", ())]
