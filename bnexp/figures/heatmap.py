"""A measure of a grid of two settings or more, as heat maps."""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.drift import window_steps
from bnexp.analysis.formatting import number
from bnexp.analysis.statistics import direction
from bnexp.analysis.tables import MEASURES
from bnexp.config import suggestion
from bnexp.errors import ConfigError
from bnexp.figures.drawing import LETTER, PAGE, NotebookFigure, Picture, lettered, style, title
from bnexp.figures.grid import Cells, Grid, Panel, Place, read_grid

DARK = "#101010"  # of numbers on a pale cell. A page in the dark would turn black to white


def draw_heatmap(
    comparison: Comparison, measure: str = "test_accuracy", width: float = PAGE
) -> Picture:
    """Heat maps of a measure over the two settings that have the most values.

    Each value of the last of the other settings, and best of all the norm, has a panel in each
    line of panels, and each combination of the rest has a line. Further panels hold each of these
    minus the first, paired by seed: whether two cells differ cannot be read off their own
    intervals, which hold what the same seeds have in common. So two settings of which one has two
    values make two panels of one column, and a third of their difference. Two settings of more
    values make one panel, and a second of the differences from the comparison's baseline.

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
    heading, form = MEASURES.get(measure, (measure, ".3f"))
    grid = read_grid(comparison, measure, heading)
    means, differences = grid.per_line
    shape = len(grid.values[0]), len(grid.values[1])
    with style():
        figure, drawn = _layout(grid, shape, width)
        for each, _ in drawn:
            each.set(yticks=range(shape[0]), yticklabels=grid.values[0])
            each.set(xticks=range(shape[1]), xticklabels=grid.values[1])
            each.tick_params(bottom=bool(grid.axes[1]))
        figure.supylabel(grid.axes[0], fontsize=7.5)
        figure.supxlabel(grid.axes[1], fontsize=7.5)
        for differs in (False, True) if differences else (False,):
            cells = {each: panel.cells for each, panel in drawn if panel.differs == differs}
            _draw_panels(figure, cells, shape, (heading, form), differs=differs)
        letter = LETTER
        if len({each.get_position().y0 for each, _ in drawn}) > 1:
            # Panels stand on each other, and a colour bar beside their titles: none may run into
            # it, even where its letters are wide.
            figure.lay_out()
            letter = 5.1
        for i, (each, panel) in enumerate(drawn):
            title(each, lettered(i, len(drawn), panel.title), letter_width=letter)
    text = f"{heading[:1].upper()}{heading[1:]}{_averaged(comparison, measure)}: "
    text += _over_seeds(comparison, measure)
    unknown = any(np.isnan(mean) for mean in _means(panel.cells for panel in grid.panels))
    text += "; -: not known of every seed." if unknown else "."
    if differences:
        text += (
            " Differences are paired by seed; bold: the 95 % t-interval excludes 0; not corrected "
            "for the number of cells."
        )
        if means == 1:
            text += " A cell without a difference is the baseline."
    return Picture(figure, text)


def _averaged(comparison: Comparison, measure: str) -> str:
    """Over which steps a measure is averaged, where it is and all variants have the same."""
    steps = {row.numbers.settings.get("train.steps") for row in comparison.rows}
    windows = {window_steps(each) if isinstance(each, int) else 0 for each in steps}
    if measure not in {"test_accuracy", "train_loss"} or len(windows) > 1 or 0 in windows:
        return ""
    return f", averaged over the last {windows.pop():,} steps"


def _over_seeds(comparison: Comparison, measure: str) -> str:
    """What a cell holds, of how many seeds."""
    found = [row.numbers.measures.get(measure) for row in comparison.rows]
    counts = {len(each.per_seed) for each in found if each}
    if counts == {1}:
        return "one seed"
    seeds = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else counts.pop()
    return f"mean over {seeds} seeds and half of its 95 % t-interval"


def _minus(text: str) -> str:
    """A number with a minus sign in place of its hyphen; a dash that stands alone is no number."""
    return text if text == "-" else text.replace("-", "\N{MINUS SIGN}")


def _layout(
    grid: Grid, shape: Place, width: float
) -> tuple[NotebookFigure, list[tuple[Axes, Panel]]]:
    """The panels with their axes, in the order of reading.

    Differences stand beside the means of their line where there is room, else below all means: in
    the columns of what they belong to, or where a line has no room either, one below the other.
    """
    one = max(0.46 * shape[1] + 0.15, 1.15)  # inches: a panel; labels and bars take the rest
    means, differences = grid.per_line
    n, panels = means + differences, grid.panels
    beside, below = one * n + 2.1, one * means + 1.8
    across, inches = 1, max(min(width, 3.25), one + 1.35)
    if differences and beside <= width:
        across, inches = n, max(inches, beside)
    else:
        panels = sorted(panels, key=lambda panel: panel.differs)
        if means > 2 and below <= width:
            across, inches = means, max(inches, below)
    down = grid.lines * -(-n // across)
    figure = NotebookFigure((inches, 0.4 + down * (0.55 + 0.36 * shape[0])), layout="constrained")
    places = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    if 1 < across < n:
        empty = across - differences  # below what the others are compared with
        for lower in places[grid.lines :]:
            for each in lower[:empty]:
                each.remove()
            lower[empty].tick_params(labelleft=True)
        for above in places[grid.lines - 1, :empty]:
            above.tick_params(labelbottom=True)
    axes = [each for each in places.flat if each.figure is not None]
    return figure, list(zip(axes, panels, strict=True))


def _draw_panels(
    figure: Figure,
    panels: Mapping[Axes, Cells],
    shape: Place,
    measure: tuple[str, str],
    *,
    differs: bool,
) -> None:
    """Means on one scale from the lowest to the highest, or differences on one centred on 0."""
    heading, form = measure
    finite = [each for each in _means(panels.values()) if np.isfinite(each)]
    if differs:
        largest = max(map(abs, finite), default=0.0) or 1.0
        scale: Normalize = TwoSlopeNorm(0, -largest, largest)
        broken = "\n" if shape[0] < 3 else " "  # a bar of two rows is shorter than its label
        form, label = f"+{form}", f"difference in{broken}{heading}\nbold: CI excludes 0"
    else:
        scale = Normalize(min(finite, default=0.0), max(finite, default=1.0))
        label = f"{heading}\nmean ± 95 % CI"
    images = [_draw_panel(axes, cells, shape, scale, form) for axes, cells in panels.items()]
    bar = figure.colorbar(images[0], ax=[*panels], label=label)
    if differs:
        ends = [_minus(f"{-largest:.3g}"), "0", f"{largest:+.3g}"]
        bar.set_ticks([-largest, 0, largest], labels=ends)


def _means(panels: Iterable[Cells]) -> list[float]:
    return [over.mean for cells in panels for over in cells.values()]


def _draw_panel(axes: Axes, cells: Cells, shape: Place, scale: Normalize, form: str) -> AxesImage:
    """Each cell's mean and half interval; a difference is bold where its interval excludes 0."""
    differs = isinstance(scale, TwoSlopeNorm)
    grid = np.full(shape, np.nan)
    for at, over in cells.items():
        grid[at] = over.mean
    image = axes.imshow(grid, norm=scale, cmap="RdBu" if differs else "viridis", aspect="auto")
    for places, draw in ((shape[0], axes.axhline), (shape[1], axes.axvline)):
        for between in np.arange(0.5, places - 1):  # cells of nearly one colour are told apart
            draw(between, color="white", lw=0.8)
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
