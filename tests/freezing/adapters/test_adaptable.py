"""Which layers can carry adapters: by their kind, by globs, and why not."""

import pytest
import timm
import torch
import torchvision
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.std_conv import StdConv2d
from torch import nn

from plt_nn.architectures import RecurrentNet
from plt_nn.freezing.adapters.adaptable import adaptable_layers


class Own(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight / self.weight.norm())


def _weights(net: nn.Module) -> set[str]:
    return {name for name, _ in net.named_parameters()}


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Linear(4, 4), ""),
        (nn.Conv1d(4, 4, 3), "is a Conv1d"),
        (nn.Conv2d(4, 4, 3, stride=2, padding=1), ""),
        (Conv2dSame(4, 4, 3, stride=2), ""),
        (nn.Conv2d(4, 4, 3, groups=2), "in 2 groups"),
        (nn.Conv2d(4, 4, 3, dilation=2), "dilation"),
        (nn.Conv2d(4, 4, 3, padding_mode="reflect"), "padding other than zeros"),
        (nn.Conv3d(4, 4, 3), "adapters are for Linear and Conv2d"),
        (nn.ConvTranspose2d(4, 4, 3), "is a ConvTranspose2d"),
        (nn.LSTM(4, 4), "is a LSTM"),
        (nn.MultiheadAttention(4, 2), "keeps the weights of queries, keys and values in one parameter"),
        (StdConv2d(4, 4, 3), "StdConv2d with a forward of its own"),
        (Own(4, 4), "Own with a forward of its own"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), "a parametrization"),
        (nn.LayerNorm(4), "is a LayerNorm"),
    ],
)
def test_what_can_be_adapted(layer: nn.Module, reason: str) -> None:
    net = nn.Sequential(nn.Linear(4, 4), layer)
    found = adaptable_layers(net, _weights(net), ["1"])
    assert found.layers == (() if reason else ("1",))
    assert reason in "".join(found.faults)
    assert bool(found.faults) == bool(reason)


def test_tied_layers_are_not_adapted() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    found = adaptable_layers(net, _weights(net), None)
    assert found.layers == ("2",)
    assert found.passed_over == {"0": "shares its weight with another layer"}


def test_a_recurrent_net_has_nothing_to_adapt() -> None:
    net = RecurrentNet(4, 8, 3)
    found = adaptable_layers(net, {name for name in _weights(net) if not name.startswith("head")}, None)
    assert found.layers == ()
    (fault,) = found.faults
    assert fault.startswith("there is nothing to adapt but the head: rnn")
    assert "adapters are for Linear and Conv2d layers" in fault


def test_depthwise_convolutions_are_passed_over_by_default_and_by_a_glob_but_not_by_name() -> None:
    net = timm.create_model("mobilenetv3_small_050")
    depthwise = {name for name, part in net.named_modules() if isinstance(part, nn.Conv2d) and part.groups > 1}
    for target in (None, ["blocks.*"]):
        found = adaptable_layers(net, _weights(net), target)
        assert not found.faults
        assert depthwise == set(found.passed_over)
        assert depthwise.isdisjoint(found.layers)
        assert "blocks.1.0.conv_pw" in found.layers
    named = adaptable_layers(net, _weights(net), ["conv_pw", "conv_dw"])
    assert "target 'conv_dw' cannot be adapted" in named.faults[0]
    assert "groups" in named.faults[0]


def test_attention_of_torch_is_adapted_but_for_its_first_projection() -> None:
    net = torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 32)
    found = adaptable_layers(net, _weights(net), None)
    (layer,) = found.passed_over
    assert layer.endswith("self_attention")
    assert f"{layer}.out_proj" in found.layers


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (["qvk"], "matches no layer that is selected. Did you mean 'qkv'"),
        (["blocks.0"], "blocks.0 is a Block, not a single layer"),
        (["norm*"], "is a LayerNorm"),
        (["head"], "in what the phase does not select, or in the head"),
        (["blocks.0.attn.qkv"], "in what the phase does not select"),
    ],
)
def test_a_target_that_cannot_be_is_refused_with_the_reason(target: list[str], message: str) -> None:
    net = timm.create_model("vit_tiny_patch16_224", depth=2)
    selected = {
        name for name in _weights(net) if name.startswith("blocks.1") or (target == ["blocks.0"] and "." in name)
    }
    found = adaptable_layers(net, selected, target)
    assert message in found.faults[0]
    assert found.layers == ()


def test_only_layers_whose_weight_is_selected_are_adapted() -> None:
    net = timm.create_model("vit_tiny_patch16_224", depth=2)
    biases = {name for name in _weights(net) if name.endswith("bias")}
    assert adaptable_layers(net, biases, None).faults == ("there is nothing to adapt but the head",)
    assert "has a weight that is not selected" in adaptable_layers(net, biases, ["qkv"]).faults[0]
    one = adaptable_layers(net, biases | {"blocks.1.attn.qkv.weight"}, None)
    assert one.layers == ("blocks.1.attn.qkv",)
    assert not one.passed_over
