"""Something that is done whenever a net of a LightningModule is called."""

from collections.abc import Callable

from lightning.pytorch import LightningModule

from plt_nn.callbacks.lightning.loaders import is_compiled_by_lightning
from plt_nn.features.forward import is_compiled


def hold_at_forward(pl_module: LightningModule, hold: Callable[[], None]) -> list[Callable[[], None]]:
    """Calls `hold` before each forward pass of the module's children.

    Compiled ones are left out: a hook would become part of what is compiled.

    Args:
        pl_module: The module.
        hold: What is to be done.

    Returns:
        Functions that take the hooks off again.
    """
    if is_compiled_by_lightning(pl_module):
        return []
    plain = [child for child in pl_module.children() if not is_compiled(child)]
    return [child.register_forward_pre_hook(lambda *arguments: hold()).remove for child in plain]
