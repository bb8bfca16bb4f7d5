"""Frozen means frozen, phases begin where they say, and a resumed run is the run that was never interrupted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from plt_nn import BestLossStopping, FreezingSchedule, Phase
from plt_nn.errors import ConfigError

Make = Callable[[], LightningModule]
Fit = Callable[..., Trainer]
PHASES = [Phase("head"), Phase("last 1 stage", start=2, lr_scale=0.5), Phase("all", start=4, norm="train")]
MOVES = {  # which tensors of the net may change in each phase
    0: ("head",),
    1: ("head", "last.0", "last.1.weight", "last.1.bias"),
    2: ("head", "last", "middle", "stem"),
}


def state(module: LightningModule) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name.removeprefix("model.") for name in before if not torch.equal(before[name], after[name])}


class Watch(Callback):
    """Notes the state at each epoch's start and which modules are in training mode while a batch is computed."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.training: list[set[str]] = []
        self.steps: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.states.append(state(pl_module))
        pl_module.train()  # as a careless user does

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        names = {name for name, module in pl_module.named_modules() if module.training}
        if trainer.global_step % 4 == 0:
            self.training.append(names)


def test_only_what_a_phase_trains_changes_and_the_rest_is_in_eval_mode(stranger: Make, fit: Fit) -> None:
    module, watch = stranger(), Watch()
    fit(module, max_epochs=6, callbacks=[FreezingSchedule(PHASES), watch])
    watch.states.append(state(module))
    for epoch in range(6):
        moved = changed(watch.states[epoch], watch.states[epoch + 1])
        allowed = MOVES[epoch // 2]
        assert moved
        assert all(name.startswith(allowed) for name in moved), (epoch, moved)
        assert any(name.startswith(allowed[-1]) for name in moved), (epoch, moved)
    head_only, last, everything = watch.training[0], watch.training[2], watch.training[4]
    assert "model.head" in head_only
    assert not any(name.startswith(("model.stem", "model.middle", "model.last")) for name in head_only)
    assert "model.last.0" in last
    assert "model.last.1" not in last, "norm: frozen keeps BatchNorm in eval mode in a trained stage as well"
    assert {"model.stem.1", "model.middle.3", "model.last.1"} <= everything


def test_the_net_is_given_back_as_it_was_found(stranger: Make, fit: Fit) -> None:
    module = stranger()
    module.get_parameter("model.stem.0.bias").requires_grad_(False)
    module.get_submodule("model.middle.3").eval()
    before = module.get_parameter("model.stem.0.bias").clone()
    fit(module, max_epochs=5, callbacks=[FreezingSchedule(PHASES)])
    assert torch.equal(module.get_parameter("model.stem.0.bias"), before), "what the user froze stays frozen"
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    resting = [name for name, child in module.named_modules() if not child.training]
    assert frozen == ["model.stem.0.bias"]
    assert resting == ["model.middle.3"]


def test_optimizer_memory_is_taken_only_for_what_is_trained(stranger: Make, fit: Fit) -> None:
    module = stranger()
    trainer = fit(module, max_epochs=1, callbacks=[FreezingSchedule([Phase("head")])])
    (optimizer,) = trainer.optimizers
    assert {id(parameter) for parameter in optimizer.state} == {
        id(p) for p in module.get_submodule("model.head").parameters()
    }
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(module.parameters()))


def test_frozen_layers_save_nothing_for_backward(stranger: Make, fit: Fit) -> None:
    saved: list[int] = []

    class Count(Callback):
        def on_train_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
        ) -> None:
            count = 0

            def pack(tensor: Tensor) -> Tensor:
                nonlocal count
                count += 1
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                pl_module.get_submodule("model")(batch[0])
            if batch_idx == 0:
                saved.append(count)

    fit(
        stranger(),
        max_epochs=3,
        callbacks=[FreezingSchedule([Phase("head"), Phase("last 1 stage", 1), Phase("all", 2)]), Count()],
    )
    head_only, last, everything = saved
    assert head_only == 1, "the head's linear layer saves its input, and nothing before it saves anything"
    assert head_only < last < everything


def test_the_factor_multiplies_with_the_scheduler(stranger: Make, fit: Fit) -> None:
    rates: list[tuple[float, float]] = []

    class Rates(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.optimizers[0].register_step_pre_hook(
                lambda optimizer, args, kwargs: rates.append((optimizer.param_groups[0]["lr"], trainer.global_step))
            )

    fit(stranger(), max_epochs=6, callbacks=[FreezingSchedule(PHASES), Rates()])
    plain = stranger()
    trainer = fit(plain, max_epochs=0)
    expected = torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.AdamW(plain.parameters(), lr=0.01), 10)
    assert trainer.optimizers is not None
    by_epoch = [rate for number, (rate, _) in enumerate(rates) if number % 4 == 0]
    for epoch, rate in enumerate(by_epoch):
        assert rate == pytest.approx(expected.get_last_lr()[0] * {0: 1.0, 1: 0.5, 2: 1.0}[epoch // 2])
        expected.optimizer.step()
        expected.step()


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_a_resumed_run_is_bit_for_bit_the_run_that_was_never_interrupted(
    stranger: Make, fit: Fit, tmp_path: Path, stop: int
) -> None:
    def callbacks() -> list[Callback]:
        return [BestLossStopping(patience=50, dirpath=str(tmp_path)), FreezingSchedule(PHASES)]

    def without_dropout() -> LightningModule:  # Lightning's checkpoints do not hold the random number generators
        module = stranger()
        module.get_submodule("model.middle.3").p = 0.0  # type: ignore[assignment]
        return module

    whole, whole_callbacks = without_dropout(), callbacks()
    fit(whole, max_epochs=7, callbacks=whole_callbacks)
    keep = ModelCheckpoint(tmp_path, "at", enable_version_counter=False)
    fit(without_dropout(), max_epochs=stop, callbacks=[*callbacks(), keep], enable_checkpointing=True)
    resumed, resumed_callbacks = without_dropout(), callbacks()
    fit(resumed, max_epochs=7, callbacks=resumed_callbacks, ckpt_path=tmp_path / "at.ckpt")
    assert changed(state(whole), state(resumed)) == set()
    first, second = whole_callbacks[0], resumed_callbacks[0]
    assert isinstance(first, BestLossStopping)
    assert isinstance(second, BestLossStopping)
    assert first.progress == second.progress


def test_a_module_of_several_children_is_divided_as_it_stands(fit: Fit) -> None:
    class TwoParts(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
            self.classifier = nn.Linear(8, 1)

        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            return nn.functional.mse_loss(self.classifier(self.backbone(batch[0])), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    module = TwoParts()
    before = state(module)
    fit(module, max_epochs=1, callbacks=[FreezingSchedule([Phase("head")])])
    assert changed(before, state(module)) == {"classifier.weight", "classifier.bias"}


def test_validate_freezes_nothing(stranger: Make, fit: Fit) -> None:
    module = stranger()
    trainer = fit(module, max_epochs=1, callbacks=[FreezingSchedule([Phase("head")])])
    trainer.validate(module, trainer.val_dataloaders, verbose=False)
    assert all(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (lambda: FreezingSchedule([Phase("last 9 stages")]), "this net has 3 before its head"),
        (lambda: FreezingSchedule([Phase("haed")]), "Did you mean 'head'"),
        (lambda: FreezingSchedule([Phase("head")], net="modle"), "Did you mean 'model'"),
    ],
)
def test_a_schedule_that_does_not_fit_the_net_is_refused(
    stranger: Make, fit: Fit, schedule: Callable[[], FreezingSchedule], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        fit(stranger(), max_epochs=1, callbacks=[schedule()])
    assert message in str(caught.value)


def test_what_no_optimizer_holds_cannot_be_trained(stranger: Make, fit: Fit) -> None:
    module = stranger()
    module.configure_optimizers = lambda: torch.optim.SGD(  # type: ignore[method-assign]
        module.get_submodule("model.head").parameters(), lr=0.1
    )
    with pytest.raises(ConfigError, match=r"that the schedule trains are in no optimizer: model\.stem\.0\.weight"):
        fit(module, max_epochs=1, callbacks=[FreezingSchedule([Phase("all")])])
