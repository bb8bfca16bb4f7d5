"""Adapters in real nets: no effect before training, only they are trained, and they end in the weights."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from plt_nn.architectures import ConvNet, TransformerNet
from plt_nn.backbones import Stage, stages
from plt_nn.errors import ConfigError
from plt_nn.freezing import Adapt, Phase
from plt_nn.freezing.adapters.stage_adapters import Adapters, insert_adapters

RANK = 2
HEAD_THEN_ADAPT = (Phase("head"), Phase("all", start=1, adapt=Adapt(rank=RANK)))


class Encoder(nn.Module):
    """torch's own encoder layer, which in eval mode computes on the weights without calling its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 8, stride=8)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.encoder(self.stem(x).flatten(2).mT).mean(1))
        return out


def _swin() -> nn.Module:
    net: nn.Module = torchvision.models.SwinTransformer(
        [4, 4], embed_dim=12, depths=[1, 1], num_heads=[2, 2], window_size=[4, 4], num_classes=5
    )
    return net


def _vit() -> nn.Module:
    net: nn.Module = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    return net


def _timm(name: str, **arguments: Any) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=5, **arguments)


SMALL_VIT: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
NETS: dict[str, Callable[[], nn.Module]] = {
    "timm resnet": _timm("resnet10t", zero_init_last=False),
    "timm efficientnet": _timm("tf_efficientnet_lite0"),
    "timm vit": _timm("vit_tiny_patch16_224", **SMALL_VIT),
    "timm beit": _timm("beit_base_patch16_224", **SMALL_VIT),
    "torchvision resnet": lambda: torchvision.models.resnet18(num_classes=5),
    "torchvision swin": _swin,
    "torchvision vit": _vit,
    "our convnet": lambda: ConvNet(3, [8, 16], 5),
    "our transformer": lambda: TransformerNet(3, 16, 5, depth=2, heads=2, patch_size=8),
    "torch encoder": Encoder,
}
IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _inserted(net: nn.Module, phases: Sequence[Phase] = HEAD_THEN_ADAPT) -> Adapters:
    adapters = insert_adapters(net, stages(net), phases)
    assert adapters is not None
    return adapters


def _train(net: nn.Module, trained: frozenset[str], steps: int = 3) -> None:
    """A few steps as the schedule would make them: the rest frozen, in eval mode."""
    net.eval()
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in trained)
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(IMAGES), torch.tensor([0, 1, 2, 3]))
        torch.autograd.backward(loss)
        optimizer.step()


def _output(net: nn.Module) -> Tensor:
    with torch.no_grad():
        out: Tensor = net.eval()(IMAGES)
    return out


def _clones(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize("name", NETS)
def test_a_net_with_adapters_from_start_to_end(name: str) -> None:
    net = NETS[name]()
    untouched, objects = _clones(net), dict(net.named_modules()) | dict(net.named_parameters())
    plain = _output(net)

    adapters = _inserted(net)
    assert torch.equal(_output(net), plain), "adapters have an effect before they are trained"
    before = _clones(net)
    _train(net, adapters.trained[1])
    after = net.state_dict()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed == adapters.trained[1], "each adapter and the head learns, and nothing else does"
    adapted = _output(net)
    assert (adapted - plain).abs().max() > 1e-2

    merged = adapters.merged_state(net)
    assert list(merged) == list(untouched)
    assert net.state_dict().keys() == after.keys(), "merged_state changed the net"
    fresh = NETS[name]()
    fresh.load_state_dict(merged)
    torch.testing.assert_close(_output(fresh), adapted, rtol=1e-4, atol=1e-5)

    adapters.remove(net)
    now = dict(net.named_modules()) | dict(net.named_parameters())
    assert now.keys() == objects.keys()
    assert all(now[key] is objects[key] for key in objects)
    state = net.state_dict()
    assert all(torch.equal(state[key], merged[key]) for key in untouched)
    heads = {key for key in adapters.trained[1] if "lora_" not in key}
    assert {key for key in state if not torch.equal(state[key], untouched[key])} == heads | {
        f"{layer}.weight" for layer in adapters.layers
    }


@pytest.mark.parametrize("name", NETS)
def test_stages_stay_ordered_disjoint_and_complete(name: str) -> None:
    net = NETS[name]()
    before = stages(net)
    adapters = _inserted(net)
    names = [parameter for stage in adapters.stages for parameter in stage.parameters]
    assert sorted(names) == sorted(parameter for parameter, _ in net.named_parameters())
    assert [stage.name for stage in adapters.stages] == [stage.name for stage in before]
    assert adapters.trained[0] == set(before[-1].parameters), "the head is not adapted, so its names are the same"
    modules = [module for stage in adapters.stages for module in stage.modules]
    assert len(set(modules)) == len(modules)
    assert set(modules) <= {module for module, _ in net.named_modules()}
    for stage, plain in zip(adapters.stages, before, strict=True):
        ends = {parameter.replace(".base_layer.", ".") for parameter in stage.parameters if "lora_" not in parameter}
        assert ends == set(plain.parameters)
        assert all(
            parameter.partition(".lora_")[0] + ".weight" in plain.parameters
            for parameter in stage.parameters
            if "lora_" in parameter
        )
        assert set(plain.modules) <= set(stage.modules)


def test_the_number_of_trained_parameters_is_the_formulas() -> None:
    net = _timm("resnet10t")()
    layers = {name: part for name, part in net.named_modules() if isinstance(part, nn.Conv2d)}
    expected = sum(RANK * (conv.weight[0].numel() + conv.out_channels) for conv in layers.values())
    vit = _timm("vit_tiny_patch16_224", **SMALL_VIT)()
    adapters = _inserted(net)
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    assert set(adapters.layers) == set(layers)
    assert sum(sizes[name] for name in adapters.trained[1]) == expected + 512 * 5 + 5
    qkv = _inserted(vit, [Phase("all", adapt=Adapt(rank=3, target=["qkv"]))])
    sizes = {name: parameter.numel() for name, parameter in vit.named_parameters()}
    assert sum(sizes[name] for name in qkv.trained[0] if "lora_" in name) == 2 * 3 * (16 + 3 * 16)


def test_what_was_found_stays_as_it_was() -> None:
    net = NETS["our convnet"]().eval()
    first = next(iter(net.parameters())).requires_grad_(False)
    required = {id(parameter): parameter.requires_grad for parameter in net.parameters()}
    _inserted(net, [Phase("all", adapt=Adapt(dropout=0.1))])
    assert not first.requires_grad
    assert {id(p): p.requires_grad for p in net.parameters() if id(p) in required} == required
    assert all(p.requires_grad for name, p in net.named_parameters() if "lora_" in name)
    assert not any(module.training for module in net.modules())
    assert not hasattr(net, "peft_config")


def test_only_the_layers_that_the_phase_selects_are_adapted() -> None:
    net = torchvision.models.resnet18(num_classes=5)
    adapters = _inserted(net, [Phase("last 1 stage", adapt=Adapt(rank=RANK))])
    last = stages(torchvision.models.resnet18(num_classes=5))[-2]
    assert {f"{layer}.weight" for layer in adapters.layers} == {
        name for name in last.parameters if "conv" in name or "downsample.0" in name
    }
    assert all(name.startswith(("fc.", *adapters.layers)) for name in adapters.trained[0])


def test_phases_with_the_same_settings_train_the_same_adapters_on() -> None:
    net = _vit()
    adapters = _inserted(
        net, [Phase("last 2 stages", adapt=Adapt(rank=4)), Phase("all", 1, adapt=Adapt(alpha=4, rank=4))]
    )
    assert adapters.adapting == ("adapter0", "adapter0")
    assert adapters.trained[0] < adapters.trained[1]


def test_what_an_earlier_phase_has_learnt_stays_in_force() -> None:
    net, phases = (
        _vit(),
        [
            Phase("all", adapt=Adapt(rank=4, dropout=0.5)),
            Phase("last 2 stages", 1, adapt=Adapt(rank=2)),
            Phase("all", 2),
        ],
    )
    adapters = _inserted(net, phases)
    assert adapters.adapting == ("adapter0", "adapter1", "")
    assert sorted(set(adapters.layers.values())) == [("adapter0",), ("adapter0", "adapter1")]
    _train(net, adapters.trained[0])
    first = {name: tensor for name, tensor in _clones(net).items() if "adapter0" in name}
    assert all(tensor.any() for tensor in first.values()), "all adapters of a layer are active, so each one learns"
    middle = _output(net)
    assert any(part.endswith("lora_dropout.adapter0") for part in adapters.held(1))
    assert not any("adapter1" in part for part in adapters.held(1))
    assert not any("adapter0" in part for part in adapters.held(0))
    _train(net, adapters.trained[1])
    state = net.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in first.items())
    assert not torch.equal(_output(net), middle)
    _train(net, adapters.trained[2])
    assert adapters.held(2) >= {f"{layer}.lora_dropout.adapter0" for layer in adapters.layers}
    end = _output(net)
    adapters.remove(net)
    torch.testing.assert_close(_output(net), end, rtol=1e-4, atol=1e-5)


def test_the_random_numbers_are_torchs_and_b_is_zero() -> None:
    states = []
    for seed in (1, 1, 2):
        net = NETS["our transformer"]()
        torch.manual_seed(seed)
        _inserted(net)
        states.append({name: tensor for name, tensor in net.state_dict().items() if "lora_" in name})
    one, same, other = states
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one if "lora_A" in name)
    assert not any(tensor.any() for name, tensor in one.items() if "lora_B" in name)


def test_a_checkpoint_goes_into_a_fresh_net_with_adapters() -> None:
    net = NETS["timm vit"]()
    _train(net, _inserted(net).trained[1])
    fresh = NETS["timm vit"]()
    _inserted(fresh)
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(_output(fresh), _output(net))


def test_merged_weights_go_into_a_net_with_adapters() -> None:
    net = NETS["timm vit"]()
    adapters = _inserted(net)
    _train(net, adapters.trained[1])
    trained = _output(net)
    fresh = NETS["timm vit"]()
    _inserted(fresh)
    _train(fresh, adapters.trained[1], steps=1)
    fresh.load_state_dict(adapters.state_from_merged(fresh, adapters.merged_state(net)))
    torch.testing.assert_close(_output(fresh), trained, rtol=1e-4, atol=1e-5)


def test_the_state_of_another_moment_is_merged_as_it_was() -> None:
    net = NETS["torchvision vit"]()
    adapters = _inserted(net)
    _train(net, adapters.trained[1])
    earlier, expected = _clones(net), {name: t.clone() for name, t in adapters.merged_state(net).items()}
    _train(net, adapters.trained[1])
    merged = adapters.merged_state(copy.deepcopy(net).to("meta"), earlier)  # the state may be on another device
    assert all(torch.equal(merged[name], tensor) for name, tensor in expected.items())
    assert not all(torch.equal(tensor, expected[name]) for name, tensor in adapters.merged_state(net).items())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_of_the_net_lives_by_itself(copied: Callable[[nn.Module], nn.Module]) -> None:
    net = NETS["timm beit"]()
    adapters = _inserted(net)
    _train(net, adapters.trained[1])
    twin = copied(net)
    assert torch.equal(_output(twin), _output(net))
    untouched = _output(net)
    _train(twin, adapters.trained[1])
    assert torch.equal(_output(net), untouched)
    trained = _output(twin)
    adapters.remove(twin)
    torch.testing.assert_close(_output(twin), trained, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_adapters_have_the_dtype_of_their_layer(dtype: torch.dtype) -> None:
    net = Encoder().to(dtype)
    adapters = _inserted(net)
    assert {parameter.dtype for parameter in net.parameters()} == {dtype}
    assert {tensor.dtype for tensor in adapters.merged_state(net).values()} == {dtype}
    assert net(IMAGES.to(dtype)).dtype == dtype


def test_an_adapted_layer_answers_like_the_layer() -> None:
    net = NETS["torchvision resnet"]()
    stride = net.conv1.stride
    _inserted(net)
    assert net.conv1.stride == stride
    with pytest.raises(AttributeError, match="'Conv2d' object has no attribute 'strides'"):
        getattr(net.conv1, "strides")  # noqa: B009


class Twice(nn.Module):
    """One layer under two names, and called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.again = nn.ModuleList([self.stem])
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, 0, 0, :8]
        out: Tensor = self.head(self.again[0](self.stem(self.stem(x))))
        return out


def test_a_layer_with_two_names_is_adapted_under_both() -> None:
    net = Twice()
    stem, names = net.stem, list(net.state_dict())
    adapters = _inserted(net)
    assert net.stem is net.again[0]
    assert set(adapters.layers) == {"stem", "again.0"}
    _train(net, adapters.trained[1])
    trained, merged = _output(net), adapters.merged_state(net)
    assert list(merged) == names
    adapters.remove(net)
    assert net.stem is net.again[0] is stem
    torch.testing.assert_close(_output(net), trained)
    assert all(torch.equal(merged[name], tensor) for name, tensor in net.state_dict().items())


def test_inside_another_module_names_have_its_prefix() -> None:
    holder = nn.ModuleDict({"net": _timm("vit_tiny_patch16_224", **SMALL_VIT)()})
    inside = [
        Stage(s.name, tuple(f"net.{n}" for n in s.parameters), tuple(f"net.{n}" if n else "net" for n in s.modules))
        for s in stages(holder["net"])
    ]
    adapters = insert_adapters(holder, inside, [Phase("all", adapt=Adapt(target=["blocks.*.attn.qkv", "fc1"]))])
    assert adapters is not None
    assert set(adapters.layers) == {f"net.blocks.{n}.{end}" for n in (0, 1) for end in ("attn.qkv", "mlp.fc1")}
    assert not adapters.passed_over


def test_without_adapt_nothing_happens_and_peft_is_not_imported() -> None:
    code = (
        "import sys, torch; from plt_nn.backbones import stages; from plt_nn.freezing import Phase\n"
        "from plt_nn.freezing.adapters.stage_adapters import insert_adapters\n"
        "net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))\n"
        "assert insert_adapters(net, stages(net), [Phase('head'), Phase('all', 1)]) is None\n"
        "assert type(net[0]) is torch.nn.Linear and not {'peft', 'transformers'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_without_peft_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "plt_nn.freezing.adapters.lora_layers", raising=False)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r'pip install "plt-nn\[lora\]"'):
        _inserted(Encoder())


def test_a_net_that_has_adapters_already_is_refused() -> None:
    net = Encoder()
    _inserted(net)
    with pytest.raises(ConfigError, match="has adapters of peft already"):
        _inserted(net)


def test_all_faults_are_told_at_once_and_nothing_is_changed() -> None:
    net = timm.create_model("resnet10t", num_classes=5)
    names = list(net.state_dict())
    phases = [
        Phase("head", adapt=Adapt()),
        Phase("all", 1, adapt=Adapt(target=["layer1.0.conv3"])),
        Phase("all", 2, adapt=Adapt()),
    ]
    with pytest.raises(ConfigError) as caught:
        _inserted(net, phases)
    assert "phases[0]: there is nothing to adapt but the head" in str(caught.value)
    assert "phases[1]: target 'layer1.0.conv3' matches no layer that is selected. Did you mean" in str(caught.value)
    assert "phases[2]" not in str(caught.value)
    assert list(net.state_dict()) == names
