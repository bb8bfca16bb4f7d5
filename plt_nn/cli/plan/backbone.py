"""The plan of a backbone by name; no weights are needed."""

import json
from collections.abc import Iterable, Sequence
from functools import partial
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

_SIZE_ARGUMENTS = {"timm": "img_size", "torchvision": "image_size"}  # of nets that are built for one size (ViT)


def plan_of_backbone(
    phases: Sequence[Phase],
    name: str,
    num_classes: int | None = None,
    size: int | None = None,
    lr: float | None = None,
    optimizer: str | None = None,
) -> PlanCost:
    """What phases train of a backbone and cost.

    Args:
        phases: The phases in order.
        name: As `create_backbone` takes it.
        num_classes: Number of classes. Default: that of the pretrained head.
        size: Side of the images in pixels. Default: that of the pretraining.
        lr: Learning rate. Default: 0.001.
        optimizer: A class of `torch.optim` or `timm/NAME`, then any of its arguments as `key=value`. Default: `AdamW`.

    Raises:
        ConfigError: If there is no such backbone, stage or optimizer.
    """
    if size is not None and size < 1:
        raise ConfigError(f"--size is {size}; expected pixels, at least 1.")
    net = _net(name, num_classes, size)
    info = backbone_info(net)
    assert info is not None
    side = size or info.preprocessing.size
    shape = (side, side) if isinstance(side, int) else side
    images = torch.empty(2, len(info.preprocessing.mean), *shape, device="meta")
    parts = stages(net)
    adapters = insert_adapters(net, parts, phases)
    made = _optimizer(optimizer or "AdamW", list(net.parameters()), 1e-3 if lr is None else lr)
    return phase_costs(phases, parts, net, adapters, [made], (images,))


def _net(name: str, num_classes: int | None, size: int | None) -> nn.Module:
    argument = _SIZE_ARGUMENTS.get(name.partition("/")[0])
    if size is not None and argument is not None:
        try:
            return _without_weights(name, num_classes, {argument: size})
        except ConfigError:  # it is built for any size, or cannot be built at all: then so without the argument
            pass
    return _without_weights(name, num_classes, {})


def _without_weights(name: str, num_classes: int | None, model_args: dict[str, Any]) -> nn.Module:
    create = partial(create_backbone, name, pretrained=False, num_classes=num_classes, model_args=model_args)
    try:
        with torch.device("meta"):
            return create()
    except ConfigError:
        raise
    except (RuntimeError, NotImplementedError, TypeError, ValueError):  # its constructor reads values
        return create()


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
