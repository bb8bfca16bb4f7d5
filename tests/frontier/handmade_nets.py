"""Small nets, each with one thing that is hard to cut."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth


class Parts(nn.Module):
    """Three layers: two frozen, one trained, put together in a way that each subclass shows."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)


class DropoutBefore(Parts):
    def __init__(self, p: float, trained_after: bool = True) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.b(F.dropout(self.a(x), self.p, self.training)))
        return y


class DropoutModules(Parts):
    def __init__(self, before: float, after: float) -> None:
        super().__init__()
        self.before, self.after = nn.Dropout(before), nn.Dropout(after)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.after(self.c(self.b(self.before(self.a(x)))))
        return y


class Depth(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.drop = StochasticDepth(0.5, "row")

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        x = x + self.drop(self.c(x))
        y: Tensor = x + self.drop(self.b(x))
        return y


class Sizes(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        h = self.c(self.b(y))
        z: Tensor = h.reshape(x.shape[0], -1, 2) * y.size(1) + x.shape[0]
        return z


class Several(Parts):
    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(a)
        y: Tensor = self.c(a) * b + a.sigmoid()
        return y


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.a(x), {"b": self.b(x)}


class Tuples(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pair, self.c = Pair(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        first, rest = self.pair(x)
        y: Tensor = self.c(first) + rest["b"]
        return y


class Constants(Parts):
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(4))
        self.fixed, self.token = nn.Parameter(torch.rand(4)), nn.Parameter(torch.rand(1, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x) * self.scale) + self.fixed
        y: Tensor = self.c(torch.cat([self.token.expand(x.shape[0], -1), x], 1).reshape(-1, 4) * self.scale)
        return y


class Counter(Parts):
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.count.add_(1)
        y: Tensor = self.c(self.b(self.a(x)) + self.count)
        return y


class InPlace(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu_()
        x += 1
        y: Tensor = self.c(x)
        y += x
        return y.relu_()


class InPlaceOnWhatCrosses(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x))
        x += self.c(x.detach().clone())
        y: Tensor = self.c(x.clone()) + x
        return y


class SeenBeforeAndAfter(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = self.c(x.clone()) + x.mean(1, keepdim=True)
        x.relu_()
        z: Tensor = y + self.b(x)
        return z


class ThroughAView(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x))
        y = self.c(x.clone())
        x[:, 0].add_(y[:, 1].detach())
        z: Tensor = self.b(x) + y
        return z


class WritesItems(nn.Linear):
    """Items that are set cannot be traced."""

    def forward(self, x: Tensor) -> Tensor:
        x[:, 1] = x[:, 0] + 1
        return super().forward(x)


class SetItem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), WritesItems(4, 4), WritesItems(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = self.c(x.clone()) + x.mean(1, keepdim=True)
        z: Tensor = y + self.b(x) + self.c(x)
        return z


class NamesOfOneMemory(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x))
        flat = x.view(-1)
        y: Tensor = self.c(x.clone())
        x.add_(y.detach())
        return y.reshape(-1) + flat


class ResultNotUsed(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        dead = x.relu_()
        dead + 1
        y: Tensor = self.c(x)
        return y


class Operators(Parts):
    """`+=` and the like, on what has another name, and on numbers."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        identity, size = h, h.shape[1]
        size_before = size
        size //= 2
        h += 1
        h -= self.b(x)
        h *= size
        h /= size_before
        y = self.c(h)
        y **= 2
        h @= torch.eye(4)
        z: Tensor = y + identity * size_before
        return z


class BlockThatAdds(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        x += 1
        return super().forward(x)


class OperatorInABlock(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.b = BlockThatAdds(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        y = self.c(h.clone()) + h
        z: Tensor = y + self.b(h) + h
        return z


class AddsTo(nn.Linear):
    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        assert out is not None
        return out.add_(super().forward(x))


class Out(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.b = AddsTo(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        y = self.c(h.clone()) + h
        z: Tensor = y + self.b(self.a(x), out=h)
        return z


class Dead(Parts):
    """Runs a frozen layer whose result nobody uses, of what is frozen, and of what is not."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        self.b(self.b(h) + 1)
        y: Tensor = self.c(h)
        with torch.no_grad():
            self.b(self.c(h))
        return y


class ActivationThatOverwrites(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4), nn.ReLU(inplace=True))
        self.append(nn.Linear(4, 4)).append(nn.ReLU(inplace=True))


class PreActivation(nn.Module):
    """A wholly frozen block writes to its input, which was read before."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.c = nn.Linear(4, 4), nn.Linear(4, 4)
        self.block = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = self.c(x.clone()) + x.mean(1, keepdim=True)
        z: Tensor = y + self.block(x)
        return z


class NumberOfABatch(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y: Tensor = self.c(x) * x.sum().item()
        return y


class Twice(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.a(self.c(self.a(self.a(x))))
        return y


class Optional(Parts):
    def forward(self, x: Tensor, mask: Tensor | None = None, scale: float = 2.0, *, shift: float = 1.0) -> Tensor:
        x = self.a(x) * scale + shift
        if mask is not None:
            x = x * mask
        y: Tensor = self.c(input=x)
        return y


class Branching(nn.Module):
    """Cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x += 1  # done once, although tracing gets that far
        y: Tensor = self.one(x) if float(x.sum()) > 0 else self.two(x)
        return y


class Inside(nn.Module):
    """Holds what cannot be traced two levels down, beside what can."""

    def __init__(self) -> None:
        super().__init__()
        self.branching, self.other = Branching(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.other(self.branching(x))
        return y


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.inside, self.c = nn.Linear(4, 4), Inside(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.inside(self.a(x)))
        return y


class Shared(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.c.weight = self.b.weight

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.b(self.a(x)))
        return y


class ManyOutputs(Parts):
    def forward(self, x: Tensor) -> dict[str, Any]:
        x = self.a(x)
        return {"frozen": self.b(x), "pair": (self.c(x), [x]), "three": 3}


class WithNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b, self.c = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.b(self.norm(self.a(x))))
        return y


class Batches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.c = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(F.batch_norm(self.a(x), None, None, training=True))
        return y


class RootBranch(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.a(x)) if x.sum() > 0 else self.c(self.b(x))
        return y


class NoRows(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(x) * self.a(x).mean()
        return y


class OnlySizes(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.c(self.c.weight[0].expand(self.a(x).shape[0], 4))
        return y


HANDMADE: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...], str]] = {
    "functional dropout before": (lambda: DropoutBefore(0.5), ("c",), "a"),
    "functional dropout of 0": (lambda: DropoutBefore(0.0), ("c",), "b"),
    "dropout before": (lambda: DropoutModules(0.5, 0.5), ("c",), "a"),
    "dropout after": (lambda: DropoutModules(0.0, 0.5), ("c",), "b"),
    "stochastic depth": (Depth, ("c",), "a"),
    "sizes behind the frontier": (Sizes, ("c",), "b"),
    "several tensors cross": (Several, ("c",), ""),
    "a tuple with a dict crosses": (Tuples, ("c",), "getitem getitem_2"),
    "constants and a trained token": (Constants, ("c", "token"), ""),
    "in place on both sides": (InPlace, ("c",), ""),
    "in place on what crosses": (InPlaceOnWhatCrosses, ("c",), "b clone"),
    "seen before and after a change": (SeenBeforeAndAfter, ("c",), ""),
    "through a view": (ThroughAView, ("c",), ""),
    "items are set": (SetItem, ("c",), ""),
    "two names of one memory": (NamesOfOneMemory, ("c",), ""),
    "a change whose result is not used": (ResultNotUsed, ("c",), ""),
    "in-place operators": (Operators, ("c",), ""),
    "an in-place operator in a frozen block": (OperatorInABlock, ("c",), ""),
    "a frozen layer with `out`": (Out, ("c",), ""),
    "frozen layers whose results are not used": (Dead, ("c",), "a"),
    "activations that overwrite": (ActivationThatOverwrites, ("4",), ""),
    "activations that overwrite, early": (ActivationThatOverwrites, ("2", "4"), ""),
    "a frozen block that writes to its input": (PreActivation, ("c",), ""),
    "a layer used twice": (Twice, ("c",), ""),
    "optional arguments": (Optional, ("c",), ""),
    "untraceable, frozen": (Untraceable, ("c",), "inside"),
    "untraceable, trained": (Untraceable, ("inside", "c"), "a"),
    "untraceable, mixed": (Untraceable, ("inside.branching.two", "c"), "a"),
    "a shared weight is trained": (Shared, ("b.weight", "c"), "a"),
    "many outputs": (ManyOutputs, ("c",), ""),
    "a frozen norm at rest": (WithNorm, ("c",), "b"),
    "a norm of the batch": (Batches, ("c",), "a"),
}


class GradMode(nn.Linear):
    """Rounds otherwise without gradients, as LSTMs do on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (3 if torch.is_grad_enabled() else 3.001)
