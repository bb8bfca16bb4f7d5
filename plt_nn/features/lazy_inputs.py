"""A batch's inputs that are read only if somebody looks at them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

_MOVES = (torch.ops.aten._to_copy.default, torch.ops.aten.detach.default, torch.ops.aten.alias.default)
# Tensor.to() in inference mode, elsewhere torch makes one of _MOVES of it, or nothing.
_TO = (torch.ops.aten.to.device, torch.ops.aten.to.dtype, torch.ops.aten.to.dtype_layout, torch.ops.aten.to.other)


class LazyInputs(Tensor):
    """Stands for the inputs of a batch, of which the features are at hand, or will be kept.

    It has the shape, dtype and device of the inputs. Whatever is done with it but asking for these, moving it to
    another device and handing it to the net whose features they are, is done with the inputs themselves, which are then
    read: code that looks at the inputs works as ever, and only costs what it would have cost. Of samples that are
    picked by index only those are read. Once somebody has changed the inputs in place, or wants their gradient, the
    features are none of theirs.

    Attributes:
        rows: The number of each sample in the store of features, int64 `(N,)` on the CPU.
        features: What was kept of the samples, on the device of the inputs; None where nothing was, or it is no longer
            theirs.
        source: Whose features they are; compared by identity. None where they are no longer theirs.
        looked_at: Whether the inputs were needed although the features were at hand.
    """

    rows: Tensor
    looked_at: bool

    @staticmethod
    def __new__(
        cls,
        inputs: Tensor | Callable[[Tensor], Tensor],
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        rows: Tensor,
        features: tuple[Tensor, ...] | None = None,
        source: object = None,
    ) -> "LazyInputs":
        """Makes one.

        Args:
            cls: This class.
            inputs: The inputs `(N, ...)`, or what reads those of some rows.
            shape: Their shape.
            dtype: Their dtype.
            device: Where they are to be.
            rows: The number of each sample in the store of features.
            features: What was kept of the samples.
            source: Whose features they are.
        """
        made = torch.Tensor._make_wrapper_subclass(cls, torch.Size(shape), dtype=dtype, device=device)
        assert isinstance(made, LazyInputs)
        held: Any = made
        held._inputs, held._is_changed, held._features, held._source = inputs, False, features, source
        made.rows, made.looked_at = rows, False
        return made

    @property
    def features(self) -> tuple[Tensor, ...] | None:
        """What was kept of the samples."""
        held: Any = self
        features: tuple[Tensor, ...] | None = None if self._is_others() else held._features
        return features

    @property
    def source(self) -> object:
        """Whose features they are."""
        held: Any = self
        return None if self._is_others() else held._source

    def inputs(self) -> Tensor:
        """The inputs themselves, `(N, ...)`, on the device where this is."""
        # A clone's gradient goes back to this tensor.
        return self.clone() if self.requires_grad and torch.is_grad_enabled() else self._read()

    def numpy(self, *, force: bool = False) -> Any:
        """The inputs as an array."""
        held: Any = self
        held._is_changed = True  # whoever has the array may write to it, and nobody would know
        return self._read().numpy(force=force)

    def tolist(self) -> Any:
        """The inputs as lists."""
        return self.inputs().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

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
        if func in _TO:
            return func.decompose(*args, **kwargs)
        if func in _MOVES and isinstance(args[0], LazyInputs) and _only_moves(args[0], kwargs):
            return args[0]._moved(torch.device(kwargs.get("device") or args[0].device))
        if (picked := _picked(func, args)) is not None:
            return args[0]._read_some(picked)
        found = [leaf for leaf in tree_leaves((tuple(args), kwargs)) if isinstance(leaf, LazyInputs)]
        args, kwargs = tree_map_only(LazyInputs, LazyInputs._read, (tuple(args), kwargs))
        for deferred in found:
            deferred._expect(func)
        return func(*args, **kwargs)

    def _read(self) -> Tensor:
        held: Any = self
        if not isinstance(held._inputs, Tensor):
            held._inputs = held._inputs(self.rows)
            held.looked_at = True
        if held._inputs.device != self.device:
            held._inputs = held._inputs.to(self.device, non_blocking=True)
        inputs: Tensor = held._inputs
        return inputs

    def _read_some(self, index: Tensor) -> Tensor:
        held: Any = self
        read: Tensor = held._inputs(self.rows[index.cpu()])
        return read.to(self.device, non_blocking=True)

    def _is_others(self) -> bool:
        """Whether the features are not those of what this stands for now, or leave out somebody's gradient."""
        held: Any = self
        # A version counts the changes in place, through views as well.
        return bool(held._is_changed or self.requires_grad or not (self.is_inference() or self._version == 0))

    def _expect(self, func: Any) -> None:
        """Sees whether a function may lead to a change in place where no version tells of it."""
        held: Any = self
        if self.is_inference():  # whoever gets a view may change it
            schema = func._schema
            held._is_changed |= schema.is_mutable or any(value.alias_info is not None for value in schema.returns)

    def _moved(self, device: torch.device) -> "LazyInputs":
        features = self.features
        if features is not None:
            features = tuple(tensor.to(device, non_blocking=True) for tensor in features)
        held: Any = self._inputs  # type: ignore[attr-defined]
        inputs = held.to(device, non_blocking=True) if isinstance(held, Tensor) else held
        return LazyInputs(inputs, self.shape, self.dtype, device, self.rows, features, self.source)


def inputs_of(value: Any) -> Any:
    """The inputs themselves where they are deferred; any other value as it is."""
    return value.inputs() if isinstance(value, LazyInputs) else value


def _picked(func: Any, args: Sequence[Any]) -> Tensor | None:
    """The places of the samples that a function copies out of inputs that are not read; None for anything else."""
    source: Any = args[0] if args else None
    if not isinstance(source, LazyInputs) or isinstance(source._inputs, Tensor):  # type: ignore[attr-defined]
        return None
    index: Any = None
    if func is torch.ops.aten.index_select.default and args[1] in (0, -source.ndim):
        index = args[2]
    elif func is torch.ops.aten.index.Tensor and len(args[1]) == 1:
        index = args[1][0]
    return index if isinstance(index, Tensor) and index.ndim == 1 else None


def _only_moves(deferred: LazyInputs, kwargs: Mapping[str, Any]) -> bool:
    same_kind = kwargs.get("dtype") in (None, deferred.dtype)
    return same_kind and kwargs.get("memory_format") in (None, torch.preserve_format)
