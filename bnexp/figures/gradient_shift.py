"""Gradient internal covariate shift, variant against variant, layer by layer."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bnexp.analysis.formatting import counted
from bnexp.analysis.results import ExperimentResults
from bnexp.errors import StorageError
from bnexp.figures import drawing
from bnexp.figures.drawing import PAGE, TALLEST, Line, Look, NotebookFigure, Picture, style, title
from bnexp.figures.labels import EndLabel, end_labels, end_of
from bnexp.figures.panels import looks_of

EXPLAINED = (
    "Gradient internal covariate shift (Santurkar et al. 2018, Definition 2.1): for the weights of "
    "each layer, their gradient G on a minibatch against G', that after only the layers before "
    "them made their update on it. Layer 1 has none before it, and so no shift and no panel. "
)
NOT_CLAIMED = (
    "That networks differ in this shift and in how well they train does not show that one causes "
    "the other."
)
BINS = 60  # of a panel: a line of every row would hide the others
LEAST_WIDTH = 1.8  # inches, of a panel that stands beside others
ROW = 1.5  # inches: the height of a row of several, where a page has room for them


def draw_gradient_shift(files: ExperimentResults, width: float = PAGE) -> Picture:
    """For each layer the distance relative to ||G||, and the cosine, by variant.

    Args:
        files: the experiment.
        width: of the figure, in inches.

    Raises:
        StorageError: no variant has a row of `record.ics_every`.
    """
    found = {
        variant.name: variant.gradient_shift
        for variant in files.variants.values()
        if variant.gradient_shift and len(variant.gradient_shift.steps)
    }
    if not found:
        raise StorageError(f"{files.path}: no gradient shift was recorded; set record.ics_every")
    layers = sorted({layer for shift in found.values() for layer in shift.layers})
    labels = dict[Axes, list[EndLabel]]()
    with style():
        styles, n = looks_of(files), len(layers)
        figure, panels, across = _layout(n, width)
        for place, axes in enumerate(panels):
            kind, i = divmod(place, n)
            layer = "output" if i == n - 1 else f"layer\N{NO-BREAK SPACE}{layers[i]}"
            letter = drawing.letter(figure.axes.index(axes))
            title(axes, f"({letter}) {('distance', 'cosine')[kind]}, {layer}")
            ends = list[EndLabel]()
            for variant, shift in found.items():
                if layers[i] in shift.layers:
                    values = (shift.relative_distance, shift.cosine)[kind]
                    values, look = values[:, shift.layers.index(layers[i])], styles[variant]
                    steps, line = _draw_line(axes, shift.steps, values, look)
                    ends.append(end_of(steps, line, variant, look["color"]))
            labels[axes] = ends
        for axes in figure.axes[across - 1 :: across]:
            end_labels(axes, labels[axes])
    seeds = max(len(shift.seeds) for shift in found.values())
    binned = any(len(shift.steps) > BINS for shift in found.values())
    parts = f" and over the rows in each of {BINS} parts of the training" if binned else ""
    bands = "; bands: lowest to highest seed" if seeds > 1 else ""
    lines = f"Lines: median over {counted(seeds, 'seed')}{parts}{bands}. "
    return Picture(figure, EXPLAINED + lines + NOT_CLAIMED)


def _layout(n: int, width: float) -> tuple[Figure, list[Axes], int]:
    """Panels of the distance for n layers, then of the cosine; each kind has one vertical axis.

    The layers stand side by side; where that is too narrow, below each other beside their cosines,
    or all below each other.

    Returns:
        The figure, whose axes are in the order of reading; the panels; how many stand in a row.
    """
    beside, pairs = width / n >= LEAST_WIDTH, width / 2 >= LEAST_WIDTH
    down, across = (2, n) if beside else (n, 2) if pairs else (2 * n, 1)
    height, crowded = 3.8 if beside else min(ROW * down, TALLEST), ROW * down > TALLEST
    figure = NotebookFigure((width, height), layout="constrained")
    drawn = figure.subplots(down, across, squeeze=False, sharex=True)
    panels = list((drawn.T if pairs and not beside else drawn).flat)
    for place, axes in enumerate(panels):
        kind, i = divmod(place, n)
        if i:
            axes.sharey(panels[kind * n])
        if beside and i:
            axes.tick_params(labelleft=False)
        elif not crowded or i == n // 2:  # of crowded rows, the one in the middle names the axis
            axes.set_ylabel(("||G \N{MINUS SIGN} G'|| / ||G||", "cosine of G and G'")[kind])
    for axes in figure.axes[-across:]:
        drawing.step_axis(axes)
    for axes in panels[:n]:
        drawing.log_axis(axes)
    return figure, panels, across


def _draw_line(
    axes: Axes, steps: NDArray[np.int64], values: NDArray[np.floating], look: Look
) -> tuple[Line, Line]:
    """The median over seeds of values (rows, seeds), and their range; the line's points."""
    bins = min(BINS, len(steps))
    places = np.array([part.mean() for part in np.array_split(steps, bins)])
    seeds = np.array([np.nanmedian(part, axis=0) for part in np.array_split(values, bins)])
    line = np.median(seeds, axis=1)
    axes.plot(places, line, **look)
    drawing.draw_range(axes, places, seeds, look)
    return places, line
