"""The figure of learning curves: losses and metrics against epochs."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plt_nn.plots.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = NDArray[np.float64]
Panels = dict[str, dict[str, Curve]]
_MOST_PANELS = 12
_PHASE_COLOURS = ("#f0f0f0", "#dfe9f5")


def curve_panels(validation: Mapping[str, Curve], training: Mapping[str, Curve]) -> Panels:
    """Sorts curves into panels, by title: the losses in the first, each other metric of validation in one of its own.

    Args:
        validation: Metric name -> `(N, 2)`: epochs trained and value.
        training: The same of the metrics of training: losses, and those named like a metric of validation with `train`
            for `val`. Others are left out.
    """
    losses = {name: curve for curves in (training, validation) for name, curve in curves.items() if "loss" in name}
    panels = {"loss": losses} if losses else {}
    for name, curve in validation.items():
        if name not in losses:
            twin = name.replace("val", "train", 1)
            panels[name] = ({twin: training[twin]} if twin in training else {}) | {name: curve}
    return dict(list(panels.items())[:_MOST_PANELS])


def learning_curves_figure(
    panels: Panels, best: tuple[float, str] | None = None, phases: Sequence[tuple[float, str]] = ()
) -> "Figure":
    """Losses and metrics against epochs.

    Args:
        panels: What `curve_panels` gave; at least one.
        best: The epochs trained when the best was reached, and what to call it.
        phases: The epochs trained when each phase of a freezing schedule began, and its name.
    """
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(max(4.6 * columns, 6.0), 3.1 * rows + 0.6)
    grid = figure.subplots(rows, columns, squeeze=False)
    for spare in grid.flat[len(panels) :]:
        spare.set_axis_off()
    drawn = [curve for curves in panels.values() for curve in curves.values()]
    end = max(float(curve[-1, 0]) for curve in drawn)
    for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
        _draw(axes, title, curves)
        _shade(axes, phases, end)
        if best is not None:
            axes.axvline(best[0], color="tab:green", linewidth=1.2, linestyle=":", zorder=1)
        axes.set_xlim(0, end * 1.02)
    notes = [f"dotted, after {_number(best[0])} epochs: {best[1]}"] if best is not None else []
    notes += ["shaded: " + ", ".join(f"{name} from {_number(at)}" for at, name in phases)] if len(phases) > 1 else []
    figure.suptitle("\n".join(["Learning curves", *notes]), fontsize=10, parse_math=False)
    return figure


def _draw(axes: "Axes", title: str, curves: Mapping[str, Curve]) -> None:
    from matplotlib.ticker import MaxNLocator

    colours = _colours(list(curves))
    for name, curve in curves.items():
        finite = np.where(np.isfinite(curve[:, 1]), curve[:, 1], np.nan)
        dots = "o" if len(curve) <= 40 else ""
        line: dict[str, Any] = {"linestyle": "--" if "train" in name else "-", "color": colours[name], "marker": dots}
        axes.plot(curve[:, 0], finite, markersize=3, linewidth=1.4, label=name, zorder=2, **line)
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.set_xlabel("epochs trained", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(curves) > 1:
        axes.legend(fontsize=7, frameon=False)


def _colours(names: Sequence[str]) -> dict[str, str]:
    """Training and validation in the same colours in every panel, as long as a panel has one curve of each."""
    pair = {name: "tab:blue" if "train" in name else "tab:orange" for name in names}
    return pair if len(set(pair.values())) == len(names) else {name: f"C{at % 10}" for at, name in enumerate(names)}


def _shade(axes: "Axes", phases: Sequence[tuple[float, str]], end: float) -> None:
    if len(phases) < 2:
        return
    ends = [at for at, _ in phases[1:]] + [max(end * 1.02, phases[-1][0])]
    for number, ((begin, _), until) in enumerate(zip(phases, ends, strict=True)):
        axes.axvspan(begin, until, color=_PHASE_COLOURS[number % 2], zorder=0, linewidth=0)


def _number(value: float) -> str:
    return f"{value:.4g}"
