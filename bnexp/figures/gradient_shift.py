"""Gradient internal covariate shift, drawn under the percentiles of the same run."""

import numpy as np
from matplotlib.figure import Figure

from bnexp.analysis.results import ExperimentResults
from bnexp.errors import StorageError
from bnexp.figures.drawing import WIDTH, caption, decimate, letter, looks, step_axis, style
from bnexp.figures.panels import Asked, percentile_panels

CAPTION = (
    "Top: percentiles of the pre-activation of the typical unit of the last hidden layer. Below: "
    "gradient internal covariate shift (Santurkar et al. 2018, Definition 2.1): for the weights of "
    "each layer, distance and cosine between their gradient on a minibatch and that after only the "
    "layers before them made their update on it; median over seeds. That both differ between "
    "networks does not show that one causes the other."
)


def draw_ics(files: ExperimentResults) -> Figure:
    """A column for each variant that recorded it: percentiles, distance (log), cosine.

    Raises:
        StorageError: no variant has a row of `record.ics_every`.
    """
    shifts = [
        (run, run.gradient_shift)
        for run in files.variants.values()
        if run.gradient_shift and len(run.gradient_shift.steps)
    ]
    if not shifts:
        raise StorageError(f"{files.path}: no gradient shift was recorded; set record.ics_every")
    with style():
        figure = Figure((max(WIDTH * len(shifts) / 3, 6), 7.2), layout="constrained")
        grid = figure.subplots(3, len(shifts), squeeze=False, sharex=True, sharey="row")
        runs = {f"({letter(i)}) {run.name}": run for i, (run, _) in enumerate(shifts)}
        percentile_panels(grid[0], runs, Asked())
        for (_, *below), (_, ics) in zip(grid.T, shifts, strict=True):
            for axes, values in zip(below, (ics.distance, ics.cosine), strict=True):
                lines = np.nanmedian(values, axis=2).T
                for line, layer, look in zip(lines, ics.layers, looks(len(lines)), strict=True):
                    axes.plot(*decimate(ics.steps, line, [np.median]), label=str(layer), **look)
            step_axis(axes)
        grid[1, 0].set_yscale("log")
        for row, text in enumerate(("pre-activation", "||G - G'||", "cosine of G and G'")):
            grid[row, 0].set_ylabel(text)
        grid[1, -1].legend(title="weights of layer", ncols=2)
        caption(figure, CAPTION)
    return figure
