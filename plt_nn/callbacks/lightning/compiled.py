"""Whether `torch.compile` was called on a LightningModule or on a net in it."""

from collections.abc import Callable

from lightning.pytorch import LightningModule

from plt_nn.features.forward import is_compiled


def is_compiled_by_lightning(pl_module: LightningModule) -> bool:
    """Whether the module is what `torch.compile(module)` gave, which Lightning unpacks and compiles itself."""
    return getattr(pl_module, "_compiler_ctx", None) is not None


def before_each_forward(pl_module: LightningModule, call: Callable[[], None]) -> list[Callable[[], None]]:
    """Has a function called before each forward pass of the module's children; returns what removes the hooks.

    Compiled children are left out, because a hook would become part of what is compiled.
    """
    children = [] if is_compiled_by_lightning(pl_module) else pl_module.children()
    plain = [child for child in children if not is_compiled(child)]
    return [child.register_forward_pre_hook(lambda *arguments: call()).remove for child in plain]
