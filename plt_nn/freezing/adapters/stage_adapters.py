"""The adapters that the phases of a schedule train, from insertion to merging."""

import copy
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from torch import Tensor, nn

from plt_nn.errors import ConfigError, refuse
from plt_nn.freezing.adapters.adapt import Adapt
from plt_nn.freezing.adapters.adaptable import AdaptableLayers, adaptable_layers
from plt_nn.freezing.phases import Phase
from plt_nn.freezing.plan import StageLike, trained_parameters

_BASE = "base_layer."
_WEIGHTS = ("lora_A", "lora_B")


def insert_adapters(module: nn.Module, stages: Sequence[StageLike], phases: Sequence[Phase]) -> "Adapters | None":
    """Inserts the adapters of all phases into a module, in place; until they are trained its outputs do not change.

    Phases with the same rank, alpha and dropout share their adapters: the next phase continues to train them. Otherwise
    they add up: all adapters of a layer are always active, trained in the present phase or not. Weights are neither
    copied nor changed, and their `requires_grad` does not change either; the adapters require gradients, and `freeze`
    freezes them. Their A is drawn from torch's random numbers, layer by layer, as
    `nn.Linear` draws its weight (Hu et al. 2021, https://arxiv.org/abs/2106.09685, start B at 0 as is done here). An
    adapter of rank r has r * (inputs + outputs) parameters, of a convolution r * (inputs * kernel + outputs).

    Args:
        module: The net, or the module that holds it, on any device.
        stages: The net's stages from input to head, named as in the module.
        phases: The phases of the schedule.

    Returns:
        What was inserted and how to remove it; None, and nothing is done, if no phase adapts.

    Raises:
        ConfigError: Naming every fault, before anything is changed: a `target` that matches nothing or what cannot be
            adapted, a phase with nothing to adapt, a net that has adapters already, peft not installed.
    """
    if all(phase.adapt is None for phase in phases):
        return None
    _require_peft_for(module)
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    selected = [trained_parameters(phase.train, stages, sizes) for phase in phases]
    head = frozenset(stages[-1].parameters)
    found = _find(module, phases, [chosen - head for chosen in selected])
    names = _names(phases)
    adapting = tuple("" if phase.adapt is None else names[_shared(phase.adapt)] for phase in phases)
    layers: dict[str, tuple[str, ...]] = {}
    for adapt, name in names.items():
        wanted = {layer for each, own in zip(found, adapting, strict=True) if own == name for layer in each.layers}
        _insert(module, wanted, adapt, name, layers)
    trained = tuple(
        frozenset(_renamed(parameter, layers) for parameter in (chosen & head if name else chosen))
        | {f"{layer}.{part}.{name}.weight" for layer in at.layers for part in _WEIGHTS}
        for chosen, at, name in zip(selected, found, adapting, strict=True)
    )
    passed_over = {layer: why for each in found for layer, why in each.passed_over.items()}
    return Adapters(_adapted_stages(module, stages, layers), trained, layers, adapting, passed_over)


@dataclass(frozen=True)
class AdaptedStage:
    """A stage under the names that its parameters and modules have with adapters; see `plt_nn.backbones.Stage`."""

    name: str
    parameters: tuple[str, ...]
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Adapters:
    """What `insert_adapters` has inserted. It holds only names, so it is valid for any copy of the module.

    Args:
        stages: The stages with adapters, which belong to the stage of their layer.
        trained: For each phase the names of the parameters that it trains: with `adapt`, the head as far as it is
            selected, and the phase's adapters; without, all that it selects. What belongs to no stage is in none.
        layers: For each adapted layer the names of its adapters; a layer with several names is there under each.
        adapting: For each phase the name of the adapters that it trains; empty without `adapt`.
        passed_over: The layers with weights that a phase's `adapt` would mean but that cannot be adapted: why, by name.
    """

    stages: tuple[AdaptedStage, ...]
    trained: tuple[frozenset[str], ...]
    layers: Mapping[str, tuple[str, ...]]
    adapting: tuple[str, ...]
    passed_over: Mapping[str, str]

    def held(self, number: int) -> frozenset[str]:
        """The names of the modules of the adapters that a phase does not train: their dropout must be off."""
        return frozenset(
            f"{layer}.{part}.{name}"
            for layer, names in self.layers.items()
            for name in names
            for part in (*_WEIGHTS, "lora_dropout")
            if f"{layer}.lora_B.{name}.weight" not in self.trained[number]
        )

    def merged_state(self, module: nn.Module, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """The state under the names without adapters, which are merged into the weights. The module does not change.

        Tensors of other layers are not copied.

        Args:
            module: The module that has the adapters, or a copy of it.
            state: A state dict of it, of another moment or device. Default: the present one.
        """
        state = module.state_dict() if state is None else state
        weights = {layer: _merged(module.get_submodule(layer), layer, state) for layer in self.layers}
        merged = {}
        for key, tensor in state.items():
            layer, inner = _split(key, self.layers)
            if not layer:
                merged[key] = tensor
            elif inner.startswith(_BASE):
                own = inner.removeprefix(_BASE)
                merged[f"{layer}.{own}"] = weights[layer] if own == "weight" else tensor
        return merged

    def state_from_merged(self, module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inverse of `merged_state`: a state dict for the module with adapters, in which they have no effect.

        Args:
            module: The module that has the adapters.
            state: A state dict under the names without adapters.
        """
        result = {_renamed(key, self.layers): tensor for key, tensor in state.items()}
        for key, tensor in module.state_dict().items():
            layer, inner = _split(key, self.layers)
            if layer and not inner.startswith(_BASE):
                result[key] = tensor.new_zeros(tensor.shape) if inner.startswith("lora_B.") else tensor
        return result

    def remove(self, module: nn.Module) -> None:
        """Merges the adapters into the weights and restores the original layers: the same modules and parameters.

        `requires_grad` and modes do not change.
        """
        from plt_nn.freezing.adapters.lora_layers import unwrap

        before: dict[nn.Module, nn.Module] = {}
        for name in self.layers:
            layer = module.get_submodule(name)
            if layer not in before:  # one that has two names is merged once
                before[layer] = unwrap(layer)
            module.set_submodule(name, before[layer])


def _require_peft_for(module: nn.Module) -> None:
    try:
        from plt_nn.freezing.adapters.lora_layers import has_adapters
    except ImportError as error:
        raise ConfigError(
            f'A phase with `adapt` needs the library peft ({error}). Install it: pip install "plt-nn[lora]"'
        ) from error
    if has_adapters(module):
        raise ConfigError("The net has adapters of peft already; merge them first (peft's merge_and_unload).")


def _find(module: nn.Module, phases: Sequence[Phase], selected: Sequence[Set[str]]) -> list[AdaptableLayers]:
    """The layers that each phase adapts; none in a phase without `adapt`."""
    found = [
        AdaptableLayers() if phase.adapt is None else adaptable_layers(module, chosen, phase.adapt.target)
        for phase, chosen in zip(phases, selected, strict=True)
    ]
    refuse("`adapt`", [f"phases[{number}]: {fault}" for number, each in enumerate(found) for fault in each.faults])
    return found


def _shared(adapt: Adapt) -> Adapt:
    """What two phases must agree in to share adapters."""
    return replace(adapt, target=None, alpha=adapt.rank if adapt.alpha is None else adapt.alpha)


def _names(phases: Sequence[Phase]) -> dict[Adapt, str]:
    """The name of the adapters of each different setting."""
    different = dict.fromkeys(_shared(phase.adapt) for phase in phases if phase.adapt is not None)
    return {adapt: f"adapter{number}" for number, adapt in enumerate(different)}


def _insert(module: nn.Module, wanted: Set[str], adapt: Adapt, name: str, layers: dict[str, tuple[str, ...]]) -> None:
    """Puts one more adapter around each of the wanted layers, and notes it in `layers`."""
    from plt_nn.freezing.adapters.lora_layers import adapt_layers

    targets = {layer: part for layer, part in module.named_modules() if layer in wanted}
    adapted = dict(zip(targets.values(), adapt_layers(list(targets.values()), adapt, name), strict=True))
    for layer, part in list(module.named_modules(remove_duplicate=False)):
        if part in adapted:
            module.set_submodule(layer, adapted[part])
            layers[layer] = (*layers.get(layer, ()), name)


def _adapted_stages(
    module: nn.Module, stages: Sequence[StageLike], layers: Mapping[str, tuple[str, ...]]
) -> tuple[AdaptedStage, ...]:
    stage_of = {_renamed(name, layers): stage.name for stage in stages for name in stage.parameters}
    parameters: dict[str, list[str]] = {stage.name: [] for stage in stages}
    for name, _ in module.named_parameters():
        layer, _inner = _split(name, layers)
        stage = stage_of.get(f"{layer}.{_BASE}weight" if layer else name)
        if stage is not None:
            parameters[stage].append(name)
    return tuple(
        AdaptedStage(
            stage.name,
            tuple(parameters[stage.name]),
            tuple(inner for name in stage.modules for inner in _with_inner(module, name, layers)),
        )
        for stage in stages
    )


def _with_inner(module: nn.Module, name: str, layers: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A module's name, and of an adapted layer those of the modules in it."""
    if name not in layers:
        return [name]
    return [inner for inner, _ in module.get_submodule(name).named_modules(prefix=name)]


def _merged(layer: nn.Module, name: str, state: Mapping[str, Tensor]) -> Tensor:
    """The merged weight of an adapted layer in another state than its own."""
    from plt_nn.freezing.adapters.lora_layers import merged_weight

    twin = copy.deepcopy(layer)
    twin.load_state_dict({key: state[f"{name}.{key}"].detach() for key in layer.state_dict()}, assign=True)
    return merged_weight(twin).detach()


def _renamed(name: str, layers: Mapping[str, tuple[str, ...]]) -> str:
    """The name that a parameter or buffer has with adapters."""
    owner, _, key = name.rpartition(".")
    return f"{owner}.{_BASE}{key}" if owner in layers else name


def _split(name: str, layers: Mapping[str, tuple[str, ...]]) -> tuple[str, str]:
    """The adapted layer that a name belongs to and the rest of the name; two empty texts if it belongs to none."""
    parts = name.split(".")
    starts = (".".join(parts[:count]) for count in range(1, len(parts)))
    layer = next((start for start in starts if start in layers), "")
    return (layer, name.removeprefix(f"{layer}.")) if layer else ("", "")
