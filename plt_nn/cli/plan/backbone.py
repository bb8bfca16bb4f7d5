"""The plan of a backbone by name; no weights are needed."""

import json
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer

from plt_nn.backbones import backbone_info, create_backbone, stages
from plt_nn.errors import ConfigError, did_you_mean
from plt_nn.freezing import Phase
from plt_nn.freezing.adapters.stage_adapters import insert_adapters
from plt_nn.freezing.costs.phase_costs import PlanCost, phase_costs
from plt_nn.freezing.plan import StageLike

_SIZE_ARGUMENTS = {"timm": "img_size", "torchvision": "image_size"}  # of nets that are built for one size (ViT)


@dataclass(frozen=True)
class PlannedBackbone:
    """A backbone to plan for.

    Args:
        name: As `create_backbone` takes it.
        num_classes: Number of classes. Default: that of the pretrained head.
        size: Side of the images in pixels. Default: that of the pretraining.
        lr: Learning rate. Default: 0.001.
        optimizer: A class of `torch.optim` or `timm/NAME`, then any of its arguments as `key=value`. Default: `AdamW`.
    """

    name: str
    num_classes: int | None = None
    size: int | None = None
    lr: float | None = None
    optimizer: str | None = None


def plan_of_backbone(wanted: PlannedBackbone, phases: Sequence[Phase]) -> tuple[str, PlanCost]:
    """What phases train of a backbone and cost, under a title.

    Raises:
        ConfigError: If there is no such backbone, stage or optimizer.
    """
    if wanted.size is not None and wanted.size < 1:
        raise ConfigError(f"--size is {wanted.size}; expected pixels, at least 1.")
    net = _net(wanted)
    info = backbone_info(net)
    assert info is not None
    size = wanted.size or info.preprocessing.size
    shape = (size, size) if isinstance(size, int) else size
    images = torch.empty(2, len(info.preprocessing.mean), *shape, device="meta")
    lr = 1e-3 if wanted.lr is None else wanted.lr
    parts, trained = with_adapters(net, stages(net), phases)
    optimizer = _optimizer(wanted.optimizer or "AdamW", list(net.parameters()), lr)
    return wanted.name, phase_costs(phases, parts, net, trained, [optimizer], (images,))


def with_adapters(
    module: nn.Module, stages: Sequence[StageLike], phases: Sequence[Phase]
) -> tuple[Sequence[StageLike], Sequence[Set[str]] | None]:
    """Puts the adapters of all phases into a module, in place.

    Args:
        module: The net, or the module that holds it.
        stages: Its stages from input to head.
        phases: The phases of the schedule.

    Returns:
        The stages with the adapters, and for each phase the names of the parameters that it trains; if no phase has
        adapters, the stages as they are and None.

    Raises:
        ConfigError: If the adapters do not go with the net, or peft is not installed.
    """
    adapters = insert_adapters(module, stages, phases)
    if adapters is None:
        return stages, None
    free = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    outside = free - {name for stage in adapters.stages for name in stage.parameters}
    return adapters.stages, [(trained | outside) & free for trained in adapters.trained]


def _net(wanted: PlannedBackbone) -> nn.Module:
    argument = _SIZE_ARGUMENTS.get(wanted.name.partition("/")[0])
    if wanted.size is not None and argument is not None:
        try:
            return _without_weights(wanted, {argument: wanted.size})
        except ConfigError:  # it is built for any size, or cannot be built at all: then so without the argument
            pass
    return _without_weights(wanted, {})


def _without_weights(wanted: PlannedBackbone, model_args: dict[str, Any]) -> nn.Module:
    made: dict[str, Any] = {"pretrained": False, "num_classes": wanted.num_classes, "model_args": model_args}
    try:
        with torch.device("meta"):
            return create_backbone(wanted.name, **made)
    except ConfigError:
        raise
    except (RuntimeError, NotImplementedError, TypeError, ValueError):  # its constructor reads values
        return create_backbone(wanted.name, **made)


def _optimizer(text: str, parameters: Iterable[Parameter], lr: float) -> Optimizer:
    name, *options = text.split() or [""]
    arguments = {"lr": lr} | dict(_option(option) for option in options)
    try:
        if name.startswith("timm/"):
            import timm.optim

            create: Any = timm.optim.create_optimizer_v2  # type: ignore[attr-defined]  # timm exports it so
            made: Optimizer = create(parameters, opt=name.removeprefix("timm/"), **arguments)
        else:
            made = _class(name)(parameters, **arguments)
        return made
    except (TypeError, ValueError, AssertionError, RuntimeError, ImportError) as error:
        raise error if isinstance(error, ConfigError) else ConfigError(f"--optimizer {text!r}: {error}") from error


def _class(name: str) -> Any:
    types = (value for value in vars(torch.optim).values() if isinstance(value, type) and issubclass(value, Optimizer))
    known = {each.__name__.lower(): each for each in types if each is not Optimizer}
    found = known.get(name.removeprefix("torch.optim.").lower())
    if found is None:
        names = [made.__name__ for made in known.values()]
        raise ConfigError(f"--optimizer: torch.optim has no {name!r}.{did_you_mean(name, names)} timm's are timm/NAME.")
    return found


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--optimizer: {text!r} is no argument; expected key=value, such as momentum=0.9.")
    try:
        return key, json.loads(value.lower())
    except json.JSONDecodeError:
        return key, value
