"""Weights that cannot be used: nothing in the file is run, and the file and the way out are named."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

Call = Callable[..., subprocess.CompletedProcess[str]]
Tiny = Callable[..., Path]


class Code:
    """What is run when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("the code has run"),)


def write_weights(kind: str) -> str:
    if kind == "of another net":
        save_file({"net.weight": torch.zeros(3)}, "other.safetensors")
        return "other.safetensors"
    if kind == "text":
        Path("text.safetensors").write_text("no weights")
        return "text.safetensors"
    if kind == "text in a checkpoint":
        Path("text.ckpt").write_text("no weights")
        return "text.ckpt"
    if kind == "code":
        torch.save({"state_dict": Code()}, "code.ckpt")
        return "code.ckpt"
    return {"missing": "nowhere.safetensors", "missing checkpoint": "nowhere.ckpt"}[kind]


UNUSABLE = {
    "of another net": "does not fit this Classifier",
    "text": "is not a safetensors file",
    "missing": "no file nowhere.safetensors",
    "missing checkpoint": "nowhere.ckpt",
    "text in a checkpoint": "text.ckpt",
    "code": "code.ckpt",
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_weights_that_cannot_be_used(kind: str, tiny: Tiny, call: Call, here: Path) -> None:
    file = write_weights(kind)
    done = call("validate", "--config", tiny(), "--ckpt_path", file)
    assert not (here / "the code has run").exists()
    assert done.returncode in (1, 2)
    assert UNUSABLE[kind] in done.stderr
    assert "Traceback" not in done.stderr


def test_resuming_from_a_checkpoint_that_is_not_there_does_not_begin_anew(tiny: Tiny, call: Call, store: Path) -> None:
    done = call("fit", "--config", tiny(), "--ckpt_path", "last")
    assert done.returncode in (1, 2)
    assert "last" in done.stderr
