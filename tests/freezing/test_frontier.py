"""The suffix after the prefix gives what the net gives: the same outputs and gradients, bit for bit, in both modes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torchvision.models import vit_b_32
from torchvision.ops import StochasticDepth

from plt_nn import create_backbone, stages
from plt_nn.architectures import MLP, ConvNet, RecurrentNet, ResidualNet, TransformerNet
from plt_nn.freezing import condition_of, freeze, held_modules, trained_parameters
from plt_nn.freezing.frontier import Crossing, Frontier, NoFrontier, cut


def images(size: int = 32, count: int = 2) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(3))


def results(net: nn.Module, forward: Callable[[], Any], buffers: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs, the gradients and the buffers after a pass from the same state."""
    with torch.no_grad():
        for name, buffer in net.named_buffers():
            buffer.copy_(buffers[name])
    torch.manual_seed(1)
    net.zero_grad()
    output = [leaf for leaf in tree_leaves(forward()) if isinstance(leaf, Tensor)]
    loss = torch.stack([leaf.float().square().sum() for leaf in output if leaf.requires_grad]).sum()
    torch.autograd.backward(loss)
    return {
        **{f"output {place}": leaf.detach().clone() for place, leaf in enumerate(output)},
        **{f"gradient {name}": p.grad.clone() for name, p in net.named_parameters() if p.grad is not None},
        **{f"buffer {name}": buffer.clone() for name, buffer in net.named_buffers()},
    }


def assert_same(net: nn.Module, frontier: Frontier, *inputs: Any) -> None:
    def copies() -> list[Any]:
        return [value.clone() if isinstance(value, Tensor) else value for value in inputs]

    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    expected = results(net, lambda: net(*copies()), buffers)
    crossing = frontier.before(*copies())
    assert not any(row.requires_grad for row in crossing.rows)
    stored = Crossing(tuple(row.clone() for row in crossing.rows), crossing.layout)  # as a store gives them back
    for values in (frontier.before(*copies()), stored, stored):  # a batch may be trained on twice
        found = results(net, lambda values=values: frontier.after(values), buffers)  # type: ignore[misc]
        assert found.keys() == expected.keys()
        differ = [name for name in expected if not torch.equal(found[name], expected[name])]
        assert not differ


def freeze_all_but(net: nn.Module, *trained: str) -> nn.Module:
    """Freezes a net in training mode: what is wholly frozen is in eval mode."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.startswith(trained))
    net.train()
    for part in net.modules():
        own = list(part.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            part.eval()
    return net


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
    found, parts = condition_of(net.train()), stages(net)
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
    net = vit_b_32(image_size=32, num_classes=3, dropout=0.1)
    net.encoder.layers = net.encoder.layers[:2]
    nn.init.normal_(net.heads.head.weight)
    freeze_all_but(net, "encoder.layers.encoder_layer_1", "encoder.ln", "heads")
    # Dropout of the encoder itself is at work before all layers, so that only what comes before it can be kept.
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
            except NoFrontier:
                continue
            try:
                frontier.before(x)
            except NoFrontier:  # attention without a mask: None would cross
                continue
            assert_same(net, frontier, x)
            cuts += 1
    assert cuts > 0


class Parts(nn.Module):
    """Three layers: two frozen, one trained, put together in a way that each subclass shows."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)


class DropoutBefore(Parts):
    def __init__(self, p: float, trained_after: bool = True) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.b(F.dropout(self.a(x), self.p, self.training)))
        return y


class DropoutModules(Parts):
    def __init__(self, before: float, after: float) -> None:
        super().__init__()
        self.before, self.after = nn.Dropout(before), nn.Dropout(after)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.after(self.c(self.b(self.before(self.a(x)))))
        return y


class Depth(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.drop = StochasticDepth(0.5, "row")

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x = x + self.drop(self.c(x))
        y: Tensor = x + self.drop(self.b(x))
        return y


class Sizes(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        h = self.c(self.b(y))
        z: Tensor = h.reshape(x.shape[0], -1, 2) * y.size(1) + x.shape[0]
        return z


class Several(Parts):
    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(a)
        y: Tensor = self.c(a) * b + a.sigmoid()
        return y


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.a(x), {"b": self.b(x)}


class Tuples(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pair, self.c = Pair(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        first, rest = self.pair(x)
        y: Tensor = self.c(first) + rest["b"]
        return y


class Constants(Parts):
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(4))
        self.fixed, self.token = nn.Parameter(torch.rand(4)), nn.Parameter(torch.rand(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x) * self.scale) + self.fixed
        y: Tensor = self.c(torch.cat([self.token.expand(x.shape[0], -1), x], 1).reshape(-1, 4) * self.scale)
        return y


class Counter(Parts):
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.count.add_(1)
        y: Tensor = self.c(self.b(self.a(x)) + self.count)
        return y


class InPlace(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu_()
        x += 1
        y: Tensor = self.c(x)
        y += x
        return y.relu_()


class InPlaceOnWhatCrosses(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x))
        x += self.c(x.detach().clone())
        y: Tensor = self.c(x.clone()) + x
        return y


class SeenBeforeAndAfter(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = self.c(x.clone()) + x.mean(1, keepdim=True)
        x.relu_()
        z: Tensor = y + self.b(x)
        return z


class ThroughAView(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x))
        y = self.c(x.clone())
        x[:, 0].add_(y[:, 1].detach())
        z: Tensor = self.b(x) + y
        return z


class WritesItems(nn.Linear):
    """Items that are set cannot be traced."""

    def forward(self, x: Tensor) -> Tensor:
        x[:, 1] = x[:, 0] + 1
        return super().forward(x)


class SetItem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), WritesItems(4, 4), WritesItems(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = self.c(x.clone()) + x.mean(1, keepdim=True)
        z: Tensor = y + self.b(x) + self.c(x)
        return z


class NamesOfOneMemory(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x))
        flat = x.view(-1)
        y: Tensor = self.c(x.clone())
        x.add_(y.detach())
        return y.reshape(-1) + flat


class ResultNotUsed(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        dead = x.relu_()
        dead + 1
        y: Tensor = self.c(x)
        return y


class ActivationThatOverwrites(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4), nn.ReLU(inplace=True))
        self.append(nn.Linear(4, 4)).append(nn.ReLU(inplace=True))


class PreActivation(nn.Module):
    """A wholly frozen block writes to its input, which was read before."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.c = nn.Linear(4, 4), nn.Linear(4, 4)
        self.block = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = self.c(x.clone()) + x.mean(1, keepdim=True)
        z: Tensor = y + self.block(x)
        return z


class NumberOfABatch(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y: Tensor = self.c(x) * x.sum().item()
        return y


class Twice(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.a(self.c(self.a(self.a(x))))
        return y


class Optional(Parts):
    def forward(self, x: Tensor, mask: Tensor | None = None, scale: float = 2.0, *, shift: float = 1.0) -> Tensor:
        x = self.a(x) * scale + shift
        if mask is not None:
            x = x * mask
        y: Tensor = self.c(input=x)
        return y


class Branching(nn.Module):
    """Cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x += 1  # done once, although tracing gets that far
        y: Tensor = self.one(x) if float(x.sum()) > 0 else self.two(x)
        return y


class Inside(nn.Module):
    """Holds what cannot be traced two levels down, beside what can."""

    def __init__(self) -> None:
        super().__init__()
        self.branching, self.other = Branching(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.other(self.branching(x))
        return y


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.inside, self.c = nn.Linear(4, 4), Inside(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.inside(self.a(x)))
        return y


class Shared(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.c.weight = self.b.weight

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.b(self.a(x)))
        return y


class ManyOutputs(Parts):
    def forward(self, x: Tensor) -> dict[str, Any]:
        x = self.a(x)
        return {"frozen": self.b(x), "pair": (self.c(x), [x]), "three": 3}


class WithNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b, self.c = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.b(self.norm(self.a(x))))
        return y


class Batches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.c = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(F.batch_norm(self.a(x), None, None, training=True))
        return y


HANDMADE: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...], str]] = {
    "functional dropout before": (lambda: DropoutBefore(0.5), ("c",), "a"),
    "functional dropout of 0": (lambda: DropoutBefore(0.0), ("c",), "b"),
    "dropout before": (lambda: DropoutModules(0.5, 0.5), ("c",), "a"),
    "dropout after": (lambda: DropoutModules(0.0, 0.5), ("c",), "b"),
    "stochastic depth": (Depth, ("c",), "a"),
    "sizes behind the frontier": (Sizes, ("c",), "b"),
    "several tensors cross": (Several, ("c",), ""),
    "a tuple with a dict crosses": (Tuples, ("c",), "getitem getitem_2"),
    "constants and a trained token": (Constants, ("c", "token"), ""),
    "in place on both sides": (InPlace, ("c",), ""),
    "in place on what crosses": (InPlaceOnWhatCrosses, ("c",), "b clone"),
    "seen before and after a change": (SeenBeforeAndAfter, ("c",), ""),
    "through a view": (ThroughAView, ("c",), ""),
    "items are set": (SetItem, ("c",), ""),
    "two names of one memory": (NamesOfOneMemory, ("c",), ""),
    "a change whose result is not used": (ResultNotUsed, ("c",), ""),
    "activations that overwrite": (ActivationThatOverwrites, ("4",), ""),
    "activations that overwrite, early": (ActivationThatOverwrites, ("2", "4"), ""),
    "a frozen block that writes to its input": (PreActivation, ("c",), ""),
    "a layer used twice": (Twice, ("c",), ""),
    "optional arguments": (Optional, ("c",), ""),
    "untraceable, frozen": (Untraceable, ("c",), "inside"),
    "untraceable, trained": (Untraceable, ("inside", "c"), "a"),
    "untraceable, mixed": (Untraceable, ("inside.branching.two", "c"), "a"),
    "a shared weight is trained": (Shared, ("b.weight", "c"), "a"),
    "many outputs": (ManyOutputs, ("c",), ""),
    "a frozen norm at rest": (WithNorm, ("c",), "b"),
    "a norm of the batch": (Batches, ("c",), "a"),
}


@pytest.mark.parametrize("name", HANDMADE)
def test_a_handmade_net_is_the_same(name: str) -> None:
    make, trained, crosses = HANDMADE[name]
    torch.manual_seed(0)
    net = freeze_all_but(make(), *trained)
    x = torch.randn(5, 4)
    frontier = cut(net)
    if crosses:
        assert " ".join(frontier.crosses) == crosses
    assert_same(net, frontier, x)
    assert_same(net, cut(net.eval()), x)


def test_norms_of_a_batch_and_dropout_at_work_are_never_in_the_prefix() -> None:
    net = freeze_all_but(WithNorm(), "c")
    net.norm.train()  # type: ignore[union-attr]
    frontier = cut(net)
    assert frontier.crosses == ("a",)
    assert_same(net, frontier, torch.randn(5, 4))
    assert net.norm.num_batches_tracked > 0  # type: ignore[operator,union-attr]


def test_a_net_that_counts_its_passes_is_not_cut_and_the_count_stays() -> None:
    net = freeze_all_but(Counter(), "c")
    with pytest.raises(NoFrontier, match="changes its buffer 'count'"):
        cut(net)
    assert float(net.count) == 0  # type: ignore[arg-type]


def test_hooks_run_in_every_pass() -> None:
    net = freeze_all_but(Twice(), "c")
    heard: list[int] = []
    handle = net.get_submodule("a").register_forward_hook(lambda module, inputs, output: heard.append(len(output)))
    with pytest.raises(NoFrontier):
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
    net = freeze_all_but(Several(), "c")
    frontier, x = cut(net), torch.randn(3, 4)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)
    assert torch.equal(frontier.after(frontier.before(x)), net(x))


def test_it_is_valid_until_something_is_thawed_or_woken() -> None:
    net = freeze_all_but(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)), "2")
    frontier = cut(net)
    assert frontier.is_valid()
    net[2].eval()  # type: ignore[index]
    assert frontier.is_valid()
    net[1].train()  # type: ignore[index]
    assert not frontier.is_valid()
    net[1].eval()  # type: ignore[index]
    assert frontier.is_valid()
    net[0].weight.requires_grad_()  # type: ignore[index]
    assert not frontier.is_valid()


def test_it_is_not_valid_in_another_mode_that_the_graph_has_taken_up() -> None:
    net = freeze_all_but(DropoutBefore(0.5), "c").eval()
    frontier = cut(net)
    assert frontier.crosses == ("b",)
    net.train()
    net.a.eval()  # type: ignore[union-attr]
    net.b.eval()  # type: ignore[union-attr]
    assert not frontier.is_valid()


def test_a_frozen_constant_that_is_thawed_ends_it() -> None:
    net = freeze_all_but(Constants(), "c", "token")
    frontier = cut(net)
    assert frontier.is_valid()
    net.get_parameter("fixed").requires_grad_()
    assert not frontier.is_valid()


class RootBranch(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.a(x)) if x.sum() > 0 else self.c(self.b(x))
        return y


class NoRows(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(x) * self.a(x).mean()
        return y


class OnlySizes(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.c.weight[0].expand(self.a(x).shape[0], 4))
        return y


def test_there_is_no_frontier_where_nothing_is_frozen() -> None:
    with pytest.raises(NoFrontier, match="nothing is frozen"):
        cut(Several())


def test_there_is_no_frontier_where_nothing_frozen_comes_first() -> None:
    with pytest.raises(NoFrontier, match="before all that is trained"):
        cut(freeze_all_but(Several(), "a"))


def test_a_net_that_cannot_be_traced_is_named() -> None:
    with pytest.raises(NoFrontier, match="RootBranch cannot be traced"):
        cut(freeze_all_but(RootBranch(), "c"))


@pytest.mark.parametrize("make", [NoRows, OnlySizes, NumberOfABatch])
def test_what_crosses_must_have_a_row_for_each_sample(make: type[Parts]) -> None:
    frontier = cut(freeze_all_but(make(), "c"))
    with pytest.raises(NoFrontier):
        frontier.before(torch.randn(5, 4))
