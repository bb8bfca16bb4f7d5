"""Frozen means frozen, phases begin where they say, and a resumed run is the run that was never interrupted."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torchvision.models import resnet18

from plt_nn import BestLossStopping, FreezingSchedule, Phase
from plt_nn.callbacks.freezing.net_stages import net_stages
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
    rates: list[float] = []
    module = stranger()
    own: Any = module.configure_optimizers

    def configure_optimizers() -> Any:  # a hook that is there from the start comes before the schedule's own
        made = own()
        made["optimizer"].register_step_post_hook(
            lambda optimizer, *rest: rates.append(optimizer.param_groups[0]["lr"])
        )
        return made

    module.configure_optimizers = configure_optimizers  # type: ignore[method-assign]
    fit(module, max_epochs=6, callbacks=[FreezingSchedule(PHASES)])
    plain = stranger()
    trainer = fit(plain, max_epochs=0)
    expected = torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.AdamW(plain.parameters(), lr=0.01), 10)
    assert trainer.optimizers is not None
    by_epoch = rates[::4]
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


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU())


class Body(nn.Sequential):
    """Three stages, of which the last ends in a norm."""

    def __init__(self) -> None:
        super().__init__(OrderedDict(stem=layers(), one=layers(), two=layers()))


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (Body, ["backbone.stem", "backbone.one", "backbone.two", "head"]),
        (lambda: nn.Linear(4, 4), ["backbone", "head"]),
        (resnet18, [*(f"backbone.{name}" for name in ("stem", *(f"layer{n}" for n in "1234"), "fc")), "head"]),
    ],
)
def test_a_body_that_has_no_classifier_keeps_its_last_stage_whole(
    body: Callable[[], nn.Module], names: list[str]
) -> None:
    class TwoParts(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.classifier = body(), nn.Linear(4, 4)

    found = net_stages(TwoParts())
    assert [stage.name for stage in found] == names
    held = [name for stage in found for name in stage.parameters]
    assert sorted(held) == sorted(name for name, _ in TwoParts().named_parameters())


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
        (lambda: FreezingSchedule([Phase("last 2 stagse")]), "Did you mean 'last 2 stages'"),
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


def test_what_a_checkpoint_said_to_validate_is_not_for_the_next_fit(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    phases = [Phase("head"), Phase("all", start="plateau", patience=1)]
    keep = ModelCheckpoint(tmp_path, "at", enable_version_counter=False)
    schedule = FreezingSchedule(phases)
    trainer = fit(stranger(), max_epochs=3, callbacks=[schedule, keep], enable_checkpointing=True)
    module = stranger()
    trainer.validate(module, trainer.val_dataloaders, ckpt_path=tmp_path / "at.ckpt", verbose=False, weights_only=True)
    assert schedule._restored is None


@pytest.mark.parametrize("hook", ["on_fit_start", "on_train_start"])
def test_what_the_module_freezes_itself_as_training_starts_stays_frozen(stranger: Make, fit: Fit, hook: str) -> None:
    module = stranger()
    setattr(module, hook, lambda: module.get_submodule("model.stem").requires_grad_(False) and None)
    before = module.get_parameter("model.stem.0.weight").clone()
    fit(module, max_epochs=3, callbacks=[FreezingSchedule([Phase("head"), Phase("all", start=1)])])
    assert torch.equal(module.get_parameter("model.stem.0.weight"), before)


def test_train_called_in_a_step_is_undone_before_the_forward_pass(stranger: Make, fit: Fit) -> None:
    module, modes = stranger(), []

    def on_train_batch_start(batch: Any, batch_idx: int) -> None:
        module.train()

    module.on_train_batch_start = on_train_batch_start  # type: ignore[method-assign]
    dropout = module.get_submodule("model.middle.3")
    dropout.register_forward_hook(lambda part, inputs, output: modes.append(part.training))
    fit(module, max_epochs=1, callbacks=[FreezingSchedule([Phase("head")])], limit_val_batches=0)
    assert modes == [False] * 4


def test_a_checkpoint_saved_after_the_fit_holds_the_plateau(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    def constant(epochs: int, ckpt: Path | None = None) -> tuple[Trainer, FreezingSchedule]:
        module = stranger()

        def validation_step(batch: list[Tensor], batch_idx: int) -> None:
            module.log("val_loss", 1.0)

        module.validation_step = validation_step  # type: ignore[method-assign]
        schedule = FreezingSchedule([Phase("head"), Phase("all", start="plateau", patience=3)])
        return fit(module, ckpt_path=ckpt, max_epochs=epochs, callbacks=[schedule], num_sanity_val_steps=0), schedule

    trainer, _ = constant(2)
    trainer.save_checkpoint(tmp_path / "after.ckpt")
    assert constant(4, tmp_path / "after.ckpt")[1].current == 0
    assert constant(5, tmp_path / "after.ckpt")[1].current == 1


def test_a_phase_in_which_nothing_requires_gradients_is_refused(stranger: Make, fit: Fit) -> None:
    module = stranger()
    module.get_submodule("model.head").requires_grad_(False)
    with pytest.raises(ConfigError, match=r"Phase 0 trains nothing: all that 'head' selects \(model\.head\.bias"):
        fit(module, max_epochs=1, callbacks=[FreezingSchedule([Phase("head"), Phase("all", start=1)])])


def test_early_stopping_that_comes_before_a_plateau_is_told(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    schedule = FreezingSchedule([Phase("head"), Phase("all", start="plateau", patience=3)])
    stopping = BestLossStopping(patience=3, dirpath=str(tmp_path))
    with pytest.raises(
        UserWarning, match="it waits for 3 checks without improvement of val_loss, and BestLossStopping"
    ):
        fit(stranger(), max_epochs=1, callbacks=[schedule, stopping])


def test_a_scheduler_stepped_in_the_training_step_is_seen(stranger: Make, fit: Fit) -> None:
    module = stranger()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    module.configure_optimizers = lambda: optimizer  # type: ignore[method-assign]
    own = module.training_step

    def training_step(batch: list[Tensor], batch_idx: int) -> Any:
        scheduler.step()
        return own(batch, batch_idx)

    module.training_step = training_step  # type: ignore[method-assign]
    fit(module, max_epochs=1, callbacks=[FreezingSchedule([Phase("head", lr_scale=1e-6)])])
    assert [group["lr"] for group in optimizer.param_groups] == [0.0625] * 4


def test_the_plan_is_logged_as_it_was_before_any_freezing(
    stranger: Make, fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: dict[str, str] = {}
    recorder = SimpleNamespace(log_text=lambda text, name: texts.update({name: text}), log_tags=lambda found: None)
    monkeypatch.setattr("plt_nn.callbacks.freezing.schedule_log.run_loggers", lambda trainer: [recorder])
    module = stranger()
    fit(module, max_epochs=1, callbacks=[FreezingSchedule(PHASES)])
    plan = texts["freezing_plan.md"]
    assert plan.startswith(f"{sum(p.numel() for p in module.parameters()):,} parameters in ")
    assert "Note: FLOPs cannot be counted. Stranger" in plan, "it has no forward"
    assert plan.count("#### Phase ") == 3
    (last,) = [line for line in plan.splitlines() if line.startswith("| 2 all | epoch 4 | ")]
    assert "(100%) | 0 | unknown | unknown |" in last
