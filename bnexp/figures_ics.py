"""Gradient internal covariate shift, drawn under the percentiles of the same run."""

import numpy as np
from matplotlib.axes import Axes  # noqa: TID253
from matplotlib.figure import Figure  # noqa: TID253

from bnexp.drawing import WIDTH, bin_median, caption, letter, looks, step_axis, style, title
from bnexp.errors import StorageError
from bnexp.panels import label_lines, percentile_log, percentile_panel, read_curves
from bnexp.runlog import ExperimentFiles, GradientShift

CAPTION = (
    "Top: percentiles of the pre-activation of the typical unit of the last hidden layer, as in "
    "Figure 1. Below: gradient internal covariate shift (Santurkar et al. 2018, Definition 2.1): "
    "for the weights of each layer, the distance and the cosine between their gradient on a "
    "minibatch and the gradient after only the layers before them made their update on it; median "
    "over seeds. That the two rows differ between networks does not show that one causes the other."
)


def draw_ics(files: ExperimentFiles) -> Figure:
    """A column for each variant that recorded it: percentiles, distance (log), cosine.

    Raises:
        StorageError: no variant has a row of `record.ics_every`.
    """
    found = {name: (run, run.ics) for name, run in files.runs.items()}
    shifts = {name: (run, ics) for name, (run, ics) in found.items() if ics and len(ics.steps)}
    if not shifts:
        raise StorageError(f"{files.path}: no gradient shift was recorded; set record.ics_every")
    with style():
        columns = len(shifts)
        figure = Figure((max(WIDTH * columns / 3, 6), 7.2), layout="constrained")
        grid = figure.subplots(3, columns, squeeze=False, sharex=True, sharey="row")
        curves = {name: read_curves(run, percentile_log(run, None), None, "typical")
                  for name, (run, _) in shifts.items()}  # fmt: skip
        for column, (name, (_, ics)) in enumerate(shifts.items()):
            percentile_panel(grid[0, column], curves[name], looks(columns)[column]["color"])
            title(grid[0, column], f"({letter(column)}) {name}", curves[name].unit)
            _shift_panels(grid[1, column], grid[2, column], ics)
            step_axis(grid[2, column])
        grid[1, 0].set_yscale("log")
        for row, text in enumerate(("pre-activation", "||G - G'||", "cosine of G and G'")):
            grid[row, 0].set_ylabel(text)
        grid[1, -1].legend(title="weights of layer", ncols=2)
        for column, name in enumerate(shifts):
            label_lines(grid[0, column], curves[name])
        caption(figure, CAPTION)
    return figure


def _shift_panels(distance: Axes, cosine: Axes, ics: GradientShift) -> None:
    for index, (layer, look) in enumerate(zip(ics.layers, looks(len(ics.layers)), strict=True)):
        for axes, values in ((distance, ics.distance), (cosine, ics.cosine)):
            steps, line = bin_median(ics.steps, np.nanmedian(values[:, index], axis=1), 200)
            axes.plot(steps, line, label=str(layer), **look)
