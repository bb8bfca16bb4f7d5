"""The figures say what they should, and can be drawn with any number of classes and any names."""

import warnings
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torchmetrics.functional.classification import multiclass_calibration_error

from plt_nn.callbacks.validation.class_drawings import to_pixels
from plt_nn.callbacks.validation.metric_curves import MetricCurves
from plt_nn.plots.figures import (
    WrongSample,
    calibration_error,
    calibration_figure,
    confusion_figure,
    most_wrong_figure,
)
from plt_nn.plots.learning_curves import curve_panels, learning_curves_figure

SUBTITLE = "the last validation, at epoch 3, step 99"


def texts(figure: Figure) -> list[str]:
    """Draws a figure without a warning, and returns its texts."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(BytesIO(), dpi=40)
    titles = [figure.get_suptitle()]
    return titles + [text.get_text() for axes in figure.axes for text in [axes.title, *axes.texts]]


def matrix(classes: int) -> Any:
    generator = np.random.default_rng(0)
    return np.diag(np.full(classes, 50)) + generator.integers(0, 2, (classes, classes))


@pytest.mark.parametrize(("classes", "cells"), [(2, 4), (5, 25), (10, None), (20, None), (21, 0), (100, 0), (300, 0)])
def test_a_confusion_matrix_of_any_size(classes: int, cells: int | None) -> None:
    confusion = matrix(classes)
    figure = confusion_figure(confusion, [f"class {number}" for number in range(classes)], SUBTITLE)
    title, *told = texts(figure)
    right = int(np.trace(confusion))
    assert title.splitlines() == [f"{right:,} of {confusion.sum():,} right ({right / confusion.sum():.1%})", SUBTITLE]
    numbers = [int(text) for text in told if text]
    assert len(numbers) == (np.count_nonzero(confusion) if cells is None else cells)
    if numbers:
        assert sum(numbers) == confusion.sum()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[:2] == (["class 0", "class 1"] if classes <= 100 else ["class 0", "class 12"])
    shares = np.asarray(figure.axes[0].images[0].get_array())
    assert shares.sum(1) == pytest.approx(np.ones(classes))
    width, height = figure.get_size_inches()
    assert max(width, height) < 14


def test_a_class_without_samples_and_long_or_odd_names() -> None:
    names = ["a name that is far too long for the axis of a figure", "$x_{1}$", "under_score", "%"]
    confusion = np.array([[0, 0, 0, 0], [1, 2, 0, 0], [0, 0, 123_456, 0], [0, 0, 0, 0]])
    figure = confusion_figure(confusion, names, SUBTITLE)
    told = texts(figure)
    assert told.count("123k") == 1
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["a name that i…is of a figure", *names[1:]]


def test_calibration_is_that_of_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = (3 * torch.randn(500, 4, generator=generator)).softmax(1)
    y = torch.randint(0, 4, (500,), generator=generator)
    confidence, said = probabilities.max(1)
    bins = (confidence * 15).long().clamp(max=14).numpy()
    counts = np.bincount(bins, minlength=15).astype(float)
    sums = [np.bincount(bins, values.numpy(), minlength=15) for values in (confidence, (said == y).double())]
    together = np.stack([counts, *sums])
    expected = float(multiclass_calibration_error(probabilities, y, 4))
    assert calibration_error(together) == pytest.approx(expected, abs=1e-6)
    figure = calibration_figure(together, SUBTITLE)
    title, *told = texts(figure)
    assert title.splitlines() == [f"Expected calibration error {expected:.4f}", SUBTITLE]
    assert sum(int(text) for text in told if text) == 500


def test_calibration_of_nothing_can_be_drawn() -> None:
    assert "error 0.0000" in texts(calibration_figure(np.zeros((3, 15)), SUBTITLE))[0]


@pytest.mark.parametrize(("count", "channels"), [(1, 1), (2, 3), (3, 1), (16, 3)])
def test_the_most_wrong(count: int, channels: int) -> None:
    image = np.full((8, 12, channels), 200, dtype=np.uint8)
    ant = WrongSample(image, "ants", "bees", 0.984, "a.jpg")
    odd = WrongSample(image, "great $crested$ grebe", "something else_with % a name of no end", 1.0, "x" * 50 + "$.jpg")
    figure = most_wrong_figure([ant, odd, WrongSample(image, "1", "7", 0.5, None), *[ant] * 13][:count], SUBTITLE)
    title, *told = texts(figure)
    assert title == f"The most wrong\n{SUBTITLE}"
    assert told[:2] == ["true ants, said bees 0.98", "a.jpg"]
    if count > 1:
        assert told[2] == "true great $crested$ grebe,\nsaid something els…name of no end 1.00"
        assert told[3] == "x" * 17 + "…" + "x" * 13 + "$.jpg"
    assert sum(bool(axes.images) for axes in figure.axes) == count


def curve(*values: float) -> Any:
    return np.array([(at + 1.0, value) for at, value in enumerate(values)])


def test_learning_curves_have_a_panel_for_losses_and_one_for_each_metric() -> None:
    validation = {"val_loss": curve(3, 2, 1), "val_acc": curve(0.1, 0.2, 0.3), "val_f1": curve(0.1, 0.2, 0.3)}
    training = {"train_loss": curve(4, 3, 2), "train_acc": curve(0, 0.1, 0.2), "phase": curve(0, 0, 1)}
    phases = [(0.0, "phase 0"), (1.5, "phase 1")]
    best = (2.0, "best val_loss, 2 at epoch 1, step 8")
    figure = learning_curves_figure(curve_panels(validation, training), best, phases)
    title, *_ = texts(figure)
    assert title.splitlines() == [
        "Learning curves",
        "dotted, after 2 epochs: best val_loss, 2 at epoch 1, step 8",
        "shaded: phase 0 from 0, phase 1 from 1.5",
    ]
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert list(panels) == ["loss", "val_acc", "val_f1"]
    shown = {title: [str(line.get_label()) for line in axes.lines] for title, axes in panels.items()}
    assert shown["loss"][:2] == ["train_loss", "val_loss"]
    assert shown["val_acc"][:2] == ["train_acc", "val_acc"]
    assert all(len(axes.patches) == 2 for axes in panels.values()), "a shade for each phase"
    assert [float(np.asarray(line.get_xdata())[0]) for line in panels["val_f1"].lines] == [1.0, 2.0]


def test_learning_curves_of_one_point_and_of_values_that_are_not_finite() -> None:
    texts(learning_curves_figure(curve_panels({}, {"train_loss": curve(0.5)})))
    odd = curve_panels({"val_loss": curve(float("nan"))}, {"train_loss": curve(float("inf"), 2.0)})
    texts(learning_curves_figure(odd))
    many = {f"val_{number}": curve(1, 2) for number in range(40)}
    assert len(learning_curves_figure(curve_panels(many, {})).axes) == 12
    assert not curve_panels({}, {"phase": curve(1, 2)})


def test_curves_are_bounded() -> None:
    curves = MetricCurves()
    for step in range(5_000):
        curves.add_validation(step, {"val_loss": float(step)})
        curves.add_training(step, {f"train_{number}": 0.0 for number in range(100)})
    points = curves.validation["val_loss"]
    assert len(points) <= 512
    assert points[0] == (0, 0.0)
    assert points[-1] == (4999, 4999.0)
    assert all(at == value for at, value in points)
    assert len(curves.training) == 48


def test_what_is_logged_by_step_and_by_epoch_is_taken_once() -> None:
    curves = MetricCurves()
    curves.add_validation(1.0, {"val_loss": 1.0})
    curves.add_training(0.5, {"train_time_step": 4.0})
    curves.add_training(1.0, {"val_loss": 1.0, "loss": 2.0, "loss_step": 3.0, "loss_epoch": 2.0, "phase": 1.0})
    assert curves.training == {"train_time_step": [(0.5, 4.0)], "loss": [(1.0, 2.0)]}
    assert MetricCurves(curves.to_state()).training == curves.training


def test_pixels_are_those_before_the_normalisation() -> None:
    pixels = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    normal = (pixels / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    assert torch.equal(to_pixels(normal, mean, std), pixels)
    grey = torch.tensor([[[-3.0, 0.0], [float("nan"), 3.0]]])
    assert to_pixels(grey, mean, std).tolist() == [[[0, 128], [128, 255]]], "a mean of other channels says nothing"
    assert to_pixels(torch.ones(1, 2, 2)).tolist() == [[[0, 0], [0, 0]]]
