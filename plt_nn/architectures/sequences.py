"""Operations on padded sequences.

Each function is one node of an FX trace (`torch.fx.wrap`), because a trace cannot follow a test for `lengths is None`:
so a traced net can still be called with and without lengths. Call them through this module (`sequences.mean(...)`),
because FX replaces the names in it.
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from plt_nn.errors import ConfigError, DataError


@torch.fx.wrap
def pack(x: Tensor, lengths: Tensor | None) -> Tensor | PackedSequence:
    """The sequences without their padding; `x` itself without lengths.

    Args:
        x: Sequences, shape `(N, T, F)`.
        lengths: Valid time steps of each, shape `(N,)`, from 1 to T.
    """
    if lengths is None:
        return x
    _check(x, lengths)
    return pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)


@torch.fx.wrap
def unpack(x: Tensor | PackedSequence) -> Tensor:
    """The inverse of `pack`: shape `(N, T, F)`, where T is the greatest length, with zeros as padding."""
    return pad_packed_sequence(x, batch_first=True)[0] if isinstance(x, PackedSequence) else x


@torch.fx.wrap
def last(states: Tensor, lengths: Tensor | None, bidirectional: bool) -> Tensor:
    """The state of each direction after its last step: at the sequence's end, or at its start for the backward one.

    Args:
        states: Shape `(N, T, H)`, or `(N, T, 2 * H)` with the backward direction's states in the second half.
        lengths: Valid time steps of each, shape `(N,)`; None: all.
        bidirectional: Whether the states are those of two directions.

    Returns:
        Shape `(N, H)` or `(N, 2 * H)`.
    """
    if lengths is None:
        end = states[:, -1]
    else:
        _check(states, lengths)
        end = states[torch.arange(len(states), device=states.device), lengths.to(states.device) - 1]
    if not bidirectional:
        return end
    half = states.shape[-1] // 2
    return torch.cat([end[:, :half], states[:, 0, half:]], dim=1)


@torch.fx.wrap
def mean(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The mean over the valid time steps: shapes `(N, T, F)` and `(N,)` to `(N, F)`."""
    if lengths is None:
        return x.mean(1)
    valid = _valid(x, lengths).unsqueeze(-1)
    return x.masked_fill(~valid, 0.0).sum(1) / valid.sum(1)


@torch.fx.wrap
def maximum(x: Tensor, lengths: Tensor | None) -> Tensor:
    """The maximum over the valid time steps: shapes `(N, T, F)` and `(N,)` to `(N, F)`."""
    if lengths is not None:
        x = x.masked_fill(~_valid(x, lengths).unsqueeze(-1), float("-inf"))
    return x.amax(1)


@torch.fx.wrap
def attention_bias(x: Tensor, lengths: Tensor | None, prefix: int = 0) -> Tensor | None:
    """The summand of attention scores that hides padding; None without lengths.

    Args:
        x: Tokens, shape `(N, prefix + T, F)`.
        lengths: Valid tokens of each after the prefix, shape `(N,)`, from 1 to T.
        prefix: Number of tokens at the beginning that are always valid.

    Returns:
        0 for valid tokens and minus infinity for padding, shape `(N, 1, 1, prefix + T)`.
    """
    if lengths is None:
        return None
    bias = torch.zeros(x.shape[:2], dtype=x.dtype, device=x.device)
    bias[:, prefix:].masked_fill_(~_valid(x[:, prefix:], lengths), float("-inf"))
    return bias[:, None, None]


@torch.fx.wrap
def add_positions(x: Tensor, positions: Tensor) -> Tensor:
    """Add to each token of `x`, shape `(N, T, F)`, the row of its index in `positions`, shape `(1, max_length, F)`."""
    if x.shape[1] > positions.shape[1]:
        raise ConfigError(
            f"the input has {x.shape[1]} tokens (time steps or patches), more than max_length={positions.shape[1]}; "
            f"build the net with max_length={x.shape[1]} or more, or with positions='none'"
        )
    return x + positions[:, : x.shape[1]]


def _valid(x: Tensor, lengths: Tensor) -> Tensor:
    """True for time steps before each sequence's end, shape `(N, T)`."""
    _check(x, lengths)
    return torch.arange(x.shape[1], device=x.device) < lengths.to(x.device).unsqueeze(1)


def _check(x: Tensor, lengths: Tensor) -> None:
    """Refuse lengths that do not fit; on a GPU only the shape is checked, because reading values would wait for it."""
    samples, steps = x.shape[:2]
    if lengths.shape != (samples,):
        raise DataError(f"lengths have shape {tuple(lengths.shape)}; expected ({samples},): one for each sequence")
    if lengths.device.type == "cpu" and not (lengths.min() >= 1 and lengths.max() <= steps):
        raise DataError(
            f"lengths go from {lengths.min()} to {lengths.max()}; expected at least 1 and at most {steps}, "
            "the number of time steps in the batch"
        )
