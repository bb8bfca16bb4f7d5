"""The versions of the packages that a model needs."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_ALWAYS = ("mlflow", "torch", "numpy", "pandas", "safetensors", "lazy-loader", "pillow")
_OF_IMAGES = ("torchvision", "timm")  # timm has some of the ways of cropping


def versions_used(recipe: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Package -> version, as pip names them, with `python` and `plt-nn`.

    Args:
        recipe: How the net is made.
        kind: What it takes.
    """
    path = str(recipe["class_path"])
    is_backbone = path.endswith("create_backbone") or path.startswith(("timm", "torchvision"))
    packages = [*_ALWAYS, *(_OF_IMAGES if kind == "images" or is_backbone else ())]
    found = {"python": platform.python_version()}
    for name in ["plt-nn", *packages]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a copy of the package that was never installed
            continue
    return found
