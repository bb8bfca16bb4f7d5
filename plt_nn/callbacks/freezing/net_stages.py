"""The stages of the net inside a LightningModule, by the names that they have there."""

from dataclasses import replace

from lightning.pytorch import LightningModule
from torch import nn

from plt_nn.backbones import Stage, stages
from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.freezing.plan import HEAD


def net_stages(pl_module: LightningModule, net: str | None = None) -> list[Stage]:
    """The stages from input to head, their parameters and modules named as in the LightningModule.

    Args:
        pl_module: The module that holds the net.
        net: The attribute that holds the net. Default: the one child that has parameters which require gradients; with
            several such children (`backbone` and `head`, say) all of them in the order in which they were registered,
            the last one ending in the head.

    Raises:
        ConfigError: If there is no such attribute, or nothing with parameters.
    """
    children = {name: child for name, child in pl_module.named_children() if any(True for _ in child.parameters())}
    if net is not None:
        if net not in children:
            raise ConfigError(
                f"{type(pl_module).__name__} has no net with parameters in an attribute {net!r}."
                f"{did_you_mean(net, children)}"
            )
        children = {net: children[net]}
    else:  # a teacher that is frozen is not what is trained
        children = {name: child for name, child in children.items() if _is_trained(child)} or children
    if not children:
        raise ConfigError(f"{type(pl_module).__name__} holds no net with parameters, so there is nothing to freeze.")
    # torch.compile returns a wrapper around the net; the stages have the names of the net alone.
    suffixes = {name: "._orig_mod" if hasattr(child, "_orig_mod") else "" for name, child in children.items()}
    inner = {name + suffixes[name]: getattr(child, "_orig_mod", child) for name, child in children.items()}
    *bodies, (last, net_with_head) = inner.items()
    before = [stage for name, body in bodies for stage in _of_body(name, body)]
    return before + [_moved(stage, last, stage.name) for stage in stages(net_with_head)]


def _is_trained(child: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in child.parameters())


def _of_body(name: str, body: nn.Module) -> list[Stage]:
    """The stages of a net before the last one; a body with only one stage is named after the body."""
    found = [stage for stage in stages(body, ends_in_head=False) if stage.parameters]
    plain = name.removesuffix("._orig_mod")
    return [_moved(stage, name, plain if len(found) == 1 else f"{plain}.{_name_in_body(stage)}") for stage in found]


def _name_in_body(stage: Stage) -> str:
    """The classifier of a known net is not the head here, so it is named by its path."""
    path = stage.parameters[0].rpartition(".")[0]
    return path if stage.name == HEAD and path else stage.name


def _moved(stage: Stage, prefix: str, name: str) -> Stage:
    return replace(
        stage,
        name=name,
        parameters=tuple(f"{prefix}.{parameter}" for parameter in stage.parameters),
        modules=tuple(f"{prefix}.{module}" if module else prefix for module in stage.modules),
    )
