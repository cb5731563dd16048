"""A measure of a grid of two settings or more, as heat maps."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bnexp.analysis.comparison import ComparedVariant, Comparison
from bnexp.analysis.formatting import cell, number
from bnexp.analysis.numbers import paired
from bnexp.analysis.statistics import OverSeeds, direction, over_seeds
from bnexp.analysis.tables import MEASURES
from bnexp.config import suggestion
from bnexp.errors import ConfigError
from bnexp.figures.drawing import Picture, letter, style, title

Cells = Mapping[tuple[int, int], OverSeeds]  # by row and column


def draw_heatmap(comparison: Comparison, measure: str = "test_accuracy") -> Picture:
    """Heat maps of a measure over the two settings that have the most values.

    Each combination of the other settings, and best of all the norm, has a panel. Where there are
    two, a third panel holds the second minus the first, paired by seed.

    Raises:
        ConfigError: fewer than two settings differ, or no variant has the measure.
    """
    rows = comparison.rows
    known = list(dict.fromkeys(name for row in rows for name in row.numbers.measures))
    if measure not in known:
        hint = suggestion(measure, known) or f"; there are {', '.join(known)}"
        raise ConfigError(f"--heatmap {measure}: no such measure{hint}")
    if len(rows[0].settings) < 2:
        raise ConfigError(f"--heatmap {measure}: a heat map needs two settings that differ")
    settings = [{key: cell(value) for key, value in row.settings.items()} for row in rows]
    levels = {key: list(dict.fromkeys(each[key] for each in settings)) for key in settings[0]}
    down, across, *others = sorted(levels, key=lambda key: (key == "model.norm", -len(levels[key])))
    maps: dict[str, dict[tuple[int, int], ComparedVariant]] = {}
    for row, each in zip(rows, settings, strict=True):
        name = ", ".join(f"{key.split('.')[-1]} {each[key]}" for key in others)
        at = levels[down].index(each[down]), levels[across].index(each[across])
        maps.setdefault(name, {})[at] = row
    shape = len(levels[down]), len(levels[across])
    cells = {
        name: {
            at: row.numbers.measures[measure]
            for at, row in found.items()
            if measure in row.numbers.measures
        }
        for name, found in maps.items()
    }
    grids = {name: _means(each, shape) for name, each in cells.items()}
    heading, form = MEASURES.get(measure, (measure, ".3f"))
    panels = len(maps) + (len(maps) == 2)
    with style():
        size = max(1.0 + panels * (0.9 + 0.5 * shape[1]), 3.25), 1.4 + 0.36 * shape[0]
        figure = Figure(size, layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
        finite = [value for grid in grids.values() for value in grid.flat if np.isfinite(value)]
        scale = Normalize(*((min(finite), max(finite)) if finite else (0, 1)))
        image: Any = None
        for i, (name, grid) in enumerate(grids.items()):
            image = axes[i].imshow(grid, norm=scale, cmap="Greys", alpha=0.4, aspect="auto")
            _write(axes[i], cells[name], form)
            title(axes[i], f"({letter(i)}) {name}".rstrip())
        figure.colorbar(image, ax=list(axes[: len(maps)]), label=heading, shrink=0.9)
        if len(maps) == 2:
            (first, base), (second, other) = maps.items()
            gaps = {at: _gap(other[at], base[at], measure) for at in other if at in base}
            _draw_difference(figure, axes[2], gaps, shape, (heading, form))
            title(axes[2], f"({letter(2)}) {second} minus {first}")
        for each in axes:
            each.set(xlabel=across, xticks=range(shape[1]), xticklabels=levels[across])
        axes[0].set(ylabel=down, yticks=range(shape[0]), yticklabels=levels[down])
    text = f"{heading}: mean over seeds and half of its 95 % t-interval; -: not by every seed."
    if len(maps) == 2:
        text += (
            " Differences are paired by seed; bold: the 95 % t-interval excludes 0; not corrected "
            "for the number of cells."
        )
    return Picture(figure, text)


def _means(cells: Cells, shape: tuple[int, int]) -> NDArray[np.float64]:
    grid = np.full(shape, np.nan)
    for at, over in cells.items():
        grid[at] = over.mean
    return grid


def _gap(row: ComparedVariant, base: ComparedVariant, measure: str) -> OverSeeds | None:
    """The measure of one variant minus another's, over the seeds that both have."""
    mine, theirs = paired(row.numbers, base.numbers)
    if measure not in mine or measure not in theirs or not len(mine[measure]):
        return None
    return over_seeds(mine[measure] - theirs[measure])


def _draw_difference(
    figure: Figure,
    axes: Axes,
    gaps: Mapping[tuple[int, int], OverSeeds | None],
    shape: tuple[int, int],
    measure: tuple[str, str],
) -> None:
    """The differences on a scale that is centred on 0, by the measure's heading and format."""
    heading, form = measure
    cells = {at: gap for at, gap in gaps.items() if gap is not None}
    grid = _means(cells, shape)
    largest = float(np.nanmax(np.abs(grid), initial=0)) or 1.0
    scale = TwoSlopeNorm(0, -largest, largest)
    image = axes.imshow(grid, norm=scale, cmap="RdBu", alpha=0.5, aspect="auto")
    _write(axes, cells, f"+{form}", bold=True)
    bar = figure.colorbar(image, ax=axes, label=f"difference in {heading}", shrink=0.9)
    bar.set_ticks([-largest, 0, largest], labels=[f"{-largest:.3g}", "0", f"{largest:+.3g}"])


def _write(axes: Axes, cells: Cells, form: str, *, bold: bool = False) -> None:
    """Each cell's mean and half interval; bold, if asked for, where the interval excludes 0."""
    for (y, x), over in cells.items():
        text = number(over.mean, form)
        if np.isfinite(over.low):
            text += f"\n±{number(over.high - over.mean, form.lstrip('+'))}"
        weight = "bold" if bold and direction(over) else "normal"
        axes.text(x, y, text, ha="center", va="center", weight=weight, fontsize=6)
