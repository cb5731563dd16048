"""Gradient internal covariate shift, variant against variant, layer by layer."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bnexp.analysis.results import ExperimentResults
from bnexp.errors import StorageError
from bnexp.figures import drawing
from bnexp.figures.drawing import PAGE, Look, NotebookFigure, Picture, style, title
from bnexp.figures.labels import EndLabel, end_labels
from bnexp.figures.panels import looks_of

CAPTION = (
    "Gradient internal covariate shift (Santurkar et al. 2018, Definition 2.1): for the weights of "
    "each layer, their gradient G on a minibatch against G', that after only the layers before "
    "them made their update on it. Layer 1 has none before it, and so no shift and no panel. "
    "Lines: median over seeds and over neighbouring rows; bands: "
    "lowest to highest seed of these. That both differ between networks does not show that one "
    "causes the other."
)
BINS = 60  # of a panel: a line of every row would hide the others
LEAST_WIDTH = 1.8  # inches, of a panel; narrower figures have their panels below each other


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
    with style():
        styles, n = looks_of(files), len(layers)
        across = n if width / n >= LEAST_WIDTH else 1
        figure, panels = _layout(n, across, width)
        labels = list[list[EndLabel]]()
        for place, axes in enumerate(panels):
            row, layer = place // n, layers[place % n]
            name = "output" if layer == layers[-1] else f"layer {layer}"
            title(axes, f"({drawing.letter(place)}) {('distance', 'cosine')[row]}, {name}")
            ends = list[EndLabel]()
            for variant, shift in found.items():
                if layer in shift.layers:
                    values = (shift.relative_distance, shift.cosine)[row]
                    values, look = values[:, shift.layers.index(layer)], styles[variant]
                    end = _draw_line(axes, shift.steps, values, look)
                    ends.append((end, variant, look["color"]))
            labels.append(ends)
        for axes, ends in list(zip(panels, labels, strict=True))[across - 1 :: across]:
            end_labels(axes, ends)
    return Picture(figure, CAPTION)


def _layout(n: int, across: int, width: float) -> tuple[Figure, list[Axes]]:
    """Panels of the distance for n layers, then of the cosine; each kind has one vertical axis."""
    down = 2 * n // across
    figure = NotebookFigure((width, 3.8 if down == 2 else 1.5 * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False, sharex=True).flat)
    for place, axes in enumerate(panels):
        if place % n:
            axes.sharey(panels[place // n * n])
        if place % across == 0:
            axes.set_ylabel(("||G \N{MINUS SIGN} G'|| / ||G||", "cosine of G and G'")[place // n])
        else:
            axes.tick_params(labelleft=False)
        if place >= len(panels) - across:
            drawing.step_axis(axes)
    panels[0].set_yscale("log")  # and with it those that share its axis
    return figure, panels


def _draw_line(
    axes: Axes, steps: NDArray[np.int64], values: NDArray[np.floating], look: Look
) -> float:
    """The median over seeds of values (rows, seeds), and their range; returns where it ends."""
    bins = min(BINS, len(steps))
    places = np.array([part.mean() for part in np.array_split(steps, bins)])
    seeds = np.array([np.nanmedian(part, axis=0) for part in np.array_split(values, bins)])
    line = np.median(seeds, axis=1)
    axes.plot(places, line, **look)
    drawing.draw_range(axes, places, seeds, look)
    return float(line[-1])
