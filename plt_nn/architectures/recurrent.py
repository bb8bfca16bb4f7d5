"""Recurrent nets over sequences."""

from typing import Any, Literal

from torch import Tensor, nn

from plt_nn.architectures import sequences
from plt_nn.architectures.checks import check_arguments
from plt_nn.architectures.initialisation import initialise

Cell = Literal["gru", "lstm", "rnn"]
Readout = Literal["last", "max", "mean"]


class RecurrentNet(nn.Module):
    """A recurrent net that reads a sequence and gives one output, by a linear head on its states.

    With `lengths`, padding has no effect, whatever finite numbers it holds: each output is that of the sequence alone.
    Sequences are packed only if `bidirectional`, because the backward direction must start at the end of each sequence.

    Input: `(N, T, in_features)`, or images `(N, C, T, W)` if `image_rows`. Output: `(N, out_features)`.
    Parts in order: `rnn` (torch's module with all layers), `head`.

    Args:
        in_features: Number of features of a time step; with `image_rows`, channels * width.
        hidden_size: Number of features of a state, of each direction.
        out_features: Number of classes or targets.
        num_layers: Number of stacked recurrent layers. Default: 1.
        cell: `rnn` (with tanh), `lstm` or `gru` (default).
        bidirectional: Whether a second net reads the sequence backwards. Default: False.
        readout: The input of the head: the `last` state of each direction (default), or the `mean` or `max` of each
            feature over time.
        dropout: Probability that an output of a recurrent layer is dropped before the next layer or the head.
            Default: 0.
        image_rows: Whether inputs are images that are read row by row. Default: False.
        init: Name of a weight initialisation, see `initialise`; None (default) keeps torch's.
        init_kwargs: Arguments of the initialisation, such as `{std: 0.01}`.

    Raises:
        ConfigError: If an argument cannot be used; all faults are reported together.
    """

    def __init__(
        self,
        in_features: int,
        hidden_size: int,
        out_features: int,
        num_layers: int = 1,
        cell: Cell = "gru",
        bidirectional: bool = False,
        readout: Readout = "last",
        dropout: float = 0.0,
        image_rows: bool = False,
        init: str | None = None,
        init_kwargs: dict[str, Any] | None = None,
    ) -> None:
        check_arguments(RecurrentNet, locals())
        super().__init__()
        self.readout = readout
        self.image_rows = image_rows
        self.rnn = _CELLS[cell](
            in_features,
            hidden_size,
            num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,  # torch warns if there is one layer
            bidirectional=bidirectional,
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size * (2 if bidirectional else 1), out_features)
        initialise(self, init, **(init_kwargs or {}))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map sequences to outputs `(N, out_features)`.

        Args:
            x: Sequences `(N, T, in_features)`, or images `(N, C, T, W)` if `image_rows`.
            lengths: Valid time steps of each, shape `(N,)`; None: all T.

        Raises:
            DataError: If the lengths do not fit the sequences.
        """
        if self.image_rows:
            x = x.transpose(1, 2).flatten(2)
        # Packing makes a step 1.3 to 4 times slower on a CPU, and forward states do not depend on later padding.
        packed = sequences.pack(x, lengths) if self.rnn.bidirectional else x
        states, _ = self.rnn(packed)
        states = sequences.unpack(states)
        if self.readout == "last":
            features = sequences.last(states, lengths, self.rnn.bidirectional)
        else:
            pool = sequences.mean if self.readout == "mean" else sequences.maximum
            features = pool(states, lengths)
        out: Tensor = self.head(self.dropout(features))
        return out


_CELLS: dict[Cell, type[nn.GRU | nn.LSTM | nn.RNN]] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
