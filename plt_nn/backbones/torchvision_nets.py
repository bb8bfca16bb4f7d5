"""Classification nets of torchvision: names, construction, download, and the preprocessing of their weights."""

from typing import Any

from torch import Tensor, nn

from plt_nn.backbones.hub import downloading, is_in_torch_cache
from plt_nn.backbones.preprocessing import Preprocessing

_AUXILIARY = ("aux1", "aux2", "AuxLogits")  # GoogLeNet's and InceptionV3's heads for training from scratch
# Both can normalise their input a second time, and their weights need it; torchvision sets this for its downloads only.
_ARGS: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "aux_logits": False, "init_weights": True},
    "inception_v3": {"transform_input": True, "aux_logits": False, "init_weights": True},
}


def names(tagged: bool) -> list[str]:
    """The names of all nets, or (`tagged`) of all nets with the names of their weights."""
    from torchvision import models

    nets = [str(net) for net in models.list_models(module=models)]
    return [f"{net}.{tag}" for net in nets for tag in tags(net)] if tagged else nets


def cached() -> list[str]:
    """The names, with tags, of the nets whose weights have been downloaded before."""
    return [name for name in names(tagged=True) if is_in_torch_cache(_weights(name).url)]


def tags(net: str) -> list[str]:
    """The names of the pretrained weights of a net."""
    from torchvision import models

    return [weights.name for weights in models.get_model_weights(net)]


def build(name: str, model_args: dict[str, Any]) -> nn.Module:
    """The net with random weights and 1,000 classes; with auxiliary heads only if `model_args` asks for them."""
    from torchvision import models

    net = name.partition(".")[0]
    given = _ARGS.get(net, {})
    if net.startswith("vit_"):  # torchvision's builder takes the size from the weights
        given = {"image_size": _weights(name).meta["min_size"][0]}
    built: nn.Module = models.get_model(net, **given | model_args)
    return built


def download(name: str, model_args: dict[str, Any]) -> nn.Module:
    """The net with pretrained weights, from torch.hub's cache or downloaded.

    Raises:
        WeightsError: The weights cannot be downloaded.
    """
    from torchvision import models

    weights = _weights(name)
    others = {argument: value for argument, value in model_args.items() if argument != "aux_logits"}
    with downloading(weights.url, f"torchvision/{name}", is_in_torch_cache(weights.url)):
        net: nn.Module = models.get_model(name.partition(".")[0], weights=weights, **others)
    if not model_args.get("aux_logits"):
        for head in set(_AUXILIARY).intersection(dict(net.named_children())):
            setattr(net, head, None)
        if "aux_logits" in vars(net):
            vars(net)["aux_logits"] = False
    return net


def convert(weights: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor] | None:
    """The weights without those of auxiliary heads that the net lacks."""
    dropped = tuple(f"{head}." for head in _AUXILIARY if getattr(net, head, None) is None)
    return {name: value for name, value in weights.items() if not name.startswith(dropped)}


def preprocessing(name: str, net: nn.Module, model_args: dict[str, Any]) -> Preprocessing:
    """The preprocessing that the weights of the net were trained with; without a tag, torchvision's default weights."""
    preset = _weights(name).transforms()
    result = Preprocessing(
        size=preset.crop_size[0],
        interpolation=preset.interpolation.value,
        crop_pct=preset.crop_size[0] / preset.resize_size[0],
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
    sizes = [model_args[argument] for argument in ("image_size", "input_size") if argument in model_args]
    return result.with_size(sizes[0]) if sizes else result


def _weights(name: str) -> Any:
    from torchvision import models

    net, _, tag = name.partition(".")
    return models.get_model_weights(net)[tag or "DEFAULT"]
