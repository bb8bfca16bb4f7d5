"""The suffix after the prefix gives what the net gives: the same outputs and gradients, bit for bit, in both modes."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from plt_nn import create_backbone, stages
from plt_nn.architectures import MLP, ConvNet, RecurrentNet, ResidualNet, TransformerNet
from plt_nn.errors import NotCuttable
from plt_nn.freezing.freeze import flags_of, freeze
from plt_nn.freezing.plan import held_modules, trained_parameters
from plt_nn.frontier.cut import cut
from tests.frontier import handmade_nets as nets
from tests.frontier.cuts import assert_same, freeze_all_but, images

BACKBONES = {
    "timm/test_resnet": 32,
    "timm/test_efficientnet": 32,
    "timm/test_vit": 160,
    "timm/test_convnext": 32,
    "timm/mobilenetv3_small_050": 32,
    "torchvision/resnet18": 32,
    "torchvision/squeezenet1_1": 64,
}


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_is_the_same_at_every_depth(name: str) -> None:
    torch.manual_seed(0)
    net = create_backbone(name, pretrained=False, num_classes=3)
    found, parts = flags_of(net.train()), stages(net)
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    seen = set()
    for depth in ["head", "last 1 stages", f"last {len(parts) // 2} stages", f"last {len(parts) - 2} stages"]:
        trained = trained_parameters(depth, parts, sizes)
        freeze(net, found, trained, held_modules(parts, trained))
        frontier = cut(net)
        assert_same(net, frontier, images(BACKBONES[name]))
        seen.add(frontier.crosses)
        modes = {part: part.training for part in net.modules()}
        assert_same(net, cut(net.eval()), images(BACKBONES[name]))
        for part, mode in modes.items():
            part.training = mode
    assert len(seen) > 2  # the frontier has moved


def test_torchvisions_vision_transformer_is_the_same() -> None:
    torch.manual_seed(0)
    net = VisionTransformer(32, 16, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=3, dropout=0.1)
    nn.init.normal_(net.heads.head.weight)
    freeze_all_but(net, "encoder.layers.encoder_layer_1", "encoder.ln", "heads")
    # Dropout of the encoder itself is at work before all layers, so that only what comes before it can be frozen.
    assert_same(net, cut(net), images())
    net.encoder.dropout.eval()
    frontier = cut(net)
    assert "encoder_layer_0" in frontier.crosses[0]
    assert_same(net, frontier, images())


OWN: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: MLP(6, [8, 8, 8], 3, norm="batch", dropout=0.2), (6,)),
    "convnet": (lambda: ConvNet(3, [8, 8, 8], 3, dropout=0.2), (3, 16, 16)),
    "residual": (lambda: ResidualNet(3, [8, 8, 8], 3, blocks=1), (3, 16, 16)),
    "transformer": (lambda: TransformerNet(4, 16, 3, depth=3, dropout=0.2, pooling="token"), (6, 4)),
    "recurrent": (lambda: RecurrentNet(4, 8, 3, num_layers=2), (6, 4)),
}


@pytest.mark.parametrize("name", OWN)
def test_a_net_of_our_own_is_the_same_at_every_depth(name: str) -> None:
    make, shape = OWN[name]
    torch.manual_seed(0)
    net, x = make(), torch.randn(3, *shape)
    holders = [at for at, part in net.named_modules() if any(True for _ in part.parameters(recurse=False))]
    cuts = 0
    for count in sorted({1, len(holders) // 2, len(holders) - 1}):
        freeze_all_but(net, *(f"{at}." for at in holders[-count:]))
        for mode in (True, False):
            try:
                frontier = cut(net if mode else net.eval())
            except NotCuttable:
                continue
            try:
                frontier.before(x)
            except NotCuttable:  # attention without a mask: None would cross
                continue
            assert_same(net, frontier, x)
            cuts += 1
    assert cuts > 0


@pytest.mark.parametrize("name", nets.HANDMADE)
def test_a_handmade_net_is_the_same(name: str) -> None:
    make, trained, crosses = nets.HANDMADE[name]
    torch.manual_seed(0)
    net = freeze_all_but(make(), *trained)
    x = torch.randn(5, 4)
    frontier = cut(net)
    if crosses:
        assert " ".join(frontier.crosses) == crosses
    assert_same(net, frontier, x)
    assert_same(net, cut(net.eval()), x)


def test_norms_of_a_batch_and_dropout_at_work_are_never_in_the_prefix() -> None:
    net = freeze_all_but(nets.WithNorm(), "c")
    net.norm.train()  # type: ignore[union-attr]
    frontier = cut(net)
    assert frontier.crosses == ("a",)
    assert_same(net, frontier, torch.randn(5, 4))
    assert net.norm.num_batches_tracked > 0  # type: ignore[operator,union-attr]


def test_a_net_that_counts_its_passes_goes_on_counting() -> None:
    net = nets.Counter()
    frontier = cut(freeze_all_but(net, "c"))
    assert float(net.count) == 0, "a trace is no pass"
    assert frontier.crosses == ("b",)
    for count in (1, 2):
        frontier.after(frontier.before(torch.randn(3, 4)))
        assert float(net.count) == count


def test_buffers_without_values_and_sparse_ones_are_left_alone() -> None:
    net = freeze_all_but(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)), "2")
    assert cut(net.to("meta")).crosses == ("_1",)
    net = freeze_all_but(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), "1")
    net.register_buffer("sparse", torch.eye(3).to_sparse())
    frontier, x = cut(net), torch.randn(3, 4)
    assert torch.equal(frontier.after(frontier.before(x)), net(x))


def test_hooks_run_in_every_pass() -> None:
    net = freeze_all_but(nets.Twice(), "c")
    heard: list[int] = []
    handle = net.get_submodule("a").register_forward_hook(lambda module, inputs, output: heard.append(len(output)))
    with pytest.raises(NotCuttable):
        cut(net)
    handle.remove()
    frontier = cut(net)
    net.get_submodule("c").register_forward_hook(lambda module, inputs, output: heard.append(len(output)))
    frontier.after(frontier.before(torch.randn(5, 4)))
    assert heard == [5]


def test_the_suffix_of_a_wholly_frozen_net_is_the_identity() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).requires_grad_(False).eval()
    frontier = cut(net)
    x = torch.randn(3, 4)
    crossing = frontier.before(x)
    assert frontier.after(crossing) is crossing.rows[0]
    assert torch.equal(crossing.rows[0], net(x))


def test_a_frontier_shares_the_weights() -> None:
    net = freeze_all_but(nets.Several(), "c")
    frontier, x = cut(net), torch.randn(3, 4)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)
    assert torch.equal(frontier.after(frontier.before(x)), net(x))


def test_it_is_valid_until_something_is_thawed_or_woken() -> None:
    net = freeze_all_but(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)), "2")
    frontier = cut(net)
    assert frontier.guard.holds()
    net[2].eval()  # type: ignore[index]
    assert frontier.guard.holds()
    net[1].train()  # type: ignore[index]
    assert not frontier.guard.holds()
    net[1].eval()  # type: ignore[index]
    assert frontier.guard.holds()
    net[0].weight.requires_grad_()  # type: ignore[index]
    assert not frontier.guard.holds()


def test_it_is_not_valid_in_another_mode_that_the_graph_has_taken_up() -> None:
    net = freeze_all_but(nets.DropoutBefore(0.5), "c").eval()
    frontier = cut(net)
    assert frontier.crosses == ("b",)
    net.train()
    net.a.eval()  # type: ignore[union-attr]
    net.b.eval()  # type: ignore[union-attr]
    assert not frontier.guard.holds()


def test_a_frozen_constant_that_is_thawed_ends_it() -> None:
    net = freeze_all_but(nets.Constants(), "c", "token")
    frontier = cut(net)
    assert frontier.guard.holds()
    net.get_parameter("fixed").requires_grad_()
    assert not frontier.guard.holds()


def test_there_is_no_frontier_where_nothing_is_frozen() -> None:
    with pytest.raises(NotCuttable, match="nothing is frozen"):
        cut(nets.Several())


def test_there_is_no_frontier_where_nothing_frozen_comes_first() -> None:
    with pytest.raises(NotCuttable, match="before all that is trained"):
        cut(freeze_all_but(nets.Several(), "a"))


def test_a_net_that_cannot_be_traced_is_named() -> None:
    with pytest.raises(NotCuttable, match="RootBranch cannot be traced"):
        cut(freeze_all_but(nets.RootBranch(), "c"))


@pytest.mark.parametrize("make", [nets.NoRows, nets.OnlySizes, nets.NumberOfABatch])
def test_what_crosses_must_have_a_row_for_each_sample(make: type[nets.Parts]) -> None:
    frontier = cut(freeze_all_but(make(), "c"))
    with pytest.raises(NotCuttable):
        frontier.before(torch.randn(5, 4))


def test_what_is_run_with_gradients_switched_on_is_so_in_the_prefix() -> None:
    net = freeze_all_but(nn.Sequential(nets.GradMode(4, 4), nn.Linear(4, 2)), "1")
    frontier = cut(net)
    x = torch.randn(3, 4)
    assert torch.equal(frontier.after(frontier.before(x)), net(x))
    with torch.no_grad():
        assert torch.equal(frontier.after(frontier.before(x)), net(x))


def test_a_norm_whose_statistics_are_parameters_is_at_rest() -> None:
    norm = nn.BatchNorm1d(4)
    for name in ("running_mean", "running_var"):
        value = norm._buffers.pop(name)
        assert value is not None
        norm.register_parameter(name, nn.Parameter(value, requires_grad=False))
    net = freeze_all_but(nn.Sequential(nn.Linear(4, 4), norm, nn.Linear(4, 2)), "2")
    assert cut(net).crosses == ("_1",)
