"""Reading files of weights: what is taken, and what is refused."""

import pickle
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from plt_nn.backbones.weights import read_weights
from plt_nn.errors import WeightsError

TENSORS = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}


@pytest.mark.parametrize("suffix", ["pth", "pt", "bin", "ckpt"])
@pytest.mark.parametrize(
    "content",
    [
        TENSORS,
        {"state_dict": TENSORS, "epoch": 3, "args": Namespace(lr=0.1)},
        {"model": TENSORS, "optimizer": {"lr": 0.1}},
        {"state_dict": {"fc.weight": torch.full((2, 3), 5.0)}, "state_dict_ema": TENSORS},
        {f"module.{name}": value for name, value in TENSORS.items()},
        {"state_dict": {f"net._orig_mod.{name}": value for name, value in TENSORS.items()}, "pytorch-lightning": "2"},
    ],
    ids=["plain", "state_dict", "model", "ema", "module", "lightning"],
)
def test_containers_and_wrappers(tmp_path: Path, content: Any, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    torch.save(content, path)
    torch.testing.assert_close(read_weights(path), TENSORS)


def test_safetensors(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "weights.safetensors")
    torch.testing.assert_close(read_weights(tmp_path / "weights.safetensors"), TENSORS)


class _Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return (Path.touch, (self.victim,))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [None, 2, 4])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, protocol: int | None) -> None:
    path, victim = tmp_path / "weights.pth", tmp_path / "victim"
    content = {"state_dict": {"fc.weight": _Attack(victim)}}
    if protocol is None:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(WeightsError, match=r"was refused: .*Nothing in it was executed"):
        read_weights(path)
    assert not victim.exists()
    if protocol is not None:  # the attack is a real one
        pickle.loads(path.read_bytes())
        assert victim.exists()


def test_a_whole_module_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "net.pth")
    with pytest.raises(
        WeightsError, match=r"besides tensors \(torch.nn.modules.linear.Linear\).*torch.save\(net.state"
    ):
        read_weights(tmp_path / "net.pth")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 a damaged archive"])
def test_what_is_not_weights(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"is not a (file of weights|safetensors file), or is"):
        read_weights(path)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_cut_short(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(TENSORS, path)
    else:
        save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(WeightsError, match="incomplete"):
        read_weights(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(3), "holds a Tensor; expected names and tensors"),
        ({"epoch": 3, "net": TENSORS}, "holds no state dict: 2 of 2 entries are not tensors: epoch, net"),
        ({}, "holds no state dict"),
    ],
)
def test_files_without_a_state_dict(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / "weights.pth")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no file of weights at .*missing.pth'\. pretrained takes True"):
        read_weights(tmp_path / "missing.pth")


def test_reading_imports_no_library_of_nets() -> None:
    import subprocess

    code = "import sys, plt_nn.backbones; print({'timm', 'torchvision', 'lightning', 'mlflow'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
