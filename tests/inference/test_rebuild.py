import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from plt_nn.backbones import backbone_info
from plt_nn.errors import ConfigError, WeightsError
from plt_nn.inference.own_sources import make_importable, own_sources
from plt_nn.inference.rebuild import TRUSTED, rebuild, without_downloads

OWN = """
from pathlib import Path
from torch import nn
Path("imported").touch()
class Wrapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
"""
BACKBONE: dict[str, Any] = {
    "class_path": "plt_nn.create_backbone",
    "init_args": {"name": "torchvision/mobilenet_v3_small", "pretrained": True, "num_classes": None},
}


@pytest.mark.parametrize(
    ("class_path", "arguments"),
    [
        ("os.system", {"command": "touch imported"}),
        ("builtins.eval", {"source": "1"}),
        ("torch.os.system", {"command": "touch imported"}),
        ("torch.hub.load", {"repo_or_dir": "a/b", "model": "c"}),
        ("torch.load", {"f": "model.pt"}),
        ("torchvision.models.get_weight", {"name": "ResNet50_Weights.DEFAULT"}),
        ("plt_nn.cli.main.main", {"argv": []}),
        ("torch.nn.Lineer", {}),
        ("nothing", {}),
    ],
)
def test_nothing_is_called_that_makes_no_net(
    class_path: str, arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError):
        rebuild({"class_path": class_path, "init_args": arguments})
    assert not Path("imported").exists()


def test_a_backbone_is_made_without_a_download_and_with_the_classes_of_the_data() -> None:
    recipe = without_downloads(BACKBONE, 7)
    net = rebuild(recipe)
    info = backbone_info(net)
    assert info is not None
    assert info.pretrained is False
    assert net.get_submodule("classifier.3").out_features == 7
    nested = without_downloads({"class_path": "torch.nn.Sequential", "init_args": {"args": [BACKBONE]}}, None)
    assert nested["init_args"]["args"][0]["init_args"]["pretrained"] is False


def test_a_class_of_the_users_own_is_imported_only_if_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_nets_of_a_user.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    inner = {"class_path": "torch.nn.Linear", "init_args": {"in_features": 2, "out_features": 1}}
    recipe = {"class_path": "own_nets_of_a_user.Wrapped", "init_args": {"inner": inner}}
    with pytest.raises(WeightsError, match="--trust own_nets_of_a_user"):
        rebuild(recipe)
    assert not Path("imported").exists()
    net = rebuild(recipe, ["own_nets_of_a_user"])
    assert isinstance(net.get_submodule("inner"), nn.Linear)
    assert own_sources(recipe, TRUSTED) == {"own_nets_of_a_user": {"own_nets_of_a_user.py": OWN}}
    del sys.modules["own_nets_of_a_user"]


def test_what_cannot_be_taken_along_says_so() -> None:
    with pytest.raises(ConfigError, match="in the script that is run"):
        own_sources({"class_path": "__main__.Net"}, TRUSTED)
    with pytest.raises(ConfigError, match="'math', of which there is no Python file"):
        own_sources({"class_path": "math.Net"}, TRUSTED)


def test_what_a_module_imports_of_the_files_beside_it_is_taken_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package_of_a_user"
    package.mkdir()
    texts = {
        "nets_of_two_files.py": "import json, torch\nfrom package_of_a_user.inner import Net\n",
        "package_of_a_user/__init__.py": "",
        "package_of_a_user/inner.py": "from torch import nn\nimport far_of_a_user\nNet = nn.Linear\n",
        "far_of_a_user.py": "",
    }
    for name, text in {**texts, "other_of_a_user.py": "1 / 0"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    assert own_sources({"class_path": "nets_of_two_files.Net"}, TRUSTED) == {"nets_of_two_files": texts}
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_modules_are_imported_from_their_text_where_there_are_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "meta_path", sys.meta_path.copy())
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    (tmp_path / "here_of_a_user.py").write_text("WHERE = 'file'\n")
    monkeypatch.syspath_prepend(tmp_path)
    texts = {
        "told_of_a_user/__init__.py": "from .inner import WHERE\n",
        "told_of_a_user/inner.py": "from here_of_a_user import WHERE as OTHER\nWHERE = 'text'\n",
        "here_of_a_user.py": "WHERE = 'text'\n",
    }
    count = len(sys.meta_path)
    make_importable(texts)
    make_importable(texts)
    assert len(sys.meta_path) == count + 1
    told = import_module("told_of_a_user")
    assert (told.WHERE, told.inner.OTHER) == ("text", "file")
    with pytest.raises(ModuleNotFoundError):
        import_module("told_of_a_user.nothing")
