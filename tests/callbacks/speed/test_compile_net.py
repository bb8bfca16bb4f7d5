"""Compiling what each phase computes, with features kept and without."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from plt_nn import Phase
from plt_nn.callbacks import CompileNet
from plt_nn.errors import ConfigError, TrainingError
from plt_nn.features.costs import Costs
from tests import warm
from tests.callbacks.feature_cache.cached_fits import Computed, Pictures, cache, fit, same

AOT = "aot_eager"  # compiles graphs and their gradients, and needs no compiler of C++


class Still(Pictures):
    """Without dropout, whose random numbers a compiler draws in its own way."""

    def __init__(self) -> None:
        super().__init__()
        last = self.backbone[1]
        assert isinstance(last, nn.Sequential)
        last[3] = self.head[0] = nn.Identity()


class Compiled(Callback):
    """Counts the graphs that were compiled, and the phases in which that was so."""

    def __init__(self) -> None:
        self.graphs: list[int] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.graphs.append(sum(torch._dynamo.utils.counters["frames"].values()))


@pytest.fixture(autouse=True)
def compiler() -> Iterator[None]:
    """Nothing that another test has compiled, and always features where it is asked for them."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with patch.object(Costs, "pays", return_value=True):
        yield
    torch._dynamo.reset()


def close_to(losses: list[float]) -> Any:
    return pytest.approx(losses, rel=1e-3, abs=1e-5)


QUICK: Any = {
    "phases": (Phase("head"), Phase("last 1 stages", start=1, lr_scale=0.5), Phase("all", start=3, lr_scale=0.1)),
    "max_epochs": 4,
}


@pytest.mark.parametrize("keeps", [False, True])
def test_each_phase_is_compiled_and_comes_to_the_same(keeps: bool, tmp_path: Path) -> None:
    plain, _ = fit(None, Still(), **QUICK)
    seen, limit = Compiled(), torch._dynamo.config.recompile_limit
    with Computed() as computed:
        kept = cache(tmp_path) if keeps else None
        losses, module = fit(kept, Still(), callbacks=(CompileNet(backend=AOT), seen), **QUICK)
    assert losses == close_to(plain)
    assert computed.samples > 0 if keeps else computed.samples == 0
    assert seen.graphs[0] > 0
    assert seen.graphs[0] < seen.graphs[1] < seen.graphs[3]  # anew in the second and the third phase
    assert seen.graphs[1] == seen.graphs[2]  # and in no other epoch
    assert "forward" not in vars(module.backbone)  # given back
    assert torch._dynamo.config.recompile_limit == limit
    names = Pictures().state_dict().keys()
    assert module.state_dict().keys() == names


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_inductor(tmp_path: Path) -> None:
    short: Any = {"phases": (Phase("head"), Phase("last 1 stages", start=1)), "max_epochs": 2}
    plain, _ = fit(None, Still(), **short)
    losses, _ = fit(cache(tmp_path), Still(), callbacks=(CompileNet(net="backbone"),), **short)
    assert losses == close_to(plain)


def test_it_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    def half(epochs: int, ckpt_path: Path | None = None) -> LightningModule:
        keeper = ModelCheckpoint(tmp_path, filename="last", enable_version_counter=False)
        more: Any = {"enable_checkpointing": True, "phases": QUICK["phases"][:2], "max_epochs": epochs}
        parts = (CompileNet(backend=AOT), keeper)
        return fit(cache(tmp_path), Still(), callbacks=parts, ckpt_path=ckpt_path, **more)[1]

    whole = half(3)
    half(2)
    resumed = half(3, tmp_path / "last.ckpt")
    assert same(whole, resumed)


@pytest.mark.multiprocess
def test_two_processes_stay_the_same(tmp_path: Path) -> None:
    done = warm.run_ranks(2, [Path(__file__).parents[1] / "feature_cache" / "cached_fits.py", tmp_path, "compile net"])
    assert done.returncode == 0, done.stderr[-3000:]
    one, other = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert one["weights"] == other["weights"]
    assert one["cached"] == close_to(one["plain"])
    assert one["again"] == one["cached"]
    assert one["computed"][0] > 0
    assert one["computed"][1] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mode": "fastest"}, "mode is 'fastest'; expected one of None, default, "),
        ({"backend": "inducter"}, "backend is 'inducter'; expected one of .*inductor"),
        ({"net": "head2"}, "has no net with parameters in an attribute 'head2'; expected one of backbone, head"),
    ],
)
def test_what_cannot_be_used_is_told(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        fit(None, Still(), callbacks=(CompileNet(**arguments),))


def test_a_net_that_is_compiled_already() -> None:
    module = Still()
    module.backbone.compile(backend=AOT)
    with pytest.raises(ConfigError, match="compiled already"):
        fit(None, module, callbacks=(CompileNet(backend=AOT),))


def test_lightnings_own_compiled_module_is_refused() -> None:
    module: Any = torch.compile(Still(), backend=AOT)
    with pytest.raises(ConfigError, match="compiled already"):
        fit(None, module, callbacks=(CompileNet(backend=AOT),))


class Stranger(Still):
    """Has its parts in a container, and gives them their inputs by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({"backbone": self.backbone, "head": self.head})
        del self.backbone, self.head

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        features = self.parts["backbone"](input=batch[0])
        return nn.functional.cross_entropy(self.parts["head"](input=features), batch[1])


class Aside(Still):
    """Calls the parts of its backbone, and never the backbone."""

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x = batch[0]
        for part in self.backbone:
            x = part(x)
        return nn.functional.cross_entropy(self.head(x), batch[1])


ONE = (Phase("all"),)


def test_parts_in_a_container_with_inputs_by_keyword() -> None:
    plain, _ = fit(None, Stranger(), ONE, max_epochs=2)
    seen = Compiled()
    losses, _ = fit(None, Stranger(), ONE, callbacks=(CompileNet(backend=AOT), seen), max_epochs=2)
    assert losses == close_to(plain)
    assert seen.graphs[-1] > 0


def test_a_net_that_is_never_called_is_told() -> None:
    with pytest.warns(
        UserWarning, match="nothing is compiled, because the training step of Aside does not call Sequential"
    ):
        fit(None, Aside(), ONE, callbacks=(CompileNet(net="backbone", backend=AOT),), max_epochs=1)


def test_what_is_not_to_be_compiled_is_not_compiled_behind_its_features_either(tmp_path: Path) -> None:
    with patch.object(torch, "compile", side_effect=torch.compile) as compile_it:
        callback = CompileNet(net="head", backend=AOT)
        fit(cache(tmp_path), Still(), callbacks=(callback,), phases=QUICK["phases"][:2], max_epochs=2)
    names = [type(call.args[0].__self__).__name__ for call in compile_it.call_args_list]
    assert names == ["Sequential"]


class Breaks(Callback):
    """Ends the fit in its second epoch."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise KeyError("broken")


def test_nothing_is_left_of_it_after_an_exception(tmp_path: Path) -> None:
    module = Still()
    with pytest.raises(KeyError, match="broken"):
        fit(cache(tmp_path), module, callbacks=(CompileNet(backend=AOT), Breaks()))
    assert "forward" not in vars(module.backbone)
    assert "forward" not in vars(module.head)


def test_the_nets_own_fault_is_told_in_its_own_words() -> None:
    module = Still()
    module.head[1] = nn.Linear(31, 3)
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        fit(None, module, callbacks=(CompileNet(backend=AOT),))


def test_without_a_compiler_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder

    def missing() -> str:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", missing)
    monkeypatch.setattr(torch._inductor.config, "force_disable_caches", True)
    module = Still()
    with pytest.raises(TrainingError, match=r"cannot be compiled here .*C\+\+ compiler.*needs a C\+\+ compiler"):
        fit(None, module, callbacks=(CompileNet(),))
    assert "forward" not in vars(module.backbone)
