"""What a net needs besides cached rows to continue from them; stored with the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from plt_nn.features.rows import RowType
from plt_nn.frontier.cut import Crossing, Layout
from plt_nn.frontier.fingerprint import is_channels_last

_FORMATS = {True: torch.channels_last, False: torch.preserve_format}


@dataclass(frozen=True)
class Recipe:
    """How the values that cross the frontier are made of cached rows.

    Args:
        layout: How rows form the values that cross.
        computed: The dtypes in which the rows were computed.
        shape: The shape of one sample's inputs.
        dtype: The inputs' dtype.
        channels_last: Which rows were computed in the memory format `channels_last`; the next layer may round
            differently in another one.
        autocast: The dtype of autocast under which they were computed; empty without autocast.
    """

    layout: Layout
    computed: tuple[torch.dtype, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype
    channels_last: tuple[bool, ...]
    autocast: str

    @classmethod
    def of(cls, crossing: Crossing, inputs: Tensor) -> Self:
        """The recipe of the values that have crossed for some inputs."""
        computed = tuple(row.dtype for row in crossing.rows)
        formats = tuple(map(is_channels_last, crossing.rows))
        autocast = autocast_in_words(inputs.device)
        return cls(crossing.layout, computed, tuple(inputs.shape[1:]), inputs.dtype, formats, autocast)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """The recipe made of plain values.

        Raises:
            ValueError: If they are no recipe.
        """
        try:
            computed = tuple(getattr(torch, name) for name in values["computed"])
            formats = tuple(values.get("channels_last", [False] * len(computed)))
            shape, dtype = tuple(values["shape"]), getattr(torch, values["dtype"])
            return cls(_to_layout(values["layout"]), computed, shape, dtype, formats, str(values["autocast"]))
        except (KeyError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
            raise ValueError(f"{values!r} is no recipe") from error

    def to_plain(self) -> dict[str, Any]:
        """Plain values that can be written to a file.

        Raises:
            NotImplementedError: If something crosses in a class that torch cannot name.
        """
        stand_ins = [[list(shape), _name(dtype)] for shape, dtype in self.layout.stand_ins]
        constants = [list(constant) for constant in self.layout.constants]
        layout = {"spec": pytree.treespec_dumps(self.layout.spec), "stand_ins": stand_ins, "constants": constants}
        return {
            "layout": layout,
            "computed": [_name(dtype) for dtype in self.computed],
            "shape": list(self.shape),
            "dtype": _name(self.dtype),
            "channels_last": list(self.channels_last),
            "autocast": self.autocast,
        }

    def types(self, rows: Sequence[Tensor], dtype: torch.dtype | None) -> list[RowType]:
        """The types in which rows are cached.

        Args:
            rows: Rows as they are computed.
            dtype: The dtype for floating-point rows; None for the dtype in which they are computed.
        """
        floating = [dtype if dtype is not None and row.is_floating_point() else row.dtype for row in rows]
        return [RowType(tuple(row.shape[1:]), kind) for row, kind in zip(rows, floating, strict=True)]

    def crossing(self, rows: Sequence[Tensor]) -> Crossing:
        """The values that cross the frontier, made of cached rows."""
        known = zip(rows, self.computed, self.channels_last, strict=True)
        formed = (row.to(dtype, memory_format=_FORMATS[is_last]) for row, dtype, is_last in known)
        return Crossing(tuple(formed), self.layout)


def autocast_in_words(device: torch.device) -> str:
    """The dtype of autocast on a device if it is enabled; otherwise empty."""
    return _name(torch.get_autocast_dtype(device.type)) if torch.is_autocast_enabled(device.type) else ""


def _to_layout(values: Mapping[str, Any]) -> Layout:
    stand_ins = tuple((torch.Size(shape), getattr(torch, dtype)) for shape, dtype in values["stand_ins"])
    constants = tuple((place, constant) for place, constant in values["constants"])
    return Layout(pytree.treespec_loads(values["spec"]), stand_ins, constants)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
