"""The module by which MLflow loads a model. It is in the model's `code/`, beside `carried/`, a part of plt_nn.

An installed plt_nn is used if there is one, so that the part in the model never hides it.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Any:
    if find_spec("plt_nn") is None:
        sys.path.append(str(Path(path) / "code" / "carried"))
    if find_spec("plt_nn.inference") is None:
        raise ImportError("The plt_nn that is installed is older than this model: update it.")
    from plt_nn.inference.pyfunc import load

    return load(path, model_config)
