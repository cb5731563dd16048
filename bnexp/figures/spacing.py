"""Where names at the ends of lines stand, so that none lies on another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Heights = NDArray[np.float64]  # (names,), as shares of the height of axes


def spread(heights: Heights, gap: float, top: float = 1.0) -> Heights:
    """Heights moved apart to at least `gap`, in their order, and below `top`.

    Each group of heights that are too close is spread around its mean.
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
