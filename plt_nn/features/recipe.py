"""How a net goes on from stored features; kept beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from plt_nn.features.rows import RowType
from plt_nn.frontier.cut import Crossing, Layout
from plt_nn.frontier.fingerprint import is_channels_last
from plt_nn.frontier.layout_text import layout_from_plain, layout_to_plain

_FORMATS = {True: torch.channels_last, False: torch.preserve_format}


@dataclass(frozen=True)
class Recipe:
    """What is needed besides the rows.

    Args:
        layout: How the values that cross the frontier are made of rows.
        computed: The dtypes in which they were computed.
        shape: The shape of one sample's inputs.
        dtype: Their dtype.
        channels_last: Which rows are computed in the memory format `channels_last`. What comes next may round
            otherwise in another one.
        autocast: The dtype of autocast under which they were computed; empty without.
    """

    layout: Layout
    computed: tuple[torch.dtype, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype
    channels_last: tuple[bool, ...]
    autocast: str

    @classmethod
    def of(cls, crossing: Crossing, inputs: Tensor) -> Self:
        """The recipe of what has crossed for some inputs."""
        computed = tuple(row.dtype for row in crossing.rows)
        formats = tuple(map(is_channels_last, crossing.rows))
        autocast = autocast_in_words(inputs.device)
        return cls(crossing.layout, computed, tuple(inputs.shape[1:]), inputs.dtype, formats, autocast)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """The recipe of plain values.

        Raises:
            ValueError: If they are no recipe.
        """
        try:
            computed = tuple(getattr(torch, name) for name in values["computed"])
            layout = layout_from_plain(values["layout"])
            formats = tuple(values.get("channels_last", [False] * len(computed)))
            shape, dtype = tuple(values["shape"]), getattr(torch, values["dtype"])
            return cls(layout, computed, shape, dtype, formats, str(values["autocast"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{values!r} is no recipe") from error

    def to_plain(self) -> dict[str, Any]:
        """Plain values that can be kept in a file."""
        return {
            "layout": layout_to_plain(self.layout),
            "computed": [_name(dtype) for dtype in self.computed],
            "shape": list(self.shape),
            "dtype": _name(self.dtype),
            "channels_last": list(self.channels_last),
            "autocast": self.autocast,
        }

    def types(self, rows: Sequence[Tensor], dtype: torch.dtype | None) -> list[RowType]:
        """What is kept of each row.

        Args:
            rows: Rows as they are computed.
            dtype: The dtype in which numbers are kept; None for as they are computed.
        """
        floating = [dtype if dtype is not None and row.is_floating_point() else row.dtype for row in rows]
        return [RowType(tuple(row.shape[1:]), kind) for row, kind in zip(rows, floating, strict=True)]

    def crossing(self, rows: Sequence[Tensor]) -> Crossing:
        """What crosses the frontier, of rows as they were kept."""
        known = zip(rows, self.computed, self.channels_last, strict=True)
        formed = (row.to(dtype, memory_format=_FORMATS[is_last]) for row, dtype, is_last in known)
        return Crossing(tuple(formed), self.layout)


def autocast_in_words(device: torch.device) -> str:
    """The dtype of autocast on a device, where it is switched on; else empty."""
    return _name(torch.get_autocast_dtype(device.type)) if torch.is_autocast_enabled(device.type) else ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
