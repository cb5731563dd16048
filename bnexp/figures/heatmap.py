"""A measure of a grid of two settings or more, as heat maps."""

from typing import Any

import numpy as np
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bnexp.analysis.comparison import ComparedVariant, Comparison
from bnexp.analysis.formatting import cell
from bnexp.analysis.statistics import OverSeeds, over_seeds
from bnexp.config import suggestion
from bnexp.errors import ConfigError
from bnexp.figures.drawing import Picture, letter, style, title


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
    grids = {name: _means(found, measure, shape) for name, found in maps.items()}
    panels = len(maps) + (len(maps) == 2)
    with style():
        size = max(1.0 + panels * (0.9 + 0.42 * shape[1]), 3.25), 1.4 + 0.36 * shape[0]
        figure = Figure(size, layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
        finite = [value for grid in grids.values() for value in grid.flat if np.isfinite(value)]
        scale = Normalize(*((min(finite), max(finite)) if finite else (0, 1)))
        image: Any = None
        for i, (name, grid) in enumerate(grids.items()):
            image = axes[i].imshow(grid, norm=scale, cmap="Greys", alpha=0.4, aspect="auto")
            _write(axes[i], grid, {})
            title(axes[i], f"({letter(i)}) {name}".rstrip())
        figure.colorbar(image, ax=list(axes[: len(maps)]), label=measure, shrink=0.9)
        if len(maps) == 2:
            (first, base), (second, other) = maps.items()
            gaps = {at: _gap(other[at], base[at], measure) for at in other if at in base}
            _draw_difference(figure, axes[2], gaps, shape, measure)
            title(axes[2], f"({letter(2)}) {second} minus {first}")
        for each in axes:
            each.set(xlabel=across, xticks=range(shape[1]), xticklabels=levels[across])
        axes[0].set(ylabel=down, yticks=range(shape[0]), yticklabels=levels[down])
    text = f"{measure}: mean over seeds; -: not reached by every seed."
    if len(maps) == 2:
        text += (
            " Differences are paired by seed; bold: the 95 % t-interval excludes 0; not corrected "
            "for the number of cells."
        )
    return Picture(figure, text)


def _means(
    found: dict[tuple[int, int], ComparedVariant], measure: str, shape: tuple[int, int]
) -> NDArray[np.float64]:
    grid = np.full(shape, np.nan)
    for at, row in found.items():
        if measure in row.numbers.measures:
            grid[at] = row.numbers.measures[measure].mean
    return grid


def _gap(row: ComparedVariant, base: ComparedVariant, measure: str) -> OverSeeds | None:
    """The measure of one variant minus another's, over the seeds that both have."""
    mine, theirs = (
        dict(zip(each.numbers.seeds, each.numbers.measures[measure].per_seed, strict=True))
        if measure in each.numbers.measures
        else {}
        for each in (row, base)
    )
    common = [seed for seed in mine if seed in theirs]
    return over_seeds(np.array([mine[s] - theirs[s] for s in common])) if common else None


def _draw_difference(
    figure: Figure,
    axes: Any,  # noqa: ANN401  (matplotlib's, as subplots gives them)
    gaps: dict[tuple[int, int], OverSeeds | None],
    shape: tuple[int, int],
    measure: str,
) -> None:
    grid, certain = np.full(shape, np.nan), {}
    for at, gap in gaps.items():
        if gap is not None:
            grid[at], certain[at] = gap.mean, bool(gap.low > 0 or gap.high < 0)
    largest = float(np.nanmax(np.abs(grid), initial=0)) or 1.0
    scale = TwoSlopeNorm(0, -largest, largest)
    image = axes.imshow(grid, norm=scale, cmap="RdBu", alpha=0.5, aspect="auto")
    _write(axes, grid, certain, sign="+")
    bar = figure.colorbar(image, ax=axes, label=f"difference in {measure}", shrink=0.9)
    bar.set_ticks([-largest, 0, largest], labels=[f"{-largest:.3g}", "0", f"{largest:+.3g}"])


def _write(
    axes: Any,  # noqa: ANN401
    grid: NDArray[np.float64],
    certain: dict[tuple[int, int], bool],
    sign: str = "",
) -> None:
    for at, value in np.ndenumerate(grid):
        form = f"{sign}.3f" if abs(value) < 100 else f"{sign},.0f"
        text = "-" if np.isnan(value) else f"{value:{form}}"
        weight = "bold" if certain.get((at[0], at[1])) else "normal"
        axes.text(at[1], at[0], text, ha="center", va="center", weight=weight, fontsize=6.5)
