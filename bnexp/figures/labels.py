"""Names at the ends of lines, of which none lies on another."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

Heights = NDArray[np.float64]  # (names,), as shares of the height of axes
EndLabel = tuple[float, str, str]  # where a line ends, its name, its colour


def end_labels(
    axes: Axes, labels: Sequence[EndLabel], top: float = 1.0, until: Sequence[float] = ()
) -> None:
    """Name lines at the right of axes whose limits are settled.

    A name stands at the height of its line's end, close to it. Where names would lie on each other
    they move apart, and a thin line leads from the end to the name.

    Args:
        axes: whose lines they are.
        labels: of the lines.
        top: the highest place of a name, as a share of the height of the axes.
        until: the step at which each line ends, where some end early.
    """
    axes.get_ylim()  # autoscaling is put off until someone asks
    on_axes = axes.transScale + axes.transLimits
    heights = np.nan_to_num([on_axes.transform((0, end))[1] for end, _, _ in labels])
    heights = np.clip(heights, 0, 1)
    points = 10 * max(name.count("\n") + 1 for _, name, _ in labels)
    height = axes.get_window_extent().height * 72 / axes.figure.dpi
    placed = moved_apart(heights, points / height, top)
    begins = np.ones(len(labels))
    for i, step in enumerate(until):
        if step < max(until):
            begins[i] = on_axes.transform((step, 1))[0]
    moved = (np.abs(placed - heights) > 1e-3) | (begins < 1)
    away = ScaledTranslation((10 if moved.any() else 3) / 72, 0, axes.figure.dpi_scale_trans)
    for (_, name, colour), x, end, y, led in zip(
        labels, begins, heights, placed, moved, strict=True
    ):
        leader = {"arrowstyle": "-", "color": colour, "lw": 0.5, "shrinkA": 2, "shrinkB": 1}
        leader["patchA"] = None  # else a steep one would end above or below its name
        axes.annotate(
            name,
            (x, end),
            xycoords="axes fraction",
            xytext=(1, y),
            textcoords=axes.transAxes + away,
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
