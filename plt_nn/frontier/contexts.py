"""Contexts that code enters while it is traced, and that its graph would not contain."""

from contextlib import ExitStack
from threading import get_ident
from types import TracebackType
from typing import Any, Self

import torch
from torch.amp.autocast_mode import autocast
from torch.autograd.graph import saved_tensors_hooks


class Contexts:
    """Counts the contexts of `torch.autocast` and of checkpointing that this thread has entered.

    Only one thread may use it at a time, because it replaces methods of torch's classes; others are not affected.

    Attributes:
        autocast: How many autocast contexts are open, whatever they switch on or off.
        saved: How many contexts are open that save tensors for the backward pass in another way.
    """

    def __init__(self) -> None:
        self.autocast = self.saved = 0
        self._mode, self._thread = torch.is_grad_enabled(), get_ident()
        self._patches = ExitStack()

    def changes_gradients(self) -> bool:
        """Whether gradients are switched on or off here, or tensors for them are saved in another way."""
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
            if get_ident() == self._thread:
                setattr(self, name, getattr(self, name) + change)
            return own(this, *args)

        return counted
