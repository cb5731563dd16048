"""Gradient internal covariate shift, variant against variant, layer by layer."""

import numpy as np
from matplotlib.figure import Figure

from bnexp.analysis.results import ExperimentResults
from bnexp.errors import StorageError
from bnexp.figures.drawing import PAGE, Picture, letter, looks, step_axis, style, title

CAPTION = (
    "Gradient internal covariate shift (Santurkar et al. 2018, Definition 2.1): for the weights of "
    "each layer, their gradient G on a minibatch against G', that after only the layers before "
    "them made their update on it. Lines: median over seeds and over neighbouring rows; bands: "
    "lowest to highest seed of these. That both differ between networks does not show that one "
    "causes the other."
)
BINS = 60  # of a panel: a line of every row would hide the others


def draw_gradient_shift(files: ExperimentResults) -> Picture:
    """A column for each layer: the distance relative to ||G||, and the cosine, by variant.

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
        figure = Figure((PAGE, 3.8), layout="constrained")
        grid = figure.subplots(2, len(layers), squeeze=False, sharex=True, sharey="row")
        for column, layer in enumerate(layers):
            name = "output layer" if layer == layers[-1] else f"weights of layer {layer}"
            title(grid[0, column], f"({letter(column)}) {name}")
            title(grid[1, column], f"({letter(len(layers) + column)}) {name}")
            for (variant, shift), look in zip(found.items(), looks(len(found)), strict=True):
                if layer not in shift.layers:
                    continue
                place = shift.layers.index(layer)
                for row, values in enumerate((shift.relative_distance, shift.cosine)):
                    bins = min(BINS, len(shift.steps))
                    steps = [part[0] for part in np.array_split(shift.steps, bins)]
                    parts = np.array_split(values[:, place], bins)
                    seeds = np.array([np.nanmedian(part, axis=0) for part in parts])
                    axes = grid[row, column]
                    axes.plot(steps, np.median(seeds, axis=1), label=variant, **look)
                    edges = seeds.min(axis=1), seeds.max(axis=1)
                    axes.fill_between(steps, *edges, color=look["color"], alpha=0.2, lw=0)
            step_axis(grid[1, column])
        grid[0, 0].set_yscale("log")
        grid[0, 0].set_ylabel("||G - G'|| / ||G||")
        grid[1, 0].set_ylabel("cosine of G and G'")
        grid[0, -1].legend()
    return Picture(figure, CAPTION)
