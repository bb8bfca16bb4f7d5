"""How values cross a frontier, as plain values that can be kept in a file."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

from plt_nn.frontier.cut import Layout


def layout_to_plain(layout: Layout) -> dict[str, Any]:
    """A layout as plain values."""
    stand_ins = [[list(shape), str(dtype).removeprefix("torch.")] for shape, dtype in layout.stand_ins]
    constants = [list(constant) for constant in layout.constants]
    return {"spec": pytree.treespec_dumps(layout.spec), "stand_ins": stand_ins, "constants": constants}


def layout_from_plain(values: Mapping[str, Any]) -> Layout:
    """The layout of plain values.

    Raises:
        ValueError: If they are no layout.
    """
    try:
        stand_ins = tuple((torch.Size(shape), getattr(torch, dtype)) for shape, dtype in values["stand_ins"])
        constants = tuple((place, constant) for place, constant in values["constants"])
        return Layout(pytree.treespec_loads(values["spec"]), stand_ins, constants)
    except (KeyError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
        raise ValueError(f"{values!r} is no layout") from error
