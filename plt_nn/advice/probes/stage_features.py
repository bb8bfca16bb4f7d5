"""The features of a net at the end of each of its stages, averaged over the image, in one forward pass."""

from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from plt_nn.backbones import stages
from plt_nn.backbones.heads import classifier_names

LAST = "last feature"


class StageFeatures:
    """Computes the outputs of a net's stages and the input of its classifier, averaged over the image.

    Args:
        net: A net of `create_backbone`; it is set to eval mode.
    """

    def __init__(self, net: nn.Module) -> None:
        self._net = net.eval()
        self._ends = {stage.name: _outermost(stage.modules) for stage in stages(net)[:-1]}
        self._classifier = next(iter(classifier_names(net)), None)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Stage -> features `(N, D)` of images `(N, C, H, W)`, up to `LAST`; a stage that does not run is left out."""
        found: dict[str, Tensor] = {}

        def record(stage: str, value: object) -> None:  # the last output of a stage counts
            tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
            if tensors:
                found[stage] = pooled(tensors[0])

        with ExitStack() as hooks:
            for stage, names in self._ends.items():
                for name in names:
                    at_end = partial(lambda stage, module, inputs, output: record(stage, output), stage)
                    hooks.enter_context(self._net.get_submodule(name).register_forward_hook(at_end))
            if self._classifier:  # "" would be the net itself
                head = self._net.get_submodule(self._classifier)
                hooks.enter_context(head.register_forward_pre_hook(lambda module, inputs: record(LAST, inputs)))
            output = self._net(images)
        found.setdefault(LAST, pooled(output))
        return {name: found[name] for name in (*self._ends, LAST) if name in found}


def pooled(tensor: Tensor) -> Tensor:
    """Features averaged over positions: from `(N, D, H, W)`, `(N, H, W, D)` or tokens `(N, T, D)` to float32 `(N, D)`.

    Args:
        tensor: Features of square images; the dimension of the channels is the one that differs from the other two.
    """
    tensor = tensor.float()
    if tensor.dim() == 4:
        is_last = tensor.shape[1] == tensor.shape[2] != tensor.shape[3]
        return tensor.mean((1, 2) if is_last else (2, 3))
    return tensor.mean(tuple(range(1, tensor.dim() - 1))) if tensor.dim() > 2 else tensor.reshape(len(tensor), -1)


def _outermost(modules: tuple[str, ...]) -> list[str]:
    """The modules that lie in none of the others."""
    return [name for name in modules if not any(name.startswith(f"{other}.") for other in modules)]
