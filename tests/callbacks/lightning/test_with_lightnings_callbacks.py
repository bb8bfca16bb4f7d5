"""A freezing schedule beside what else people use: Lightning's callbacks, its searches, and torch.compile."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EMAWeightAveraging,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn import BestLossStopping, FreezingSchedule, Phase
from plt_nn.errors import TrainingError

Make = Callable[[], LightningModule]
Fit = Callable[..., Trainer]
PHASES = [Phase("head"), Phase("last 1 stage", start=2)]
FROZEN = ("model.stem", "model.middle", "model.last.1.running")


def frozen_state(module: LightningModule) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items() if name.startswith(FROZEN)}


def same(before: dict[str, Tensor], after: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_change_of_what_is_frozen_is_an_error_that_names_it(stranger: Make, fit: Fit) -> None:
    class Careless(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
            if trainer.global_step == 3:
                pl_module.get_parameter("model.stem.0.bias").data += 1e-6

    with pytest.raises(TrainingError, match=r"At the end of phase 0, epoch 2, step 8.*model\.stem\.0\.bias\."):
        fit(stranger(), max_epochs=3, callbacks=[FreezingSchedule(PHASES), Careless()])


def test_a_teacher_that_was_frozen_before_may_change(stranger: Make, fit: Fit) -> None:
    module = stranger()
    module.teacher = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).requires_grad_(False)

    class Follow(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
            with torch.no_grad():
                pl_module.get_submodule("teacher")(torch.randn(8, 4))
                pl_module.get_parameter("teacher.0.weight").add_(0.01)

    fit(module, max_epochs=3, callbacks=[FreezingSchedule(PHASES, net="model"), Follow()])
    assert not torch.equal(module.get_buffer("teacher.1.running_mean"), torch.zeros(4))


def test_averaged_weights_do_not_drift_where_they_are_frozen(stranger: Make, fit: Fit) -> None:
    module, averaging = stranger(), EMAWeightAveraging(decay=0.9)
    before = frozen_state(module)
    fit(module, max_epochs=4, callbacks=[FreezingSchedule(PHASES), averaging])
    assert same(before, frozen_state(module))
    assert averaging._average_model is not None
    averaged = averaging._average_model.module.state_dict()
    assert same(before, averaged)


def test_the_best_of_averaged_weights_is_what_validation_measured(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    stopping = BestLossStopping(patience=20, dirpath=str(tmp_path))
    module = stranger()
    trainer = fit(module, max_epochs=6, callbacks=[FreezingSchedule(PHASES), EMAWeightAveraging(decay=0.8), stopping])
    (measured,) = trainer.validate(module, trainer.val_dataloaders, verbose=False)
    assert measured["val_loss"] == pytest.approx(stopping.progress.best, rel=1e-6)
    assert same(load_file(tmp_path / "best.safetensors"), module.state_dict())


def test_stochastic_weight_averaging_leaves_frozen_statistics_alone(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    module = stranger()
    module.get_buffer("model.stem.1.running_mean").fill_(0.25)  # as if pretrained
    before, head = frozen_state(module), module.get_parameter("model.head.weight").clone()
    averaging = StochasticWeightAveraging(swa_lrs=0.005, swa_epoch_start=2)
    stopping = BestLossStopping(patience=20, dirpath=str(tmp_path), restore=False)
    fit(module, max_epochs=5, callbacks=[averaging, FreezingSchedule(PHASES), stopping])
    assert same(before, frozen_state(module))
    assert averaging._average_model is not None
    averaged = averaging._average_model.get_parameter("model.head.weight")
    assert torch.equal(module.get_parameter("model.head.weight"), averaged)
    assert not torch.equal(module.get_parameter("model.head.weight"), head)


def test_model_checkpoint_keeps_the_best_beside_it(stranger: Make, fit: Fit, tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, "best", monitor="val_loss", enable_version_counter=False)
    stopping = BestLossStopping(patience=20, dirpath=str(tmp_path))
    module = stranger()
    fit(module, max_epochs=5, callbacks=[FreezingSchedule(PHASES), stopping, keep], enable_checkpointing=True)
    kept = torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"]
    assert same(kept, module.state_dict())


class Tunable(LightningModule):
    """A module with a learning rate and a batch size to be found."""

    def __init__(self, make: Make) -> None:
        super().__init__()
        self.model = make().get_submodule("model")
        self.lr, self.batch_size = 1e-4, 4
        self.needing_gradients: list[int] = []
        self.in_training: list[int] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        self.needing_gradients.append(sum(parameter.requires_grad for parameter in self.parameters()))
        self.in_training.append(sum(module.training for module in self.model.modules()))
        return nn.functional.mse_loss(self.model(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)

    def train_dataloader(self) -> DataLoader[Any]:
        x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(x, x.square().sum(1, keepdim=True)), self.batch_size)


def quiet_fit(module: LightningModule, folder: Path, **arguments: Any) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    trainer = Trainer(**{**quiet, "enable_checkpointing": False, "default_root_dir": folder, **arguments})
    trainer.fit(module)
    return trainer


@pytest.mark.parametrize("schedule_first", [True, False])
def test_the_learning_rate_is_searched_for_what_the_first_phase_trains(
    stranger: Make, tmp_path: Path, schedule_first: bool
) -> None:
    module, finder = Tunable(stranger), LearningRateFinder(1e-6, 0.5, 60, early_stop_threshold=None)
    before = frozen_state(module)
    schedule = FreezingSchedule([Phase("head"), Phase("all", start=5)])
    callbacks = [schedule, finder] if schedule_first else [finder, schedule]
    trainer = quiet_fit(module, tmp_path, max_epochs=5, callbacks=callbacks)
    assert len(module.needing_gradients) > trainer.global_step, "there were steps of the search before"
    assert set(module.needing_gradients) == {2}, "in the search and in training: the head alone"
    assert set(module.in_training) == {2}, "the net itself and its head"
    assert finder.optimal_lr is not None
    assert module.lr == finder.optimal_lr.suggestion() != 1e-4
    assert same(before, frozen_state(module))


def test_the_batch_size_is_searched_with_all_that_any_phase_trains(stranger: Make, tmp_path: Path) -> None:
    module, finder = Tunable(stranger), BatchSizeFinder(max_trials=2, init_val=4)
    quiet_fit(module, tmp_path, max_epochs=1, limit_train_batches=3, callbacks=[FreezingSchedule(PHASES), finder])
    assert module.batch_size == 8
    assert set(module.needing_gradients[:-3]) == {14}, "the search trains everything, so that the last phase fits"
    assert module.needing_gradients[-3:] == [2, 2, 2]


@pytest.mark.parametrize("where", ["module", "net"])
def test_a_compiled_net_is_compiled_once_more_at_each_transition(stranger: Make, fit: Fit, where: str) -> None:
    compiled: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        compiled.append(steps[0])
        return graph.forward

    steps = [0]

    class Count(Callback):
        def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
            steps[0] = trainer.global_step

    def without_dropout() -> LightningModule:
        module = stranger()
        module.get_submodule("model.middle.3").p = 0.0  # type: ignore[assignment]
        return module

    torch._dynamo.reset()
    plain, module = without_dropout(), without_dropout()
    if where == "module":
        module.model.compile(backend=backend)  # type: ignore[union-attr]
    else:
        module.model = torch.compile(module.model, backend=backend)  # type: ignore[arg-type, assignment]
    settings = {"max_epochs": 4, "limit_val_batches": 0}
    fit(plain, callbacks=[FreezingSchedule(PHASES)], **settings)
    fit(module, callbacks=[FreezingSchedule(PHASES), Count()], **settings)
    assert sorted(set(compiled)) == [0, 8], "once for each phase"
    states = (dict(plain.named_parameters()), dict(module.named_parameters()))
    for name, parameter in states[0].items():
        torch.testing.assert_close(
            states[1][name.replace("model.", "model._orig_mod.") if where == "net" else name], parameter
        )
