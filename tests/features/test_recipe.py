"""A recipe that was written to a file is the same recipe."""

import json
from typing import Any

import pytest
import torch
from torch import nn

from plt_nn.features.recipe import Recipe
from plt_nn.frontier.cut import Layout, cut
from tests.frontier.cuts import freeze_all_but
from tests.frontier.handmade_nets import Sizes, Tuples


def recipe_of(net: nn.Module) -> Recipe:
    x = torch.randn(5, 4)
    return Recipe.of(cut(freeze_all_but(net, "c")).before(x), x)


@pytest.mark.parametrize("make", [Tuples, Sizes])
def test_it_is_unchanged_after_a_file(make: type[nn.Module]) -> None:
    recipe = recipe_of(make())
    assert Recipe.from_plain(json.loads(json.dumps(recipe.to_plain()))) == recipe
    assert bool(recipe.layout.stand_ins) is (make is Sizes)


def test_stand_ins_have_their_dtype() -> None:
    recipe = recipe_of(Tuples())
    stand_ins = ((torch.Size([3, 2]), torch.bfloat16), (torch.Size([]), torch.bool))
    other = Recipe(Layout(recipe.layout.spec, stand_ins), (), (4,), torch.uint8, (), "bfloat16")
    assert Recipe.from_plain(other.to_plain()) == other


@pytest.mark.parametrize(
    "layout",
    [{}, {"spec": "x", "stand_ins": []}, {"spec": 3, "stand_ins": []}, {"stand_ins": [[[2], "float99"]]}],
)
def test_other_values_are_refused(layout: dict[str, Any]) -> None:
    plain = recipe_of(Sizes()).to_plain()
    plain["layout"] = {**plain["layout"], **layout} if layout else layout
    with pytest.raises(ValueError, match="is no recipe"):
        Recipe.from_plain(plain)
