"""Compiles what a net computes, phase by phase."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from plt_nn.callbacks.lightning.callback_order import sort_callbacks
from plt_nn.callbacks.lightning.compiled import is_compiled_by_lightning
from plt_nn.errors import ConfigError, TrainingError
from plt_nn.features.forward import Forward, is_compiled, take_over
from plt_nn.text import first_line

_VERSIONS = 64  # of one forward pass: a phase has one for training, one for evaluation, and others for other shapes


class CompileNet(Callback):
    """Compiles the forward pass of the nets in a module with `torch.compile`, for as long as a fit takes.

    It works with freezing schedules and with cached features: a frozen part that is computed once is not compiled, the
    trained part is. The net itself does not change: names, hooks, checkpoints, best weights and the deployable model
    are those of the plain net, and after the fit nothing is compiled any more. Results are the same up to rounding,
    except for dropout and the like, for which `inductor` draws other random numbers. The first steps of each phase take
    seconds to minutes longer, so it pays in long phases. On a CPU it needs a C++ compiler
    (https://pytorch.org/docs/stable/torch.compiler.html).

    Args:
        net: The attribute of the LightningModule that holds the net. Default: each of its children with parameters.
        backend: The compiler; see `torch.compiler.list_backends()`.
        mode: `default`, `reduce-overhead`, `max-autotune` or `max-autotune-no-cudagraphs`, as `torch.compile` has it.
        dynamic: Whether one compiled version is to serve several shapes. Default: once a second shape has come.

    Raises:
        ConfigError: If there is no such net, backend or mode, or the net is compiled already.
        TrainingError: If it cannot be compiled.
    """

    def __init__(
        self, net: str | None = None, backend: str = "inductor", mode: str | None = None, dynamic: bool | None = None
    ) -> None:
        modes = [None, "default", *torch._inductor.list_mode_options()]
        if mode not in modes:
            raise ConfigError(f"CompileNet: mode is {mode!r}; expected one of {', '.join(map(str, modes))}.")
        if backend not in torch.compiler.list_backends(exclude_tags=()):
            known = ", ".join(torch.compiler.list_backends())
            raise ConfigError(f"CompileNet: backend is {backend!r}; expected one of {known}.")
        self.net = net
        self._compile: Callable[..., Any] = partial(torch.compile, backend=backend, mode=mode, dynamic=dynamic)
        self._until_end = ExitStack()
        self._nets: list[nn.Module] = []  # those that are compiled now
        self._is_used: bool | None = None  # whether one of them was called; None once that is settled

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes its place in the order of callbacks."""
        sort_callbacks(trainer)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replaces the forward passes; they are compiled when they are first called."""
        self._until_end.close()
        if is_compiled_by_lightning(pl_module) or is_compiled(pl_module):
            raise ConfigError("CompileNet: the net is compiled already. Leave the callback out, or give the plain net.")
        self._nets, self._is_used = self._find(pl_module), False
        self._until_end.callback(self._nets.clear)
        limit = max(_VERSIONS, torch._dynamo.config.recompile_limit)
        self._until_end.enter_context(torch._dynamo.config.patch(recompile_limit=limit))
        for net in self._nets:
            self._until_end.callback(take_over(net, partial(_call, self.compiled(net))))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Warns where nothing was compiled."""
        if self._is_used is False:
            rank_zero_warn(
                f"CompileNet: nothing is compiled, because the training step of {type(pl_module).__name__} does not "
                f"call {' or '.join(type(net).__name__ for net in self._nets)} itself, but a part or a method of it."
            )
        self._is_used = None

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Restores the forward passes."""
        self._until_end.close()

    on_exception = on_fit_end

    def is_at_work_on(self, net: nn.Module) -> bool:
        """Whether a net is compiled now."""
        return any(one is net for one in self._nets)

    def compiled(self, module: nn.Module) -> Forward:
        """A module's forward pass, to be compiled when it is first called.

        Args:
            module: Any module, such as the part of a net that comes after what is frozen.
        """
        plain = module.forward
        compiled = self._compile(plain)

        def run(*args: Any, **kwargs: Any) -> Any:
            if self._is_used is False:
                self._is_used = True
            try:
                return compiled(*args, **kwargs)
            except torch._dynamo.exc.TorchDynamoException as error:
                plain(*args, **kwargs)  # if the net itself has a fault, this raises the net's own error
                reason = first_line(error)
                raise TrainingError(
                    f"CompileNet: the net cannot be compiled here ({reason}). Leave the callback out, or try "
                    "another `backend`; on a CPU `inductor` needs a C++ compiler."
                ) from error

        return run

    def _find(self, pl_module: LightningModule) -> list[nn.Module]:
        children = {name: child for name, child in pl_module.named_children() if any(True for _ in child.parameters())}
        if self.net is not None and self.net not in children:
            raise ConfigError(
                f"CompileNet: {type(pl_module).__name__} has no net with parameters in an attribute {self.net!r}; "
                f"expected one of {', '.join(children) or 'none, because it has no children with parameters'}."
            )
        chosen = children.values() if self.net is None else [children[self.net]]
        return [net for child in chosen for net in (child.children() if _is_container(child) else [child])]


def _is_container(module: nn.Module) -> bool:
    """Whether a module only holds others, and is never called itself."""
    return isinstance(module, nn.ModuleList | nn.ModuleDict)


def _call(compiled: Forward, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Called by `take_over` in place of the forward pass: calls the compiled one."""
    return compiled(*args, **kwargs)
