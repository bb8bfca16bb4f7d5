"""A batch's inputs that are read only if somebody looks at them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

_MOVES = (torch.ops.aten._to_copy.default, torch.ops.aten.detach.default, torch.ops.aten.alias.default)


class Deferred(Tensor):
    """Stands for the inputs of a batch, of which the features are at hand, or will be kept.

    It has the shape, dtype and device of the inputs. Whatever is done with it but asking for these, moving it to
    another device and handing it to the net whose features they are, is done with the inputs themselves, which are read
    then: code that looks at the inputs works as ever, and only costs what it would have cost.

    Attributes:
        rows: The number of each sample in the store of features, int64 `(N,)` on the CPU.
        features: What was kept of the samples, on the device of the inputs; None where nothing was.
        source: Whose features they are; compared by identity.
        looked_at: Whether the inputs were needed although the features were at hand.
    """

    rows: Tensor
    features: tuple[Tensor, ...] | None
    source: object
    looked_at: bool

    @staticmethod
    def __new__(
        cls,
        inputs: Tensor | Callable[[], Tensor],
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        rows: Tensor,
        features: tuple[Tensor, ...] | None = None,
        source: object = None,
    ) -> "Deferred":
        """Makes one.

        Args:
            cls: This class.
            inputs: The inputs `(N, ...)`, or how to read them.
            shape: Their shape.
            dtype: Their dtype.
            device: Where they are to be.
            rows: The number of each sample in the store of features.
            features: What was kept of the samples.
            source: Whose features they are.
        """
        made = torch.Tensor._make_wrapper_subclass(cls, torch.Size(shape), dtype=dtype, device=device)
        assert isinstance(made, Deferred)
        made._inputs = inputs  # type: ignore[attr-defined]
        made.rows, made.features, made.source, made.looked_at = rows, features, source, False
        return made

    def inputs(self) -> Tensor:
        """The inputs themselves, `(N, ...)`, on the device where this is."""
        held: Any = self
        if not isinstance(held._inputs, Tensor):
            held._inputs = held._inputs()
            held.looked_at = True
        if held._inputs.device != self.device:
            held._inputs = held._inputs.to(self.device, non_blocking=True)
        inputs: Tensor = held._inputs
        return inputs

    def numpy(self, *, force: bool = False) -> Any:
        """The inputs as an array."""
        return self.inputs().numpy(force=force)

    def tolist(self) -> Any:
        """The inputs as lists."""
        return self.inputs().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.inputs().numpy().astype(dtype) if dtype is not None else self.inputs().numpy()

    def __repr__(self, **options: Any) -> str:  # type: ignore[override]  # torch leaves it untyped
        return f"Deferred(shape={tuple(self.shape)}, dtype={self.dtype}, device='{self.device}')"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return self.inputs().clone()

    def __reduce_ex__(self, protocol: Any) -> Any:
        inputs: Any = self.inputs()
        return inputs.__reduce_ex__(protocol)

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # typed as an instance's method
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Moves it as it is, and does everything else with the inputs."""
        kwargs = dict(kwargs or {})
        if func in _MOVES and isinstance(args[0], Deferred) and _only_moves(args[0], kwargs):
            return args[0]._moved(torch.device(kwargs.get("device") or args[0].device))
        args, kwargs = tree_map_only(Deferred, Deferred.inputs, (tuple(args), kwargs))
        return func(*args, **kwargs)

    def _moved(self, device: torch.device) -> "Deferred":
        features = self.features
        if features is not None:
            features = tuple(tensor.to(device, non_blocking=True) for tensor in features)
        held: Any = self._inputs  # type: ignore[attr-defined]
        inputs = held.to(device, non_blocking=True) if isinstance(held, Tensor) else self.inputs
        return Deferred(inputs, self.shape, self.dtype, device, self.rows, features, self.source)


def _only_moves(deferred: Deferred, kwargs: Mapping[str, Any]) -> bool:
    same_kind = kwargs.get("dtype") in (None, deferred.dtype)
    return same_kind and kwargs.get("memory_format") in (None, torch.preserve_format)
