"""Nets that are frozen in part, and that what is cut gives what the whole gives."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from plt_nn.frontier.cut import Crossing, Frontier


def images(size: int = 32, count: int = 2) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(3))


def results(net: nn.Module, forward: Callable[[], Any], buffers: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs, the gradients and the buffers after a pass from the same state."""
    with torch.no_grad():
        for name, buffer in net.named_buffers():
            buffer.copy_(buffers[name])
    torch.manual_seed(1)
    net.zero_grad()
    output = [leaf for leaf in tree_leaves(forward()) if isinstance(leaf, Tensor)]
    loss = torch.stack([leaf.float().square().sum() for leaf in output if leaf.requires_grad]).sum()
    torch.autograd.backward(loss)
    return {
        **{f"output {place}": leaf.detach().clone() for place, leaf in enumerate(output)},
        **{f"gradient {name}": p.grad.clone() for name, p in net.named_parameters() if p.grad is not None},
        **{f"buffer {name}": buffer.clone() for name, buffer in net.named_buffers()},
    }


def assert_same(net: nn.Module, frontier: Frontier, *inputs: Any) -> None:
    def copies() -> list[Any]:
        return [value.clone() if isinstance(value, Tensor) else value for value in inputs]

    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    expected = results(net, lambda: net(*copies()), buffers)
    crossing = frontier.before(*copies())
    assert not any(row.requires_grad for row in crossing.rows)
    stored = Crossing(tuple(row.clone() for row in crossing.rows), crossing.layout)  # as a store gives them back
    for values in (stored, stored):  # a batch may be trained on twice
        found = results(net, lambda values=values: frontier.after(values), buffers)  # type: ignore[misc]
        assert found.keys() == expected.keys()
        differ = [name for name in expected if not torch.equal(found[name], expected[name])]
        assert not differ


def freeze_all_but(net: nn.Module, *trained: str) -> nn.Module:
    """Freezes a net in training mode: what is wholly frozen is in eval mode."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.startswith(trained))
    net.train()
    for part in net.modules():
        own = list(part.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            part.eval()
    return net
