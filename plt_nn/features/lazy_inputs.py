"""A batch's inputs that are read only if something needs them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

_MOVES = (torch.ops.aten._to_copy.default, torch.ops.aten.detach.default, torch.ops.aten.alias.default)
# Tensor.to() in inference mode, elsewhere torch makes one of _MOVES of it, or nothing.
_TO = (torch.ops.aten.to.device, torch.ops.aten.to.dtype, torch.ops.aten.to.dtype_layout, torch.ops.aten.to.other)


class LazyInputs(Tensor):
    """Represents the inputs of a batch whose features are cached, or will be.

    It has the shape, dtype and device of the inputs. Asking for these, moving it to another device and passing it to
    the net whose features they are do not read the inputs. Every other operation does, and is then done with the inputs
    themselves: code that uses the inputs works and costs what it would cost without features. If samples are picked by
    index, only these are read. Once the inputs were changed in place, or need a gradient, the features no longer
    belong to them.

    Attributes:
        rows: The number of each sample in the store of features, int64 `(N,)` on the CPU.
        features: The cached features of the samples, on the device of the inputs; None if there are none, or if they no
            longer belong to the inputs.
        served_by: What serves the features; compared by identity. None if they no longer belong to the inputs.
        was_read: Whether the inputs were read although features are cached.
    """

    rows: Tensor
    was_read: bool

    @staticmethod
    def __new__(
        cls,
        inputs: Tensor | Callable[[Tensor], Tensor],
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        rows: Tensor,
        features: tuple[Tensor, ...] | None = None,
        served_by: object = None,
    ) -> "LazyInputs":
        """Makes one.

        Args:
            cls: This class.
            inputs: The inputs `(N, ...)`, or a function that reads those of some rows.
            shape: Their shape.
            dtype: Their dtype.
            device: Their device, to which they are moved when they are read.
            rows: The number of each sample in the store of features.
            features: The cached features of the samples.
            served_by: What serves the features.
        """
        made = torch.Tensor._make_wrapper_subclass(cls, torch.Size(shape), dtype=dtype, device=device)
        assert isinstance(made, LazyInputs)
        held: Any = made
        held._inputs, held._is_changed, held._features, held._served_by = inputs, False, features, served_by
        made.rows, made.was_read = rows, False
        return made

    @property
    def features(self) -> tuple[Tensor, ...] | None:
        """The cached features of the samples."""
        held: Any = self
        features: tuple[Tensor, ...] | None = None if self._is_detached() else held._features
        return features

    @property
    def served_by(self) -> object:
        """What serves the features."""
        held: Any = self
        return None if self._is_detached() else held._served_by

    def inputs(self) -> Tensor:
        """The inputs themselves, `(N, ...)`, on the device of this."""
        # A clone's gradient goes back to this tensor.
        return self.clone() if self.requires_grad and torch.is_grad_enabled() else self._read()

    def numpy(self, *, force: bool = False) -> Any:
        """The inputs as an array."""
        held: Any = self
        held._is_changed = True  # the array may be written to without a trace
        return self._read().numpy(force=force)

    def tolist(self) -> Any:
        """The inputs as lists."""
        return self.inputs().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __repr__(self, **options: Any) -> str:  # type: ignore[override]  # torch leaves it untyped
        return f"LazyInputs(shape={tuple(self.shape)}, dtype={self.dtype}, device='{self.device}')"

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
        """Moves it without reading the inputs, and does everything else with the inputs."""
        kwargs = dict(kwargs or {})
        if func in _TO:
            return func.decompose(*args, **kwargs)
        if func in _MOVES and isinstance(args[0], LazyInputs) and _only_moves(args[0], kwargs):
            return args[0]._moved(torch.device(kwargs.get("device") or args[0].device))
        if (picked := _picked(func, args)) is not None:
            return args[0]._read_some(picked)
        found = [leaf for leaf in tree_leaves((tuple(args), kwargs)) if isinstance(leaf, LazyInputs)]
        args, kwargs = tree_map_only(LazyInputs, LazyInputs._read, (tuple(args), kwargs))
        for lazy in found:
            lazy._note(func)
        return func(*args, **kwargs)

    def _read(self) -> Tensor:
        held: Any = self
        if not isinstance(held._inputs, Tensor):
            held._inputs = held._inputs(self.rows)
            held.was_read = True
        if held._inputs.device != self.device:
            held._inputs = held._inputs.to(self.device, non_blocking=True)
        inputs: Tensor = held._inputs
        return inputs

    def _read_some(self, index: Tensor) -> Tensor:
        held: Any = self
        read: Tensor = held._inputs(self.rows[index.cpu()])
        return read.to(self.device, non_blocking=True)

    def _is_detached(self) -> bool:
        """Whether the features no longer belong to the inputs, or would omit a gradient of the inputs."""
        held: Any = self
        # A version counts changes in place, including those through views.
        return bool(held._is_changed or self.requires_grad or not (self.is_inference() or self._version == 0))

    def _note(self, func: Any) -> None:
        """Notes functions that may lead to a change in place that no version counts."""
        held: Any = self
        if self.is_inference():  # a view may be written to
            schema = func._schema
            held._is_changed |= schema.is_mutable or any(value.alias_info is not None for value in schema.returns)

    def _moved(self, device: torch.device) -> "LazyInputs":
        features = self.features
        if features is not None:
            features = tuple(tensor.to(device, non_blocking=True) for tensor in features)
        held: Any = self._inputs  # type: ignore[attr-defined]
        inputs = held.to(device, non_blocking=True) if isinstance(held, Tensor) else held
        return LazyInputs(inputs, self.shape, self.dtype, device, self.rows, features, self.served_by)


def as_read(value: Any) -> Any:
    """The inputs themselves of `LazyInputs`; any other value as it is."""
    return value.inputs() if isinstance(value, LazyInputs) else value


def _picked(func: Any, args: Sequence[Any]) -> Tensor | None:
    """The positions of samples that a function copies out of inputs not read yet; None for any other function."""
    source: Any = args[0] if args else None
    if not isinstance(source, LazyInputs) or isinstance(source._inputs, Tensor):  # type: ignore[attr-defined]
        return None
    index: Any = None
    if func is torch.ops.aten.index_select.default and args[1] in (0, -source.ndim):
        index = args[2]
    elif func is torch.ops.aten.index.Tensor and len(args[1]) == 1:
        index = args[1][0]
    return index if isinstance(index, Tensor) and index.ndim == 1 else None


def _only_moves(lazy: LazyInputs, kwargs: Mapping[str, Any]) -> bool:
    same_kind = kwargs.get("dtype") in (None, lazy.dtype)
    return same_kind and kwargs.get("memory_format") in (None, torch.preserve_format)
