"""A net that cannot be traced is cut after its features, if it says where they end and what is trained comes then."""

import copy
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from plt_nn.errors import NotCuttable
from plt_nn.frontier.cut import cut
from plt_nn.frontier.fingerprint import frontier_fingerprint
from tests.frontier.cuts import freeze_all_but


class Untraceable(nn.Module):
    """Branches on what it sees, as timm's nets do here and there."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.body, self.norm, self.drop, self.head = nn.Linear(4, 4), nn.LayerNorm(4), nn.Dropout(0.5), nn.Linear(4, 2)
        self.token = nn.Parameter(torch.randn(4))
        self.scale = scale

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.body(x) + self.token if float(x.sum()) > -1e9 else x
        features: Tensor = self.norm(x) * self.scale
        return features

    def forward_head(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.drop(x))
        return output

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_features(x)
        return self.forward_head(x)


class OneStepMore(Untraceable):
    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x)).relu()


X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def test_the_head_goes_on_from_the_features() -> None:
    net = freeze_all_but(Untraceable(), "head", "drop")
    frontier = cut(net)
    assert set(frontier.tensors) == {
        f"features.{n}" for n in ("body.weight", "body.bias", "norm.weight", "norm.bias", "token")
    }
    found, head = [], cast("nn.Linear", net.get_submodule("head"))
    forwards: list[Any] = [net, lambda x: frontier.after(frontier.before(x))]
    for forward in forwards:
        torch.manual_seed(1)
        net.zero_grad()
        output = forward(X)
        output.square().sum().backward()
        assert head.weight.grad is not None
        found.append((output, head.weight.grad.clone()))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert frontier.guard.holds()
    net.eval()
    assert not frontier.guard.holds()


@pytest.mark.parametrize("trained", ["norm", "body"])
def test_what_is_trained_must_not_belong_to_the_features(trained: str) -> None:
    frontier = cut(freeze_all_but(Untraceable(), "head", "drop", trained))
    with pytest.raises(NotCuttable, match="that is trained"):
        frontier.before(X)


def test_a_trained_token_leaves_no_frontier() -> None:
    net = freeze_all_but(Untraceable(), "head", "drop")
    net.get_parameter("token").requires_grad_()
    with pytest.raises(NotCuttable, match="cannot be traced"):
        cut(net)


def test_a_forward_that_does_more_is_no_pair_of_steps() -> None:
    with pytest.raises(NotCuttable, match="cannot be traced"):
        cut(freeze_all_but(OneStepMore(), "head", "drop"))


def test_the_fingerprint_tells_weights_and_settings_but_not_the_head() -> None:
    net = freeze_all_but(Untraceable(), "head", "drop")

    def fingerprint(changed: Any) -> str | None:
        other = copy.deepcopy(net)
        changed(other)
        return frontier_fingerprint(cut(other))

    def nudge(other: Untraceable, name: str) -> None:
        with torch.no_grad():
            other.get_parameter(name).add_(1)

    own = frontier_fingerprint(cut(net))
    assert own == fingerprint(lambda other: nudge(other, "head.weight"))
    assert own != fingerprint(lambda other: nudge(other, "body.weight"))
    assert own != fingerprint(lambda other: nudge(other, "token"))
    assert own != fingerprint(lambda other: setattr(other, "scale", 2.0))
