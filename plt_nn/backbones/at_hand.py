"""The pretrained nets whose weights are on this machine, so that no model hub is needed."""

from collections.abc import Iterator

from plt_nn.backbones.create import LIBRARIES
from plt_nn.backbones.packages import installed_packages


def weights_at_hand() -> list[tuple[str, bool | str]]:
    """Pairs of `name` and `pretrained` as `create_backbone` takes them, sorted by name.

    Those of installed packages (`packages.PACKAGES`), and those that timm and torchvision have downloaded before.
    """
    return sorted(dict(_found()).items())


def _found() -> Iterator[tuple[str, bool | str]]:
    for library, nets in LIBRARIES.items():
        yield from ((f"{library}/{name}", True) for name in nets.cached())
    for pretrained, names in installed_packages().items():
        yield from ((name, pretrained) for name in names)
