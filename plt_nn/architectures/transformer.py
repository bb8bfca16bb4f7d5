"""A transformer encoder over sequences or image patches."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plt_nn.architectures import sequences
from plt_nn.architectures.activations import create_activation
from plt_nn.architectures.checks import check_arguments
from plt_nn.architectures.initialisation import initialise

Pooling = Literal["mean", "token"]
Positions = Literal["learned", "none", "sinusoidal"]


class TransformerNet(nn.Module):
    """A transformer encoder that reads a sequence, or an image as patches, and gives one output by a linear head.

    It uses timm's attention and MLP (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; for images Dosovitskiy et
    al. 2021, https://arxiv.org/abs/2010.11929). `nn.TransformerEncoderLayer` is not used: its results in inference and
    training differ in the last bits, and FX cannot trace it, so that no part of a block could be frozen alone.

    With `lengths`, padding has no effect, whatever finite numbers it holds: each output is that of the sequence alone.

    Input: sequences `(N, T, in_features)`; with `patch_size`, images `(N, in_features, H, W)`, padded with zeros on the
    right and bottom to whole patches. Output: `(N, out_features)`. Parts in order: `stem`, `blocks.0`, `blocks.1`, ...,
    `norm`, `head`.

    Args:
        in_features: Number of features of a time step; with `patch_size`, number of channels.
        dim: Number of features of a token.
        out_features: Number of classes or targets.
        depth: Number of blocks. Default: 4.
        heads: Number of attention heads; it divides `dim`. Default: 4.
        mlp_ratio: Hidden width of each block's MLP, in units of `dim`. Default: 4.
        patch_size: Height and width of the patches in pixels; None (default) for sequences.
        dropout: Probability that an attention weight, or an output of a block's attention or MLP layer, is dropped.
            Default: 0.
        activation: An elementwise activation of `torch.nn` by name. Default: `GELU`.
        norm_first: Whether layer norm comes before attention and MLP (default), or after each sum as in Vaswani et al.
        pooling: The input of the head: the `mean` (default) over the tokens, or an extra, learned class `token`.
        positions: `learned` (default), `sinusoidal` or `none`, by the token's index; patches count row by row, so
            learned positions suit images of one size only.
        max_length: Maximum number of tokens (time steps or patches) for `learned` and `sinusoidal`. Default: 256.
        init: Name of a weight initialisation, see `initialise`; None (default) keeps torch's.
        activation_kwargs: Arguments of the activation, such as `{approximate: tanh}`.
        init_kwargs: Arguments of the initialisation, such as `{std: 0.02}`.

    Raises:
        ConfigError: If an argument cannot be used; all faults are reported together.
    """

    def __init__(
        self,
        in_features: int,
        dim: int,
        out_features: int,
        depth: int = 4,
        heads: int = 4,
        mlp_ratio: float = 4.0,
        patch_size: int | None = None,
        dropout: float = 0.0,
        activation: str = "GELU",
        norm_first: bool = True,
        pooling: Pooling = "mean",
        positions: Positions = "learned",
        max_length: int = 256,
        init: str | None = None,
        activation_kwargs: dict[str, Any] | None = None,
        init_kwargs: dict[str, Any] | None = None,
    ) -> None:
        act = partial(create_activation, activation, **(activation_kwargs or {}))
        check_arguments(
            TransformerNet,
            locals(),
            (
                lambda: dim % heads == 0,
                f"dim is {dim} and heads is {heads}; expected a multiple: each head sees dim / heads features",
            ),
            (
                lambda: dim * mlp_ratio >= 1,
                f"mlp_ratio is {mlp_ratio}; expected at least 1 / dim, so that the MLP has a hidden unit",
            ),
        )
        super().__init__()
        self.stem = TokenStem(in_features, dim, patch_size, positions, max_length, class_token=pooling == "token")
        self.class_token = pooling == "token"
        block = partial(EncoderBlock, dim, heads, int(dim * mlp_ratio), dropout, act, norm_first)
        self.blocks = nn.ModuleList(block() for _ in range(depth))
        self.norm = nn.LayerNorm(dim) if norm_first else nn.Identity()
        self.head = nn.Linear(dim, out_features)
        initialise(self, init, act(), **(init_kwargs or {}))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map sequences or images to outputs `(N, out_features)`.

        Args:
            x: Sequences `(N, T, in_features)` or images `(N, in_features, H, W)`.
            lengths: Valid tokens of each sample, shape `(N,)`; None: all.

        Raises:
            ConfigError: If there are more than `max_length` tokens.
            DataError: If the lengths do not fit the sequences.
        """
        x = self.stem(x)
        bias = sequences.attention_bias(x, lengths, prefix=1 if self.class_token else 0)
        for block in self.blocks:
            x = block(x, bias)
        x = self.norm(x)
        out: Tensor = self.head(x[:, 0] if self.class_token else sequences.mean(x, lengths))
        return out


class TokenStem(nn.Module):
    """The tokens of a sequence or an image, with their positions, after a learned class token if `class_token`.

    The other arguments are those of `TransformerNet`.
    """

    positions: Tensor | None

    def __init__(
        self,
        in_features: int,
        dim: int,
        patch_size: int | None,
        positions: Positions,
        max_length: int,
        class_token: bool,
    ) -> None:
        super().__init__()
        self.projection = nn.Linear(in_features, dim) if patch_size is None else _patches(in_features, dim, patch_size)
        if positions == "learned":
            self.positions = _embedding(max_length, dim)
        else:
            table = _sinusoids(max_length, dim) if positions == "sinusoidal" else None
            self.register_buffer("positions", table, persistent=False)
        self.token = _embedding(1, dim) if class_token else None

    def forward(self, x: Tensor) -> Tensor:
        """Map sequences `(N, T, in_features)` or images `(N, in_features, H, W)` to tokens `(N, T, dim)`."""
        x = self.projection(x)
        if self.positions is not None:
            x = sequences.add_positions(x, self.positions)
        if self.token is not None:
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        return x


class EncoderBlock(nn.Module):
    """Self-attention and an MLP of the width `hidden`, each with layer norm and a shortcut.

    The other arguments are those of `TransformerNet`, but `activation` builds the MLP's activation.
    """

    def __init__(
        self, dim: int, heads: int, hidden: int, dropout: float, activation: Callable[[], nn.Module], norm_first: bool
    ) -> None:
        from timm.layers.attention import Attention
        from timm.layers.mlp import Mlp

        super().__init__()
        self.norm_first = norm_first
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, qkv_bias=True, attn_drop=dropout, proj_drop=dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, hidden, drop=dropout)
        self.mlp.act = activation()

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Map tokens `(N, T, dim)` to tokens; `bias` is added to the attention scores, shape `(N, 1, 1, T)`."""
        if self.norm_first:
            x = x + self.attention(self.norm1(x), attn_mask=bias)
            out: Tensor = x + self.mlp(self.norm2(x))
        else:
            x = self.norm1(x + self.attention(x, attn_mask=bias))
            out = self.norm2(x + self.mlp(x))
        return out


def _patches(channels: int, dim: int, size: int) -> nn.Module:
    """One token for each patch of an image of any size: `(N, channels, H, W)` to `(N, patches, dim)`."""
    from timm.layers.patch_embed import PatchEmbed

    return PatchEmbed(None, size, channels, dim, dynamic_img_pad=True)


def _embedding(length: int, dim: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, length, dim), std=0.02))


def _sinusoids(length: int, dim: int) -> Tensor:
    """Sines and cosines of the position at wavelengths from 2 pi to 10000 * 2 pi, shape `(1, length, dim)`."""
    angles = torch.arange(length).unsqueeze(1) / 10000 ** (torch.arange(0, dim, 2) / dim)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[None, :, :dim]
