"""Nets built the way a YAML file builds them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn

BuildNet = Callable[..., nn.Module]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Nets this small run many times slower on several threads when other programs want the same cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def build_net() -> BuildNet:
    """Build `plt_nn.architectures.<name>` from plain arguments through jsonargparse, as LightningCLI does."""

    def build(name: str, seed: int = 0, **init_args: Any) -> nn.Module:
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(nn.Module, "net")
        config = parser.parse_object({"net": {"class_path": f"plt_nn.architectures.{name}", "init_args": init_args}})
        torch.manual_seed(seed)
        net: nn.Module = parser.instantiate(config).net
        return net

    return build
