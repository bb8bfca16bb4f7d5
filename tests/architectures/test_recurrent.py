from itertools import product

import pytest
import torch
from torch import Tensor, nn

from plt_nn.architectures import RecurrentNet
from plt_nn.architectures.recurrent import Cell, Readout
from plt_nn.errors import DataError

LENGTHS = torch.tensor([3, 7, 1, 5])
EVERY_KIND = pytest.mark.parametrize(
    ("cell", "readout", "bidirectional"),
    list(product(("gru", "lstm", "rnn"), ("last", "max", "mean"), (False, True))),
)


def _padded(padding: float) -> Tensor:
    torch.manual_seed(1)
    x = torch.randn(4, 9, 5)  # two steps longer than the longest
    for row, length in zip(x, LENGTHS, strict=True):
        row[length:] = padding
    return x


@EVERY_KIND
def test_padding_has_no_influence(cell: Cell, readout: Readout, bidirectional: bool) -> None:
    torch.manual_seed(0)
    net = RecurrentNet(5, 6, 3, num_layers=2, cell=cell, readout=readout, bidirectional=bidirectional)
    x = _padded(padding=100.0)
    alone = torch.cat([net(row[:length].unsqueeze(0)) for row, length in zip(x, LENGTHS, strict=True)])
    together = net(x, LENGTHS)
    assert together.allclose(alone, atol=1e-6)
    assert not net(x).allclose(alone, atol=1e-2)  # without lengths it has


@EVERY_KIND
def test_padding_has_no_gradient(cell: Cell, readout: Readout, bidirectional: bool) -> None:
    net = RecurrentNet(5, 6, 3, cell=cell, readout=readout, bidirectional=bidirectional)
    x = _padded(padding=1.0).requires_grad_()
    net(x, LENGTHS).square().sum().backward()
    assert x.grad is not None
    for gradient, length in zip(x.grad, LENGTHS, strict=True):
        assert gradient[length:].eq(0).all()
        assert gradient[:length].ne(0).any()


@EVERY_KIND
def test_one_trace_serves_with_and_without_lengths(cell: Cell, readout: Readout, bidirectional: bool) -> None:
    net = RecurrentNet(5, 6, 3, cell=cell, readout=readout, bidirectional=bidirectional)
    traced = torch.fx.symbolic_trace(net)
    x = _padded(padding=1.0)
    assert traced(x, LENGTHS).equal(net(x, LENGTHS))
    assert traced(x).equal(net(x))


@pytest.mark.parametrize(("cell", "kind"), [("gru", nn.GRU), ("lstm", nn.LSTM), ("rnn", nn.RNN)])
def test_last_is_torchs_own_final_state(cell: Cell, kind: type[nn.Module]) -> None:
    net = RecurrentNet(5, 6, 3, num_layers=2, cell=cell, bidirectional=True)
    assert type(net.rnn) is kind
    x = _padded(padding=0.0)
    final = net.rnn(x)[1]
    final = final[0] if isinstance(final, tuple) else final
    assert net(x).allclose(net.head(torch.cat([final[-2], final[-1]], dim=1)), atol=1e-6)


def test_readouts_over_time() -> None:
    x = _padded(padding=0.0)
    for readout, reduce in (("mean", torch.mean), ("max", torch.amax)):
        net = RecurrentNet(5, 6, 3, readout=readout)  # type: ignore[arg-type]
        assert net(x).allclose(net.head(reduce(net.rnn(x)[0], dim=1)), atol=1e-6)


def test_dropout_only_in_training_and_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    for num_layers in (1, 2):
        net = RecurrentNet(5, 16, 3, num_layers=num_layers, dropout=0.5)
        x = _padded(padding=0.0)
        assert not net(x).equal(net(x))
        net.eval()
        assert net(x).equal(net(x))
    assert not recwarn.list


def test_reads_an_image_row_by_row() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 7, 4)
    net = RecurrentNet(12, 6, 3, image_rows=True)
    rows = torch.stack([images[:, :, row].flatten(1) for row in range(7)], dim=1)
    net_of_rows = RecurrentNet(12, 6, 3)
    net_of_rows.load_state_dict(net.state_dict())
    assert net(images).allclose(net_of_rows(rows), atol=1e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([3, 7, 0, 5], "from 0 to 7; expected at least 1 and at most 9"),
        ([3, 10, 1, 5], "from 1 to 10; expected at least 1 and at most 9"),
        ([3, 7], r"shape \(2,\); expected \(4,\)"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(bidirectional: bool, lengths: list[int], message: str) -> None:
    net = RecurrentNet(5, 6, 3, bidirectional=bidirectional)
    with pytest.raises(DataError, match=message):
        net(_padded(padding=0.0), torch.tensor(lengths))
