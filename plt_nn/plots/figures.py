"""Figures of one validation of a classifier, from plain arrays; matplotlib is imported when one is drawn."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELLS_WITH_TEXT = 20  # with more classes the numbers in the cells cannot be read
_ALL_NAMED = 100  # with more classes only some of the axes' ticks are named
_SPARSE_TICKS = 25
_LONGEST_NAME = 28
# Names of classes and files are texts as they are: a dollar sign in one begins no formula.
_PLAIN: dict[str, Any] = {"parse_math": False}


class WrongSample(NamedTuple):
    """A sample that was said to be of another class than it is."""

    image: NDArray[np.uint8]  # (H, W, 1 or 3)
    true: str  # the name of its class
    said: str  # the name of the class that it was said to be of
    probability: float  # that was given to that class
    file: str | None  # where it comes from, if that is known


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of a size in inches, without a window, for any thread and machine."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def confusion_figure(confusion: NDArray[np.int64], names: Sequence[str], subtitle: str) -> "Figure":
    """A confusion matrix: the colour is the share of a row's class, the text in a cell the number of samples.

    Args:
        confusion: `(C, C)`: number of samples of the class of a row that were said to be of the class of a column.
        names: The name of each class.
        subtitle: Which validation this is.
    """
    classes, total = len(confusion), int(confusion.sum())
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = min(max(0.42 * classes, 2.6), 10.5)
    figure = new_figure(side + 2.6, side + 1.9)
    axes = figure.add_subplot()
    shown = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest")
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, label="share of the true class")
    bar.outline.set_visible(False)
    if classes <= _CELLS_WITH_TEXT:
        _write_cells(axes, confusion, shares)
    _name_ticks(axes, names, side / classes)
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    right = int(np.trace(confusion))
    _title(figure, f"{right:,} of {total:,} right ({right / max(total, 1):.1%})", subtitle)
    return figure


def calibration_figure(bins: NDArray[np.float64], subtitle: str) -> "Figure":
    """A reliability diagram over a histogram: how often the net was right where it was how confident.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599

    Args:
        bins: `(3, B)`: number of samples, sum of confidences and number of right ones in each of B equal ranges of
            confidence; see `ClassCounts`.
        subtitle: Which validation this is.
    """
    counts = bins[0]
    confidence, accuracy = bins[1:] / np.maximum(counts, 1)
    figure = new_figure(5.2, 6.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    some = counts > 0
    centres = (np.arange(len(counts)) + 0.5) / len(counts)
    width = 0.94 / len(counts)
    low, high = np.minimum(accuracy, confidence)[some], np.maximum(accuracy, confidence)[some]
    upper.bar(centres[some], accuracy[some], width, color="tab:blue", alpha=0.75, label="right", zorder=2)
    gap: dict[str, Any] = {"facecolor": "none", "edgecolor": "tab:red", "hatch": "////", "linewidth": 0.8}
    upper.bar(centres[some], high - low, width * 0.96, low, label="gap to the confidence", zorder=3, **gap)
    upper.plot([0, 1], [0, 1], "--", color="grey", linewidth=1, label="perfectly calibrated", zorder=4)
    upper.set(ylabel="share that was right", xlim=(0, 1), ylim=(0, 1))
    upper.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=8)  # over no bar
    lower.bar(centres, counts, width, color="tab:grey")
    for centre, count in zip(centres[some], counts[some], strict=True):
        lower.annotate(_short(count), (centre, count), ha="center", va="bottom", fontsize=6, annotation_clip=False)
    lower.set(xlabel="confidence: probability of the class that was said", ylabel="samples")
    lower.margins(y=0.18)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    _title(figure, f"Expected calibration error {calibration_error(bins):.4f}", subtitle)
    return figure


def calibration_error(bins: NDArray[np.float64]) -> float:
    """The mean gap between confidence and the share of right ones, weighted by the number of samples."""
    counts, confidences, right = bins
    return float(np.abs(confidences - right).sum() / max(counts.sum(), 1))


def most_wrong_figure(samples: Sequence[WrongSample], subtitle: str) -> "Figure":
    """The samples to whose true class the net gave the least probability.

    Args:
        samples: The samples, the most wrong first; at least one.
        subtitle: Which validation this is.
    """
    columns = max(math.ceil(math.sqrt(len(samples))), min(len(samples), 2))
    rows = math.ceil(len(samples) / columns)
    figure = new_figure(max(2.5 * columns, 4.5), 2.75 * rows + 0.7)
    grid: Any = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, sample in zip(grid.flat, samples, strict=False):
        axes.imshow(sample.image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(_caption(sample), fontsize=8, pad=3, **_PLAIN)
        if sample.file is not None:
            place = {"transform": axes.transAxes, "ha": "center", "va": "top"}
            axes.text(0.5, -0.02, _cut(sample.file, 36), fontsize=6, color="dimgrey", **place, **_PLAIN)
    _title(figure, "The most wrong", subtitle)
    return figure


def _caption(sample: WrongSample) -> str:
    true, said = _cut(sample.true, _LONGEST_NAME), _cut(sample.said, _LONGEST_NAME)
    one_line = len(true) + len(said) <= 16
    return f"true {true},{' ' if one_line else chr(10)}said {said} {sample.probability:.2f}"


def _write_cells(axes: "Axes", confusion: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    classes = len(confusion)
    size = 11 if classes <= 5 else 9 if classes <= 10 else 7
    for row, column in np.ndindex(classes, classes):
        count = int(confusion[row, column])
        if count or classes <= 5:  # zeros everywhere would hide the few numbers that matter
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, _short(count), ha="center", va="center", fontsize=size, color=colour)


def _name_ticks(axes: "Axes", names: Sequence[str], room: float) -> None:
    classes = len(names)
    step = 1 if classes <= _ALL_NAMED else math.ceil(classes / _SPARSE_TICKS)
    ticks = list(range(0, classes, step))
    size = 9.0 if classes <= 20 else 7.0 if classes <= 40 else 5.0 if step == 1 else 7.0
    labels = [_cut(names[tick], _LONGEST_NAME) for tick in ticks]
    upright = max(map(len, labels)) * 0.65 * size / 72 > room * step  # a letter is about so wide, in inches
    axes.set_xticks(ticks, labels, fontsize=size, rotation=90 if upright else 0, **_PLAIN)
    axes.set_yticks(ticks, labels, fontsize=size, **_PLAIN)
    axes.tick_params(length=0 if step == 1 else 2)
    axes.spines[:].set_visible(False)


def _title(figure: "Figure", title: str, subtitle: str) -> None:
    figure.suptitle(f"{title}\n{subtitle}", fontsize=10, **_PLAIN)


def _short(count: float) -> str:
    return f"{count:.0f}" if count < 100_000 else f"{count / 1000:.0f}k"


def _cut(text: str, longest: int) -> str:
    """A text without its middle if it is too long: names differ at their beginnings or ends."""
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[head + 1 - longest :]}"
