"""A measure of a grid of two settings or more, as heat maps."""

from collections.abc import Mapping, Sequence
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

    Each value of the last of the other settings, and best of all the norm, has a column of panels,
    and each combination of the rest has a row. Where there are two columns, a third one holds the
    second minus the first, paired by seed.

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
    lines: dict[str, dict[str, dict[tuple[int, int], ComparedVariant]]] = {}
    for row, each in zip(rows, settings, strict=True):
        line, column = _named(each, others[:-1]), _named(each, others[-1:])
        at = levels[down].index(each[down]), levels[across].index(each[across])
        lines.setdefault(line, {}).setdefault(column, {})[at] = row
    shape, columns = (len(levels[down]), len(levels[across])), list(next(iter(lines.values())))
    heading, form = MEASURES.get(measure, (measure, ".3f"))
    panels, paired_up = len(columns) + (len(columns) == 2), len(columns) == 2
    with style():
        width = max(1.0 + panels * (0.9 + 0.5 * shape[1]), 3.25)
        figure = Figure((width, 0.6 + len(lines) * (0.8 + 0.36 * shape[0])), layout="constrained")
        axes = figure.subplots(len(lines), panels, squeeze=False, sharex=True, sharey=True)
        maps = {
            (i, j): _cells(maps_of_line.get(column, {}), measure)
            for i, maps_of_line in enumerate(lines.values())
            for j, column in enumerate(columns)
        }
        grids = {at: _means(cells, shape) for at, cells in maps.items()}
        finite = [value for grid in grids.values() for value in grid.flat if np.isfinite(value)]
        scale = Normalize(*((min(finite), max(finite)) if finite else (0, 1)))
        image: Any = None
        for (i, j), grid in grids.items():
            image = axes[i, j].imshow(grid, norm=scale, cmap="Greys", alpha=0.4, aspect="auto")
            _write(axes[i, j], maps[i, j], form)
            name = ", ".join(filter(None, [list(lines)[i], columns[j]]))
            title(axes[i, j], f"({letter(i * panels + j)}) {name}".rstrip())
        means = [axes[at] for at in grids]
        figure.colorbar(image, ax=means, label=heading, shrink=0.9 / len(lines))
        if paired_up:
            first, second = columns
            gaps = [
                _gaps(each.get(second, {}), each.get(first, {}), measure) for each in lines.values()
            ]
            _draw_differences(figure, list(axes[:, 2]), gaps, shape, (heading, form))
            for i, line in enumerate(lines):
                name = ", ".join(filter(None, [line, f"{second} minus {first}"]))
                title(axes[i, 2], f"({letter(i * panels + 2)}) {name}")
        for each in axes[-1]:
            each.set(xlabel=across, xticks=range(shape[1]), xticklabels=levels[across])
        for each in axes[:, 0]:
            each.set(ylabel=down, yticks=range(shape[0]), yticklabels=levels[down])
    text = f"{heading}: mean over seeds and half of its 95 % t-interval; -: not by every seed."
    if paired_up:
        text += (
            " Differences are paired by seed; bold: the 95 % t-interval excludes 0; not corrected "
            "for the number of cells."
        )
    return Picture(figure, text)


def _named(settings: Mapping[str, str], keys: Sequence[str]) -> str:
    return ", ".join(f"{key.split('.')[-1]} {settings[key]}" for key in keys)


def _cells(variants: Mapping[tuple[int, int], ComparedVariant], measure: str) -> Cells:
    return {
        at: row.numbers.measures[measure]
        for at, row in variants.items()
        if measure in row.numbers.measures
    }


def _means(cells: Cells, shape: tuple[int, int]) -> NDArray[np.float64]:
    grid = np.full(shape, np.nan)
    for at, over in cells.items():
        grid[at] = over.mean
    return grid


def _gaps(
    variants: Mapping[tuple[int, int], ComparedVariant],
    bases: Mapping[tuple[int, int], ComparedVariant],
    measure: str,
) -> Cells:
    """The measure of each variant minus that of its base, over the seeds that both have."""
    found = dict[tuple[int, int], OverSeeds]()
    for at, row in variants.items():
        if at in bases:
            mine, theirs = paired(row.numbers, bases[at].numbers)
            if measure in mine and measure in theirs and len(mine[measure]):
                found[at] = over_seeds(mine[measure] - theirs[measure])
    return found


def _draw_differences(
    figure: Figure,
    axes: Sequence[Axes],
    gaps: Sequence[Cells],
    shape: tuple[int, int],
    measure: tuple[str, str],
) -> None:
    """The differences on one scale that is centred on 0, by the measure's heading and format."""
    heading, form = measure
    grids = [_means(cells, shape) for cells in gaps]
    largest = float(np.nanmax(np.abs(grids), initial=0)) or 1.0
    scale = TwoSlopeNorm(0, -largest, largest)
    image: Any = None
    for each, cells, grid in zip(axes, gaps, grids, strict=True):
        image = each.imshow(grid, norm=scale, cmap="RdBu", alpha=0.5, aspect="auto")
        _write(each, cells, f"+{form}", bold=True)
    shrink = 0.9 / len(grids)
    bar = figure.colorbar(image, ax=list(axes), label=f"difference in {heading}", shrink=shrink)
    bar.set_ticks([-largest, 0, largest], labels=[f"{-largest:.3g}", "0", f"{largest:+.3g}"])


def _write(axes: Axes, cells: Cells, form: str, *, bold: bool = False) -> None:
    """Each cell's mean and half interval; bold, if asked for, where the interval excludes 0."""
    for (y, x), over in cells.items():
        text = number(over.mean, form)
        if np.isfinite(over.low):
            text += f"\n±{number(over.high - over.mean, form.lstrip('+'))}"
        weight = "bold" if bold and direction(over) else "normal"
        axes.text(x, y, text, ha="center", va="center", weight=weight, fontsize=6)
