"""The figures are those of the right validation, its numbers are right, and they never stand in a run's way."""

import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from plt_nn import (
    MLP,
    BestLossStopping,
    Classifier,
    ConvNet,
    DigitsData,
    FreezingSchedule,
    ImageFolderData,
    Phase,
    Regressor,
    SyntheticRegressionData,
)
from plt_nn.callbacks import ValidationFigures
from plt_nn.callbacks.validation.class_results import (
    ClassOutputs,
    RunningResults,
    class_outputs,
    images_of,
    worst_of_all,
)
from plt_nn.errors import ConfigError
from plt_nn.features.lazy_inputs import LazyInputs
from plt_nn.plots.figures import calibration_error
from tests import warm

JOB = Path(__file__).with_name("figures_job.py")
job = SimpleNamespace(**runpy.run_path(str(JOB)))
CLASS_FIGURES = ["calibration", "confusion_matrix", "most_wrong"]


def names(*figures: str) -> list[str]:
    return sorted(f"figures/{name}.png" for name in figures)


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., Any]:
    """Fits a module on data with a logger that records, which is returned."""

    def run(module: LightningModule, data: Any = None, ckpt_path: Path | None = None, **arguments: Any) -> Any:
        quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        quiet |= {"enable_checkpointing": False, "default_root_dir": tmp_path, "log_every_n_steps": 1}
        settings = quiet | {"logger": job.RecordingLogger()} | arguments
        trainer = Trainer(**settings)
        trainer.fit(module, data, ckpt_path=ckpt_path)
        return trainer.logger

    return run


class Scripted(LightningModule):
    """Logs the losses it is given, a validation each, and says class 0 of as many samples as there have been epochs."""

    def __init__(self, losses: list[float], train_losses: list[float] | None = None) -> None:
        super().__init__()
        self.net = nn.Linear(1, 2)
        self.losses, self.train_losses, self.ends_at = losses, train_losses, 99

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        if self.current_epoch == self.ends_at:
            raise KeyboardInterrupt
        loss: Tensor = self.net(batch[1].float().view(-1, 1)).mean() * 0.0 + 1.0
        return loss

    def on_train_epoch_end(self) -> None:
        values = self.train_losses or [float(self.current_epoch)] * (self.current_epoch + 1)
        self.log("train_loss", values[self.current_epoch])

    def validation_step(self, batch: list[Tensor], batch_idx: int, dataloader_idx: int = 0) -> Any:
        said = torch.ones(len(batch[1]))
        said[: self.current_epoch] = 0
        if dataloader_idx == 0:
            self.log("val_loss", self.losses[self.current_epoch], add_dataloader_idx=False, batch_size=1)
        return {"logits": torch.stack([1 - said, said], dim=1) * 4, "y": batch[1]}

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(torch.rand(8, 1, 4, 4), torch.ones(8, dtype=torch.int64)), 8)

    val_dataloader = train_dataloader


def zeros_said(callback: ValidationFigures) -> int:
    """How many samples were said to be of class 0 in the validation that is shown: the epoch of `Scripted`."""
    shown = callback.state_dict()["shown"]
    return int(shown["sums"]["confusion"][:, 0].sum())


class Collected(Callback):
    """All outputs of the last validation."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, Tensor]] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.outputs = []

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self.outputs.append(args[0] | {"x": args[1].x})

    def all(self, name: str) -> Tensor:
        return torch.cat([outputs[name] for outputs in self.outputs])


def test_the_numbers_are_those_of_all_outputs(fit: Callable[..., Any]) -> None:
    figures, collected = ValidationFigures(worst=12), Collected()
    logger, callbacks = job.RecordingLogger(draws=True), [figures, collected]
    fit(Classifier(ConvNet(1, [4, 8], 10)), DigitsData(batch_size=50), max_epochs=2, logger=logger, callbacks=callbacks)
    assert sorted(logger.figures) == names(*CLASS_FIGURES, "learning_curves")
    shown = figures.state_dict()["shown"]
    assert (shown["epoch"], shown["position"]) == (1, 2.0)
    probabilities, y, x = (collected.all(name) for name in ("probabilities", "y", "x"))
    said = probabilities.argmax(1)
    assert np.array_equal(shown["sums"]["confusion"], confusion_matrix(y, said, labels=range(10)))
    bins = shown["sums"]["bins"].numpy()
    assert bins[0].sum() == len(y)
    ((_, logged),) = figures.state_dict()["curves"]["validation"]["val_ece"][-1:]
    assert calibration_error(bins) == pytest.approx(logged, abs=1e-6)
    of_true = probabilities.gather(1, y.unsqueeze(1)).squeeze(1)
    order = torch.where(said == y, torch.inf, of_true).argsort()[:12]
    worst = shown["sums"]["worst"]
    assert worst[:, 4].tolist() == collected.all("index")[order].tolist()
    assert torch.equal(worst[:, 1:3].long(), torch.stack([y[order], said[order]], dim=1))
    assert torch.allclose(worst[:, 3].float(), probabilities.max(1).values[order])
    for pixels, image in zip(shown["sums"]["pixels"], x[order], strict=True):
        low, high = image.min(), image.max()
        assert torch.equal(pixels, ((image - low) / (high - low) * 255).round().byte())


@pytest.mark.parametrize("figures_first", [True, False])
def test_the_best_is_shown_whichever_callback_comes_first(fit: Callable[..., Any], figures_first: bool) -> None:
    figures, stopping = ValidationFigures(), BestLossStopping(patience=9)
    callbacks = [figures, stopping] if figures_first else [stopping, figures]
    logger = fit(Scripted([0.9, 0.5, 0.2, 0.6, 0.7]), max_epochs=5, callbacks=callbacks)
    assert zeros_said(figures) == 2
    title = logger.figures["figures/confusion_matrix.png"].get_suptitle()
    assert title.splitlines()[1] == "validation of the best val_loss, 0.2 at epoch 2, step 3"
    title = logger.figures["figures/learning_curves.png"].get_suptitle()
    assert "dotted, after 3 epochs: best val_loss, 0.2 at epoch 2, step 3" in title


def test_the_best_by_a_metric_of_training(fit: Callable[..., Any]) -> None:
    figures = ValidationFigures()
    stopping = BestLossStopping(monitor="train_loss", patience=9)
    module = Scripted([0.0] * 4, train_losses=[0.9, 0.1, 0.8, 0.7])
    fit(module, max_epochs=4, callbacks=[figures, stopping])
    assert zeros_said(figures) == 1


def test_a_best_that_was_not_validated_shows_the_last(fit: Callable[..., Any]) -> None:
    figures = ValidationFigures()
    stopping = BestLossStopping(monitor="train_loss", patience=9)
    module = Scripted([0.0] * 4, train_losses=[0.9, 0.8, 0.1, 0.7])
    logger = fit(module, max_epochs=4, callbacks=[figures, stopping], check_val_every_n_epoch=2)
    assert zeros_said(figures) == 3
    told = logger.figures["figures/calibration.png"].get_suptitle()
    assert "the last validation, at epoch 3, step 4" in told


def test_without_early_stopping_the_last_is_shown(fit: Callable[..., Any]) -> None:
    figures = ValidationFigures(worst=0)
    logger = fit(Scripted([0.9, 0.5, 0.2, 0.6, 0.7]), max_epochs=5, callbacks=[figures])
    assert zeros_said(figures) == 4
    assert sorted(logger.figures) == names("calibration", "confusion_matrix", "learning_curves")


def test_the_curves_have_every_epoch(fit: Callable[..., Any]) -> None:
    figures = ValidationFigures()
    fit(Scripted([0.9, 0.5, 0.2]), max_epochs=3, callbacks=[figures])
    curves = figures.state_dict()["curves"]
    assert curves["training"] == {"train_loss": [(1.0, 0.0), (2.0, 1.0), (3.0, 2.0)]}
    assert [at for at, _ in curves["validation"]["val_loss"]] == [1.0, 2.0, 3.0]
    assert [value for _, value in curves["validation"]["val_loss"]] == pytest.approx([0.9, 0.5, 0.2])


def test_validations_within_an_epoch_are_placed_there(fit: Callable[..., Any]) -> None:
    figures = ValidationFigures()
    module, data = Classifier(MLP(64, [8], 10)), DigitsData(layout="flat", batch_size=360)
    fit(module, data, max_epochs=1, val_check_interval=0.5, callbacks=[figures])
    assert [at for at, _ in figures.state_dict()["curves"]["validation"]["val_acc"]] == [0.5, 1.0]


@pytest.mark.parametrize("case", ["regressor", "no validation"])
def test_without_classes_there_are_the_learning_curves(fit: Callable[..., Any], case: str) -> None:
    if case == "regressor":
        logger = fit(
            Regressor(MLP(2, [4], 1)), SyntheticRegressionData(), max_epochs=2, callbacks=[ValidationFigures()]
        )
    else:
        logger = fit(Scripted([0.0] * 2), max_epochs=2, limit_val_batches=0, callbacks=[ValidationFigures()])
    assert sorted(logger.figures) == names("learning_curves")


def test_an_interrupted_fit_has_the_figures_of_what_there_was(fit: Callable[..., Any]) -> None:
    module, figures, logger = Scripted([0.9, 0.5, 0.2, 0.6]), ValidationFigures(), job.RecordingLogger()
    module.ends_at = 2
    with pytest.raises(SystemExit):
        fit(module, max_epochs=4, logger=logger, callbacks=[figures])
    assert zeros_said(figures) == 1
    assert sorted(logger.figures) == names("calibration", "confusion_matrix", "most_wrong", "learning_curves")
    assert len(figures.state_dict()["curves"]["training"]["train_loss"]) == 2


def test_a_fit_that_measured_nothing_has_no_figures(fit: Callable[..., Any]) -> None:
    module, logger = Scripted([0.9]), job.RecordingLogger()
    module.ends_at = 0
    with pytest.raises(SystemExit):
        fit(module, max_epochs=4, logger=logger, callbacks=[ValidationFigures()])  # the sanity check does not count
    assert logger.figures == {}


class FailsAtTheEnd(Callback):
    """An error after the figures are drawn."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        raise ValueError("the end")


def test_an_error_at_the_end_does_not_log_them_twice(fit: Callable[..., Any]) -> None:
    logger = job.RecordingLogger()
    with pytest.raises(ValueError, match="the end"):
        fit(Scripted([0.9]), max_epochs=1, logger=logger, callbacks=[ValidationFigures(), FailsAtTheEnd()])
    assert len(logger.figures) == 3, "nothing was said wrong"


def test_a_figure_that_cannot_be_drawn_is_a_warning(fit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise RuntimeError("no such font")

    monkeypatch.setattr("plt_nn.callbacks.validation.class_drawings.calibration_figure", fails)
    with pytest.warns(UserWarning, match=r"figures/calibration\.png could not be written: RuntimeError: no such font"):
        logger = fit(Scripted([0.9, 0.5]), max_epochs=2, callbacks=[ValidationFigures()])
    assert sorted(logger.figures) == names("confusion_matrix", "most_wrong", "learning_curves")


def test_a_missing_matplotlib_is_a_warning(fit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.warns(UserWarning, match="could not be written: ModuleNotFoundError"):
        logger = fit(Scripted([0.9]), max_epochs=1, callbacks=[ValidationFigures()])
    assert logger.figures == {}


def test_without_a_logger_for_figures_nothing_is_done(fit: Callable[..., Any]) -> None:
    figures = ValidationFigures()
    fit(Scripted([0.9, 0.5]), max_epochs=2, logger=False, callbacks=[figures])
    state = figures.state_dict()
    assert state["shown"] is None
    assert state["curves"] == {"validation": {}, "training": {}}


def test_a_validation_after_the_fit_is_not_shown(fit: Callable[..., Any], tmp_path: Path) -> None:
    figures, module = ValidationFigures(), Scripted([0.9, 0.5])
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=job.RecordingLogger(),
        callbacks=[figures],
        enable_checkpointing=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module)
    module.losses += [0.1]
    before = figures.state_dict()["curves"]["validation"]["val_loss"]
    trainer.validate(module, verbose=False)
    assert figures.state_dict()["curves"]["validation"]["val_loss"] == before


def test_only_the_first_of_several_loaders_is_shown(fit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    figures, module = ValidationFigures(), Scripted([0.9])
    loader = module.train_dataloader()
    monkeypatch.setattr(Scripted, "val_dataloader", lambda self: [loader, loader])
    fit(module, max_epochs=1, callbacks=[figures])
    assert int(figures.state_dict()["shown"]["sums"]["confusion"].sum()) == 8


def test_the_phases_are_noted_where_they_begin(fit: Callable[..., Any]) -> None:
    figures = ValidationFigures()
    schedule = FreezingSchedule([Phase("head"), Phase("all", start="6 steps")])
    module, data = Classifier(MLP(64, [8], 10)), DigitsData(layout="flat", batch_size=360)
    logger = fit(module, data, max_epochs=3, callbacks=[figures, schedule])
    assert figures.state_dict()["phases"] == [(0.0, 0), (1.5, 1)]
    assert "phase 1 from 1.5" in logger.figures["figures/learning_curves.png"].get_suptitle()


def resumable(folder: Path) -> list[Callback]:
    return [
        ValidationFigures(worst=5),
        FreezingSchedule([Phase("head"), Phase("all", start=2)]),
        BestLossStopping(monitor="val_ece", patience=9, dirpath=str(folder)),
    ]


def differing(first: Any, second: Any, at: str = "") -> list[str]:
    """Where two states differ."""
    if isinstance(first, Tensor):
        return [] if torch.equal(first, second) else [f"{at}: {first} and {second}"]
    if isinstance(first, dict) and first.keys() == second.keys():
        return [where for key, value in first.items() for where in differing(value, second[key], f"{at}/{key}")]
    if isinstance(first, list | tuple) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [where for number, pair in pairs for where in differing(*pair, f"{at}/{number}")]
    return [] if first == second else [f"{at}: {first} and {second}"]


def started(callbacks: list[Callback], ckpt_path: Path | None = None) -> dict[str, str]:
    """The titles of the figures of a fit that checks validation twice an epoch."""
    torch.manual_seed(0)
    logger = job.RecordingLogger()
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    quiet |= {"enable_checkpointing": ckpt_path is None, "log_every_n_steps": 1, "max_epochs": 4}
    trainer = Trainer(**quiet, val_check_interval=0.5, logger=logger, callbacks=callbacks)
    trainer.fit(Classifier(ConvNet(1, [4], 10)), DigitsData(batch_size=360), ckpt_path=ckpt_path)
    return {name: figure.get_suptitle() for name, figure in logger.figures.items()}


class Whole(NamedTuple):
    folder: Path  # with a checkpoint of each step
    state: dict[str, Any]
    titles: dict[str, str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A fit that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    callbacks = resumable(folder)
    titles = started([*callbacks, ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)])
    return Whole(folder, callbacks[0].state_dict(), titles)


@pytest.mark.parametrize("step", [4, 6, 9, 12])  # of 4 in an epoch: at its end, with its validation, and within it
def test_a_resumed_run_draws_the_whole_fit(whole: Whole, tmp_path: Path, step: int) -> None:
    resumed = resumable(tmp_path)
    titles = started(resumed, whole.folder / f"step={step}.ckpt")
    assert len(whole.state["curves"]["training"]["train_loss"]) == 4
    assert len(whole.state["curves"]["validation"]["val_loss"]) == 8
    assert differing(resumed[0].state_dict(), whole.state) == []
    assert titles == whole.titles


def test_what_is_in_a_checkpoint_is_small_and_safe(fit: Callable[..., Any], tmp_path: Path) -> None:
    figures, loader = (
        ValidationFigures(),
        DataLoader(TensorDataset(torch.rand(32, 3, 224, 320), torch.arange(32) % 4), 16),
    )
    module = Classifier(ConvNet(3, [4], 4), num_classes=4)
    keep = ModelCheckpoint(tmp_path, "kept", every_n_epochs=1)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=job.RecordingLogger(),
        callbacks=[figures, keep],
        default_root_dir=tmp_path,
    )
    trainer.fit(module, loader, loader)
    state = torch.load(tmp_path / "kept.ckpt", weights_only=True)["callbacks"]["ValidationFigures"]
    pixels = state["shown"]["sums"]["pixels"]
    assert {(pixels.dtype, tuple(pixels.shape)) for pixels in pixels} == {(torch.uint8, (3, 112, 160))}
    assert list(state["curves"]["training"]) == ["train_acc", "train_loss"], "those of the epoch that has just ended"
    torch.save(state, tmp_path / "state.pt")
    assert (tmp_path / "state.pt").stat().st_size < 1_000_000


def test_photographs_are_shown_as_they_are(fit: Callable[..., Any], photos: Path) -> None:
    figures = ValidationFigures(worst=6)
    data = ImageFolderData(photos, image_size=32, num_workers=0)
    torch.manual_seed(0)
    logger = fit(
        Classifier(ConvNet(3, [4], 2)),
        data,
        max_epochs=1,
        limit_train_batches=1,
        limit_val_batches=2,
        callbacks=[figures],
    )
    sums = figures.state_dict()["shown"]["sums"]
    for (_, true, _, _, index), pixels in zip(sums["worst"].tolist(), sums["pixels"], strict=True):
        path = data.paths["val"][int(index)]
        assert path.parent.name == data.class_names[int(true)]
        normal = data.preprocessing_used.evaluation_transform()(Image.open(path).convert("RGB"))
        mean, std = (
            torch.tensor(part).view(3, 1, 1) for part in (data.preprocessing_used.mean, data.preprocessing_used.std)
        )
        assert torch.equal(pixels, ((normal * std + mean) * 255).round().byte())
    drawn = [
        text.get_text() for axes in logger.figures["figures/most_wrong.png"].axes for text in [axes.title, *axes.texts]
    ]
    first = data.paths["val"][int(sums["worst"][0, 4])]
    other = {"ants": "bees", "bees": "ants"}[first.parent.name]
    assert drawn[0] == f"true {first.parent.name}, said {other} {sums['worst'][0, 3]:.2f}"
    assert drawn[1] == first.name


@pytest.mark.parametrize(
    "outputs",
    [
        None,
        torch.ones(3),
        {},
        {"probabilities": torch.ones(3, 4)},
        {"probabilities": torch.ones(3, 4, 8, 8), "y": torch.ones(3).long()},
        {"probabilities": torch.ones(3, 1), "y": torch.ones(3).long()},
        {"probabilities": torch.ones(3, 4), "y": torch.ones(2).long()},
        {"probabilities": torch.ones(3, 4), "y": torch.ones(3)},
        {"probabilities": torch.ones(0, 4), "y": torch.ones(0).long()},
    ],
)
def test_outputs_that_are_no_classes_are_passed_over(outputs: Any) -> None:
    assert class_outputs(outputs) is None


def test_logits_do_as_well_as_probabilities() -> None:
    logits, y = torch.randn(5, 3, dtype=torch.bfloat16), torch.tensor([0, 1, 2, 0, 1], dtype=torch.uint8)
    found = class_outputs({"logits": logits, "y": y, "index": None})
    assert found is not None
    assert torch.equal(found.probabilities, logits.float().softmax(1))
    assert (found.y.dtype, found.indices) == (torch.int64, None)


def added(*batches: tuple[Any, Any, Tensor | None], classes: int = 2, most: int = 4) -> Any:
    sums = RunningResults(classes, 10, most, torch.device("cpu"))
    for probabilities, y, images in batches:
        sums.add(ClassOutputs(torch.tensor(probabilities), torch.tensor(y), None), images)
    return sums.finish(lambda image: image.byte())


def test_only_the_images_of_wrong_samples_are_read() -> None:
    read: list[int] = []

    def images(rows: Tensor) -> Tensor:
        read.extend(rows.tolist())
        return rows.float().view(-1, 1, 1, 1).expand(-1, 3, 4, 4)

    x = LazyInputs(images, (3, 3, 4, 4), torch.float32, torch.device("cpu"), torch.tensor([5, 6, 7]))
    sums = added(([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], [0, 0, 1], x))
    assert sorted(read) == [6, 7]
    assert [int(image.max()) for image in sums.pixels] == [6, 7], "the most wrong first"


def test_what_is_no_class_is_passed_over_and_nan_is_no_confidence() -> None:
    nan = float("nan")
    sums = added(([[0.9, 0.1], [0.2, 0.8], [0.0, 1.0], [nan, nan]], [0, -100, 0, 1], None))
    assert sums.confusion.tolist() == [[1, 1], [1, 0]]
    assert sums.bins[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert sums.bins[1].sum() == pytest.approx(1.9)
    assert sorted(sums.worst[:, :4].tolist()) == [[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0]]
    assert sums.pixels == []


def test_images_of_other_shapes_fit_in() -> None:
    wrong = [[1.0, 0.0]]
    images = [torch.full((1, 3, 8, 8), 1.0), torch.full((1, 1, 4, 6), 2.0), torch.full((1, 3, 8, 8), 3.0)]
    sums = added(*[(wrong, [1], image) for image in images], most=2)
    assert [tuple(pixels.shape) for pixels in sums.pixels] == [(3, 8, 8), (3, 8, 8)]
    without = added((wrong, [1], images[0]), (wrong, [1], None))
    assert (len(without.worst), without.pixels) == (2, [])


def test_a_thousand_classes_have_a_matrix_and_more_have_none() -> None:
    probabilities = torch.full((2, 1001), 0.1).tolist()
    assert added(([row[:1000] for row in probabilities], [0, 5], None), classes=1000).confusion.sum() == 2
    sums = added((probabilities, [0, 1000], None), classes=1001)
    assert sums.confusion is None
    assert sums.worst[:, 1].tolist() == [1000]


def test_images_are_found_in_batches_of_any_kind() -> None:
    x = torch.rand(4, 3, 8, 8)
    assert images_of((x, 1), 4) is x
    assert images_of([x[:, :1], 1], 4) is not None
    for batch in (x, {"x": x}, (), (x[:, :2], 1), ((x, 1), 1), (x.flatten(1), 1), None):
        assert images_of(batch, 4) is None
    assert images_of((x, 1), 5) is None


def test_the_worst_of_several_tables() -> None:
    first, second = (torch.tensor([[p, 0, 0, 0, 0] for p in column]) for column in ([0.1, 0.4], [0.2, 0.3]))
    assert worst_of_all([first, torch.zeros(0, 5), second], 3) == [(0, 0), (2, 0), (2, 1)]


@pytest.mark.parametrize("arguments", [{"worst": -1}, {"bins": 0}])
def test_arguments_out_of_range(arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"ValidationFigures cannot be used:\n  - .* expected at least"):
        ValidationFigures(**arguments)


# -- two processes ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("figures")
    scenarios = ["both", "one", "other", "none", "no logger", "one logger"]
    done = warm.run_ranks(2, [JOB, folder, *scenarios], env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return {
        name: [torch.load(folder / f"{name} {rank}.pt", weights_only=True) for rank in (0, 1)] for name in scenarios
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same fit on one process."""
    report: dict[str, Any] = job.shown(job.fit(tmp_path_factory.mktemp("alone"), 1))
    return report


@pytest.mark.slow
@pytest.mark.multiprocess
@pytest.mark.parametrize("name", ["both", "one logger"])
def test_the_results_of_two_processes_are_those_of_one(
    reports: dict[str, list[dict[str, Any]]], alone: dict[str, Any], name: str
) -> None:
    first, second = reports[name]
    assert first["figures"] == alone["figures"] == names(*CLASS_FIGURES, "learning_curves")
    assert second["figures"] == []
    sums, expected = first["shown"]["sums"], alone["shown"]["sums"]
    assert torch.equal(sums["confusion"], expected["confusion"])
    torch.testing.assert_close(sums["bins"], expected["bins"])
    torch.testing.assert_close(sums["worst"], expected["worst"], rtol=1e-5, atol=1e-7)
    assert all(map(torch.equal, sums["pixels"], expected["pixels"]))
    assert len(sums["pixels"]) == 9
    assert second["shown"]["sums"]["pixels"] == [], "images are gathered where they are drawn"


@pytest.mark.slow
@pytest.mark.multiprocess
def test_one_of_two_processes_logs_the_data_sets(
    reports: dict[str, list[dict[str, Any]]], alone: dict[str, Any]
) -> None:
    """A claim of `DatasetInputs`, which is among the callbacks of the job."""
    first, second = reports["both"]
    assert first["datasets"] == alone["datasets"] != []
    assert second["datasets"] == []


@pytest.mark.slow
@pytest.mark.multiprocess
def test_a_process_that_has_seen_nothing_takes_part(reports: dict[str, list[dict[str, Any]]]) -> None:
    both, one, other = (reports[name][0]["shown"]["sums"] for name in ("both", "one", "other"))
    assert torch.equal(one["confusion"] + other["confusion"], both["confusion"])
    assert (int(one["confusion"].sum()), int(other["confusion"].sum())) == (179, 180)
    assert len(one["pixels"]) == len(other["pixels"]) == 9
    assert one["worst"][:, 4].min() >= 180 > other["worst"][:, 4].max(), "each process has one half of the samples"


@pytest.mark.slow
@pytest.mark.multiprocess
def test_processes_that_have_seen_nothing_or_have_no_logger(reports: dict[str, list[dict[str, Any]]]) -> None:
    assert reports["none"][0]["shown"]["sums"] is None
    assert reports["none"][0]["figures"] == names("learning_curves")
    assert reports["no logger"][0]["shown"] is None
