"""Names at the ends of lines, of which none lies on another."""

from collections.abc import Iterator, Sequence
from math import inf, nan
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from bnexp.figures.drawing import LETTER, Line

Heights = NDArray[np.float64]  # (names,), as shares of the height of axes
EARLY = 0.9  # of the width of axes: a line that ends before has its name inside them
NEAR = 0.95  # of it: a line that ends behind this needs no line that leads to its name
GAP = 10  # points from the end of a line to its name, where a line leads there


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
    ends = list[_End]()
    for each in labels:
        if np.isfinite(each.height):
            height = float(np.clip(on_axes.transform((0, each.height))[1], 0, 1))
            x = 1.0 if each.step == inf else float(on_axes.transform((each.step, 1))[0])
            x = x if x < NEAR else 1.0
            ends.append(_End(x, height, x if x < EARLY else 1.0, each))
    width = axes.get_window_extent().width * 72 / axes.figure.dpi
    for group in _beside_each_other(ends, width):
        _write(axes, group, top)


class _End(NamedTuple):
    """Where a line ends, and where its name begins, as shares of the axes."""

    x: float
    y: float
    name_at: float
    label: EndLabel


def _beside_each_other(ends: Sequence[_End], width: float) -> Iterator[list[_End]]:
    """Groups of names of which one could run into another, were they at one height.

    Args:
        ends: of the lines.
        width: of the axes, in points.
    """
    group, until = list[_End](), -inf
    for end in sorted(ends, key=lambda end: end.name_at):
        if group and end.name_at > until:
            yield group
            group = []
        group.append(end)
        letters = max(map(len, end.label.name.split("\n")))
        until = max(until, end.name_at + (GAP + LETTER * letters) / width)
    if group:
        yield group


def _write(axes: Axes, ends: Sequence[_End], top: float) -> None:
    """Write names, moved apart where they would lie on each other."""
    points = 10 * max(end.label.name.count("\n") + 1 for end in ends)
    height = axes.get_window_extent().height * 72 / axes.figure.dpi
    heights = np.array([end.y for end in ends])
    placed = moved_apart(heights, points / height, top)
    moved = (np.abs(placed - heights) > 1e-3) | np.array([end.x < end.name_at for end in ends])
    away = (GAP if moved.any() else 3) / 72
    offset = axes.transAxes + ScaledTranslation(away, 0, axes.figure.dpi_scale_trans)
    for end, y, led in zip(ends, placed, moved, strict=True):
        colour = end.label.colour
        leader = {"arrowstyle": "-", "color": colour, "lw": 0.5, "shrinkA": 2, "shrinkB": 1}
        leader["patchA"] = None  # else a steep one would end above or below its name
        axes.annotate(
            end.label.name,
            (end.x, end.y),
            xycoords="axes fraction",
            xytext=(end.name_at, y),
            textcoords=offset,
            color=colour,
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
