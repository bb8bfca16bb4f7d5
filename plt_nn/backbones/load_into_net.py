"""Loads the weights of a file into a net: by name, converted, or by order; all of them, or none."""

from collections.abc import Callable

from torch import Tensor, nn

from plt_nn.backbones.heads import num_outputs, output_layers, set_num_classes
from plt_nn.errors import WeightsError, refuse
from plt_nn.text import and_more

Weights = dict[str, Tensor]
Converter = Callable[[Weights, nn.Module], Weights | None]


def load_weights(net: nn.Module, weights: Weights, source: str, convert: Converter) -> None:
    """Loads weights into a net in place. The head first gets the number of classes that the weights have.

    It tries in turn: the names as they are; the library's own conversion; the same tensors in the same order under
    other names (as `timm.models.load_checkpoint(remap=True)` does).

    Args:
        net: The net; its head may be replaced.
        weights: Tensors by name.
        source: The beginning of an error's text.
        convert: The library's conversion of weights from other code; it gives `None` if it cannot convert them.

    Raises:
        WeightsError: Names or shapes differ; the text counts all differences and lists the first ten of each kind.
    """
    found = []
    for candidate in (_as_is, convert, _by_order):
        renamed = candidate(weights, net)
        if renamed is None:
            continue
        _adopt_num_classes(net, renamed)
        differences = _differences(net, renamed)
        if not any(differences.values()):
            _load(net, renamed)
            return
        found.append(
            (differences, len(net.state_dict().keys() & renamed.keys()) - len(differences["of another shape"]))
        )
    differences, matching = min(found, key=lambda each: sum(map(len, each[0].values())))
    subject = f"{source}: these look like the weights of another net ({matching} names and shapes agree), which"
    refuse(subject, [f"{len(n)} {kind}: {and_more(n, 10)}." for kind, n in differences.items() if n], WeightsError)


def _as_is(weights: Weights, net: nn.Module) -> Weights:
    return weights


def _by_order(weights: Weights, net: nn.Module) -> Weights | None:
    """The weights under the net's names, if only the names of the modules differ.

    The last parts of the names must agree at every place. Shapes are not enough: the statistics of a BatchNorm have the
    shape of its weight, so a file in alphabetical order (safetensors) would load wrongly.
    """
    counted = any(_is_counter(name) for name in weights)
    names = [name for name in net.state_dict() if counted or not _is_counter(name)]
    if [_last(name) for name in names] != [_last(name) for name in weights]:
        return None
    return dict(zip(names, weights.values(), strict=True))


def _adopt_num_classes(net: nn.Module, weights: Weights) -> None:
    """Gives the net the number of classes that the weights have, so that the head can be loaded too."""
    for name in output_layers(net):
        weight = weights.get(f"{name}.weight")
        if weight is not None and weight.ndim >= 2 and weight.shape[0] != num_outputs(net):
            set_num_classes(net, weight.shape[0])
            return


def _differences(net: nn.Module, weights: Weights) -> dict[str, list[str]]:
    """Where names and shapes of weights differ from those of a net, by the kind of difference."""
    own = net.state_dict()
    return {
        "missing from the file": [name for name in own if name not in weights and not _is_counter(name)],
        "in the file but not in the net": [name for name in weights if name not in own],
        "of another shape": [
            f"{name}: {tuple(weights[name].shape)} in the file, {tuple(tensor.shape)} in the net"
            for name, tensor in own.items()
            if name in weights and weights[name].shape != tensor.shape
        ],
    }


def _load(net: nn.Module, weights: Weights) -> None:
    """Copies weights whose names and shapes agree; files from before torch 0.4.1 may lack BatchNorm's counters."""
    own = net.state_dict()
    own.update(weights)  # has the versions of the net's modules, which torchvision's MNASNet requires
    net.load_state_dict(own)


def _is_counter(name: str) -> bool:
    return _last(name) == "num_batches_tracked"


def _last(name: str) -> str:
    return name.rpartition(".")[2]
