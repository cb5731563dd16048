"""Names at the ends of lines, of which none lies on another."""

from collections.abc import Sequence
from math import inf, nan
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

Line = NDArray[Any]  # (rows,)
Heights = NDArray[np.float64]  # (names,), as shares of the height of axes
# Of the width of axes: a line that ends before has its name inside; one that ends behind has it
# beside it, without a line that leads there.
EARLY, NEAR = 0.9, 0.95


class EndLabel(NamedTuple):
    """A name at the end of a line.

    Attributes:
        height: the value at which the line ends; NaN where it has none.
        name: what is written.
        colour: of the line.
        step: at which the line ends; infinite where it ends at the right of the axes.
    """

    height: float
    name: str
    colour: str
    step: float = inf


def end_of(steps: Line, line: Line, name: str, colour: str) -> EndLabel:
    """The label of a line, at its last finite value."""
    known = np.flatnonzero(np.isfinite(line))[-1:]
    if not len(known):
        return EndLabel(nan, name, colour)
    return EndLabel(float(line[known[0]]), name, colour, float(steps[known[0]]))


def end_labels(axes: Axes, labels: Sequence[EndLabel], top: float = 1.0) -> None:
    """Name lines at their ends, in axes whose limits are settled.

    A name stands at the height of its line's end, close to it: at the right of the axes, or inside
    them where the line ends early. Where names would lie on each other they move apart, and a thin
    line leads from the end to the name. A line without a finite value has no name.

    Args:
        axes: whose lines they are.
        labels: of the lines.
        top: the highest place of a name, as a share of the height of the axes.
    """
    axes.get_xlim(), axes.get_ylim()  # autoscaling is put off until someone asks
    on_axes = axes.transScale + axes.transLimits
    columns = dict[float, list[tuple[float, float, EndLabel]]]()
    for each in labels:
        if np.isfinite(each.height):
            height = float(np.clip(on_axes.transform((0, each.height))[1], 0, 1))
            x = 1.0 if each.step == inf else float(on_axes.transform((each.step, 1))[0])
            x = x if x < NEAR else 1.0
            columns.setdefault(x if x < EARLY else 1.0, []).append((x, height, each))
    for x, ends in columns.items():
        _place(axes, x, ends, top)


def _place(
    axes: Axes, beside: float, ends: Sequence[tuple[float, float, EndLabel]], top: float
) -> None:
    """Write names right of a place of the axes, each with the place where its line ends."""
    points = 10 * max(label.name.count("\n") + 1 for _, _, label in ends)
    height = axes.get_window_extent().height * 72 / axes.figure.dpi
    heights = np.array([end for _, end, _ in ends])
    placed = moved_apart(heights, points / height, top)
    moved = (np.abs(placed - heights) > 1e-3) | np.array([x < beside for x, _, _ in ends])
    away = ScaledTranslation((10 if moved.any() else 3) / 72, 0, axes.figure.dpi_scale_trans)
    for (x, end, label), y, led in zip(ends, placed, moved, strict=True):
        leader = {"arrowstyle": "-", "color": label.colour, "lw": 0.5, "shrinkA": 2, "shrinkB": 1}
        leader["patchA"] = None  # else a steep one would end above or below its name
        axes.annotate(
            label.name,
            (x, end),
            xycoords="axes fraction",
            xytext=(beside, y),
            textcoords=axes.transAxes + away,
            color=label.colour,
            va="center",
            arrowprops=leader | {"relpos": (0, 0.5)} if led else None,
        )


def moved_apart(heights: Heights, gap: float, top: float = 1.0) -> Heights:
    """Heights moved apart to at least `gap`, in their order, and below `top`.

    Each group of heights that are too close stands around its mean.
    """
    order = np.argsort(heights, kind="stable")
    groups: list[list[float]] = []  # of neighbours: the heights that its members would like
    for height in heights[order]:
        groups.append([float(height)])
        while len(groups) > 1 and _bottom(groups[-1], gap) < _top(groups[-2], gap) + gap:
            last = groups.pop()
            groups[-1] += last
    placed = [_bottom(group, gap) + gap * i for group in groups for i in range(len(group))]
    ladder = gap * np.arange(len(heights))
    kept = np.minimum(np.array(placed) - ladder, top - ladder[-1]) + ladder
    result = np.empty(len(heights))
    result[order] = kept
    return result


def _bottom(group: Sequence[float], gap: float) -> float:
    """Where the lowest of a group stands when the group is centred on its mean."""
    return float(np.mean(group)) - gap * (len(group) - 1) / 2


def _top(group: Sequence[float], gap: float) -> float:
    return _bottom(group, gap) + gap * (len(group) - 1)
