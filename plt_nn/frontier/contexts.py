"""What code enters while it is traced, of which a graph would know nothing."""

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import torch
from torch.amp.autocast_mode import autocast
from torch.autograd.graph import saved_tensors_hooks


class Contexts:
    """Counts contexts that are open: `torch.autocast`, and those of checkpointing; the mode of gradients torch tells.

    Attributes:
        autocast: How many of autocast, whatever they switch on or off.
        saved: How many that save what the backward pass needs in another way.
    """

    def __init__(self) -> None:
        self.autocast = self.saved = 0
        self._mode = torch.is_grad_enabled()
        self._patches = ExitStack()

    def keeps_gradients_otherwise(self) -> bool:
        """Whether gradients are switched off or on here, or what they need is saved in another way."""
        return self.saved > 0 or torch.is_grad_enabled() != self._mode

    def __enter__(self) -> Self:
        for kind, name in ((autocast, "autocast"), (saved_tensors_hooks, "saved")):
            for method, change in (("__enter__", 1), ("__exit__", -1)):
                own = getattr(kind, method)
                setattr(kind, method, self._counted(own, name, change))
                self._patches.callback(setattr, kind, method, own)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._patches.close()

    def _counted(self, own: Any, name: str, change: int) -> Any:
        def counted(this: Any, *args: Any) -> Any:
            setattr(self, name, getattr(self, name) + change)
            return own(this, *args)

        return counted
