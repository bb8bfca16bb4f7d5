"""Where a net will stop being frozen is told without changing it, and without running it."""

import torch
from torch import nn

from plt_nn import create_backbone, stages
from plt_nn.freezing.costs.predicted_cut import frontier_in_words
from plt_nn.freezing.plan import held_modules, trained_parameters


def in_words(depth: str, wrapped: bool = False, with_inputs: bool = True) -> str:
    net = create_backbone("timm/test_resnet", pretrained=False, num_classes=3)
    parts = stages(net)
    trained = trained_parameters(depth, parts, {name: p.numel() for name, p in net.named_parameters()})
    held = held_modules(parts, trained)
    inputs = [torch.empty(4, 3, 64, 64)] if with_inputs else None
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [part.training for part in net.modules()]
    if wrapped:
        module = nn.ModuleDict({"loss": nn.Linear(1, 1), "net": net})
        names = {f"net.{name}" for name in trained} | {"loss.weight", "loss.bias"}
        text = frontier_in_words(module, names, {f"net.{name}" for name in held}, inputs, entry="net")
    else:
        text = frontier_in_words(net, trained, held, inputs)
    assert [part.training for part in net.modules()] == modes
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    return text


def test_it_names_what_is_kept_and_its_size() -> None:
    assert in_words("head").startswith("all up to global_pool")
    assert in_words("last 1 stages").startswith("all up to layer3, ")
    assert in_words("last 1 stages").endswith(" values a sample")
    assert in_words("last 1 stages", with_inputs=False) == "all up to layer3"
    assert in_words("last 1 stages", wrapped=True) == in_words("last 1 stages")


def test_it_says_why_nothing_is_kept() -> None:
    assert in_words("all") == "nothing: nothing is frozen"
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    assert frontier_in_words(net, {"0.weight", "0.bias"}, {"1"}) == (
        "nothing: nothing that is frozen comes before all that is trained"
    )


def test_a_net_that_looks_at_values_has_an_unknown_size() -> None:
    class Looks(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) if float(x.sum()) > 0 else x

    net = nn.Sequential(Looks(4, 4), nn.Linear(4, 4))
    found = frontier_in_words(net, {"1.weight", "1.bias"}, {"0"}, [torch.empty(2, 4)])
    assert found == "all up to _0, some values a sample"
