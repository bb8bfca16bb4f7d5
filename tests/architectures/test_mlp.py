import torch
from torch import nn

from plt_nn.architectures import MLP


def test_the_lesson_net_is_exactly_the_sequential_written_by_hand() -> None:
    torch.manual_seed(0)
    ours = MLP(2, [20, 10], 1)
    torch.manual_seed(0)
    raw = nn.Sequential(nn.Linear(2, 20), nn.ReLU(), nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1))
    assert [type(layer) for layer in ours] == [type(layer) for layer in raw]
    assert all(p.equal(q) for p, q in zip(ours.parameters(), raw.parameters(), strict=True))
    assert type(ours).forward is nn.Sequential.forward  # so a step costs the same
    x = torch.randn(5, 2)
    assert ours(x).equal(raw(x))


def test_layers_are_named_in_order() -> None:
    net = MLP(12, [8, 4], 2, activation="tanh", norm="batch", dropout=0.5, flatten=True)
    expected = "flatten linear0 norm0 activation0 dropout0 linear1 norm1 activation1 dropout1 head"
    assert [name for name, _ in net.named_children()] == expected.split()
    assert net(torch.randn(3, 3, 2, 2)).shape == (3, 2)


def test_takes_further_dimensions_unless_it_flattens() -> None:
    assert MLP(4, [8], 2)(torch.randn(3, 5, 4)).shape == (3, 5, 2)


def test_without_bias() -> None:
    assert not [name for name, _ in MLP(4, [8, 8], 2, bias=False).named_parameters() if "bias" in name]
