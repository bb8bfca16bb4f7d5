"""A layout comes back from plain values as it was."""

import json

import pytest
import torch
from torch import nn

from plt_nn.frontier.cut import Layout, cut
from plt_nn.frontier.layout_text import layout_from_plain, layout_to_plain
from tests.frontier.cuts import freeze_all_but
from tests.frontier.handmade_nets import Sizes, Tuples


@pytest.mark.parametrize("make", [Tuples, Sizes])
def test_it_comes_back_through_a_file(make: type[nn.Module]) -> None:
    frontier = cut(freeze_all_but(make(), "c"))
    layout = frontier.before(torch.randn(5, 4)).layout
    again = layout_from_plain(json.loads(json.dumps(layout_to_plain(layout))))
    assert again == layout
    assert bool(layout.stand_ins) is (make is Sizes)


def test_stand_ins_keep_their_dtype() -> None:
    spec = cut(freeze_all_but(Tuples(), "c")).before(torch.randn(5, 4)).layout.spec
    layout = Layout(spec, ((torch.Size([3, 2]), torch.bfloat16), (torch.Size([]), torch.bool)))
    assert layout_from_plain(layout_to_plain(layout)) == layout


@pytest.mark.parametrize("values", [{}, {"spec": "x", "stand_ins": []}, {"spec": 3, "stand_ins": []}])
def test_other_values_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is no layout"):
        layout_from_plain(values)


def test_an_unknown_dtype_is_refused() -> None:
    plain = layout_to_plain(cut(freeze_all_but(Sizes(), "c")).before(torch.randn(5, 4)).layout)
    plain["stand_ins"] = [[[2], "float99"]]
    with pytest.raises(ValueError, match="is no layout"):
        layout_from_plain(plain)
