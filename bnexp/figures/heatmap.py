"""A measure of a grid of two settings or more, as heat maps."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from bnexp.analysis.comparison import ComparedVariant, Comparison
from bnexp.analysis.formatting import cell, number
from bnexp.analysis.numbers import paired
from bnexp.analysis.statistics import OverSeeds, direction, over_seeds
from bnexp.analysis.tables import MEASURES
from bnexp.config import suggestion
from bnexp.errors import ConfigError
from bnexp.figures.drawing import PAGE, NotebookFigure, Picture, lettered, style, title

Place = tuple[int, int]  # row and column of a cell
Cells = Mapping[Place, OverSeeds]
Panels = Mapping[str, Cells]  # by title

DARK = "#101010"  # of numbers on a pale cell. A page in the dark would turn black to white


def draw_heatmap(
    comparison: Comparison, measure: str = "test_accuracy", width: float = PAGE
) -> Picture:
    """Heat maps of a measure over the two settings that have the most values.

    Each value of the last of the other settings, and best of all the norm, has a panel in each
    line of panels, and each combination of the rest has a line. Where a line has two panels, a
    third one holds the second minus the first, paired by seed. So two settings of which one has two
    values make two panels of one column, and a third of their difference: whether two cells differ
    cannot be read off their own intervals, which hold what the same seeds have in common.

    Args:
        comparison: of the grid's variants.
        measure: what the cells hold.
        width: the most that the figure takes, in inches, unless a single panel is wider. Where a
            line is too wide for it, its panels stand below each other.

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
    if not others and len(levels[across]) == 2:  # its values become panels, of one column each
        others, across, levels[""] = [across], "", [""]
        settings = [{**each, "": ""} for each in settings]
    lines: dict[str, dict[str, dict[Place, ComparedVariant]]] = {}
    for row, each in zip(rows, settings, strict=True):
        line, column = _named(each, others[:-1]), _named(each, others[-1:])
        at = levels[down].index(each[down]), levels[across].index(each[across])
        lines.setdefault(line, {}).setdefault(column, {})[at] = row
    panels, differences = _panels(lines, measure)
    heading, form = MEASURES.get(measure, (measure, ".3f"))
    shape = len(levels[down]), len(levels[across])
    with style():
        figure, axes = _layout(len(lines), len(panels) // len(lines), shape, width)
        drawn = dict(zip(panels, axes, strict=True))
        for i, (name, each_axes) in enumerate(drawn.items()):
            title(each_axes, lettered(i, len(panels), name))
            each_axes.set(xticks=range(shape[1]), xticklabels=levels[across])
            each_axes.tick_params(bottom=bool(across))
            each_axes.set(yticks=range(shape[0]), yticklabels=levels[down])
        figure.supxlabel(across, fontsize=7.5)
        figure.supylabel(down, fontsize=7.5)
        means = {name: cells for name, cells in panels.items() if name not in differences}
        _draw_means(figure, drawn, means, shape, (heading, form))
        if differences:
            _draw_differences(figure, drawn, differences, shape, (heading, form))
    text = f"{heading[:1].upper()}{heading[1:]}: mean over seeds and half of its 95 % t-interval"
    unknown = any(np.isnan(mean) for mean in _all_means(panels))
    text += "; -: not by every seed." if unknown else "."
    if differences:
        text += (
            " Differences are paired by seed; bold: the 95 % t-interval excludes 0; not corrected "
            "for the number of cells."
        )
    return Picture(figure, text)


def _minus(text: str) -> str:
    """A number with a minus sign in place of its hyphen; a dash that stands alone is no number."""
    return text if text == "-" else text.replace("-", "\N{MINUS SIGN}")


def _named(settings: Mapping[str, str], keys: Sequence[str]) -> str:
    return ", ".join(f"{key.split('.')[-1]} {settings[key]}" for key in keys)


def _panels(
    lines: Mapping[str, Mapping[str, Mapping[Place, ComparedVariant]]], measure: str
) -> tuple[Panels, Panels]:
    """All panels by title, line by line, and those of them that hold differences."""
    panels, differences = dict[str, Cells](), dict[str, Cells]()
    columns = list(next(iter(lines.values())))
    for line, variants in lines.items():
        for column in columns:
            name = ", ".join(filter(None, [line, column]))
            panels[name] = {
                at: row.numbers.measures[measure]
                for at, row in variants.get(column, {}).items()
                if measure in row.numbers.measures
            }
        if len(columns) == 2:
            first, second = columns
            name = ", ".join(filter(None, [line, f"{second} minus {first}"]))
            gaps = _gaps(variants.get(second, {}), variants.get(first, {}), measure)
            panels[name] = differences[name] = gaps
    return panels, differences


def _gaps(
    variants: Mapping[Place, ComparedVariant],
    bases: Mapping[Place, ComparedVariant],
    measure: str,
) -> Cells:
    """The measure of each variant minus that of its base, over the seeds that both have."""
    found = dict[Place, OverSeeds]()
    for at, row in variants.items():
        if at in bases:
            mine, theirs = paired(row.numbers, bases[at].numbers)
            if measure in mine and measure in theirs and len(mine[measure]):
                found[at] = over_seeds(mine[measure] - theirs[measure])
    return found


def _layout(lines: int, panels: int, shape: Place, width: float) -> tuple[Figure, list[Axes]]:
    """The axes of so many lines of panels."""
    one = max(0.46 * shape[1] + 0.15, 1.15)  # inches: a panel; labels and bars take the rest
    across = panels if one * panels + 2.1 <= width else 1
    down = lines * panels // across
    size = max(min(width, 3.25), one * across + (2.1 if across > 1 else 1.35))
    figure = NotebookFigure((size, 0.4 + down * (0.55 + 0.36 * shape[0])), layout="constrained")
    return figure, list(figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).flat)


def _draw_means(
    figure: Figure,
    axes: Mapping[str, Axes],
    panels: Panels,
    shape: Place,
    measure: tuple[str, str],
) -> None:
    """The means on one scale from the lowest to the highest."""
    heading, form = measure
    finite = [mean for mean in _all_means(panels) if np.isfinite(mean)] or [0.0, 1.0]
    scale = Normalize(min(finite), max(finite))
    images = [_draw_panel(axes[name], panels[name], shape, scale, form) for name in panels]
    label = f"{heading}\nmean ± 95 % CI"
    figure.colorbar(images[0], ax=[axes[name] for name in panels], label=label)


def _draw_differences(
    figure: Figure,
    axes: Mapping[str, Axes],
    panels: Panels,
    shape: Place,
    measure: tuple[str, str],
) -> None:
    """The differences on one scale that is centred on 0, by the measure's heading and format."""
    heading, form = measure
    largest = float(np.nanmax(np.abs([*_all_means(panels), 0.0]))) or 1.0
    scale = TwoSlopeNorm(0, -largest, largest)
    images = [_draw_panel(axes[name], panels[name], shape, scale, f"+{form}") for name in panels]
    label = f"difference in {heading}\nbold: 95 % CI excludes 0"
    bar = figure.colorbar(images[0], ax=[axes[name] for name in panels], label=label)
    bar.set_ticks(
        [-largest, 0, largest], labels=[_minus(f"{-largest:.3g}"), "0", f"{largest:+.3g}"]
    )


def _all_means(panels: Panels) -> list[float]:
    return [over.mean for cells in panels.values() for over in cells.values()]


def _draw_panel(
    axes: Axes, cells: Cells, shape: Place, scale: Normalize | TwoSlopeNorm, form: str
) -> AxesImage:
    """Each cell's mean and half interval; a difference is bold where its interval excludes 0."""
    differs = isinstance(scale, TwoSlopeNorm)
    grid = np.full(shape, np.nan)
    for at, over in cells.items():
        grid[at] = over.mean
    image = axes.imshow(grid, norm=scale, cmap="RdBu" if differs else "viridis", aspect="auto")
    for (y, x), over in cells.items():
        text = _minus(number(over.mean, form))
        if np.isfinite(over.low):
            text += f"\n±{number(over.high - over.mean, form.lstrip('+'))}"
        red, green, blue, seen = image.to_rgba(np.ma.masked_invalid([over.mean]))[0]
        pale = not seen or 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
        axes.text(
            x,
            y,
            text,
            color=DARK if pale else "white",
            weight="bold" if differs and direction(over) else "normal",
            fontsize=6,
            ha="center",
            va="center",
            in_layout=False,  # it lies in its cell, and measuring hundreds of texts takes seconds
        )
    return image
