"""What batch norm keeps for each unit: gamma and beta, and its running statistics."""

import numpy as np
from matplotlib.axes import Axes

from bnexp.analysis.distributions import normal_quantiles
from bnexp.analysis.formatting import counted
from bnexp.analysis.records import RunningStatisticsLog
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.variants import VariantResults
from bnexp.figures import drawing
from bnexp.figures.curves import Selection, read_curves, unit_position
from bnexp.figures.drawing import PAGE, NotebookFigure, Picture, style, title
from bnexp.figures.labels import EndLabel, end_labels, end_of
from bnexp.figures.panels import draw_curves, looks_of, panel_name

OVER_UNITS = (
    " Layer norm and RMS norm normalize each example over the units, which leaves a unit's mean "
    "and standard deviation free."
)
LEAST_WIDTH = 2.0  # inches, of a panel; narrower figures have their panels below each other


def with_norm_parameters(files: ExperimentResults) -> dict[str, VariantResults]:
    """The variants whose gamma and beta are recorded at the probe's rows."""
    return {
        name: each
        for name, each in files.variants.items()
        if each.norm_parameters is not None and each.probe is not None and len(each.probe.steps)
    }


def draw_norm_parameters(files: ExperimentResults, width: float = PAGE) -> Picture:
    """Beta and beta + z gamma over the percentiles of the typical unit of each variant.

    Args:
        files: an experiment in which `with_norm_parameters` finds one variant or more.
        width: the most that the figure takes, in inches.
    """
    variants = with_norm_parameters(files)
    n, described = len(variants), dict[str, str]()
    by_unit = all(each.settings["model.norm"] in {"none", "batch"} for each in variants.values())
    with style():
        styles = looks_of(files)
        inches = min(width, 2.6 * n + 0.6)
        figure, panels = _row_or_column(n, inches, (2.6, 1.9 * n + 0.3), sharey=True)
        ends = list[list[EndLabel]]()
        for i, (axes, (name, variant)) in enumerate(zip(panels, variants.items(), strict=True)):
            probe, parameters = variant.probe, variant.norm_parameters
            if probe is None or parameters is None:
                raise ValueError(f"{name}: its gamma and beta are not recorded")
            curves = read_curves(variant, Selection(source="probe"))
            seed, column = unit_position(variant, probe, Selection())
            ends.append(draw_curves(axes, curves, styles[name]["color"]))
            rows = min(len(parameters), len(probe.steps))
            gamma, beta = parameters[:rows, seed, :, column].T
            for q, z in zip(probe.percentiles, normal_quantiles(probe.percentiles), strict=True):
                label = "beta + z gamma: if Gaussian" if q == probe.percentiles[0] else None
                line = drawing.decimate(probe.steps[:rows], beta + z * gamma, [np.median])
                axes.plot(*line, color="black", lw=0.9, ls="--", label=label)
                described[f"{q:g}"] = f"{z:.3f}"
            title(axes, drawing.lettered(i, n, panel_name(name, variant)), curves.unit)
            axes.set_ylabel("pre-activation")
            axes.label_outer()
        for axes, labels in zip(figure.axes, ends, strict=True):
            end_labels(axes, labels)
        first = figure.axes[0]
        figure.legend(*first.get_legend_handles_labels(), loc="outside lower center")
    return Picture(
        figure,
        "Percentiles of the pre-activation of the typical unit of the last hidden layer (colour), "
        "and what they would be if its distribution had the shape of a Gaussian (dashed): "
        f"beta + z gamma, with z = {', '.join(described.values())} for percentiles "
        f"{', '.join(described)}. With batch norm, a unit's mean and standard deviation over the "
        "examples are beta and gamma exactly, and what is left is a change of shape."
        f"{'' if by_unit else OVER_UNITS}",
    )


def with_running_statistics(files: ExperimentResults) -> dict[str, RunningStatisticsLog]:
    """The running statistics of the variants that compared them with the training set's."""
    return {
        name: each.running_statistics
        for name, each in files.variants.items()
        if each.running_statistics is not None and len(each.running_statistics.steps) > 1
    }


def draw_running_statistics(files: ExperimentResults, width: float = PAGE) -> Picture:
    """The gaps of the running statistics, and the test accuracy by three kinds of statistics.

    Args:
        files: an experiment in which `with_running_statistics` finds one variant or more.
        width: of the figure, in inches.
    """
    found = with_running_statistics(files)
    seeds = max(len(each.seeds) for each in found.values())
    bands = "; bands: lowest to highest seed" if seeds > 1 else ""
    with style():
        styles = looks_of(files)
        figure, panels = _row_or_column(3, width, (2.5, 5.6), sharey=False)
        mean, variance, accuracy = panels
        ends = {axes: list[EndLabel]() for axes in panels}
        for name, each in found.items():
            colour, label = styles[name]["color"], panel_name(name, files.variants[name])
            steps = each.steps[1:]  # before training, the running statistics are those of no data
            for axes, gaps in ((mean, each.mean_gap), (variance, each.variance_gap)):
                gap = gaps[1:]
                line = gap.mean(axis=1)
                axes.plot(steps, line, color=colour, ls="-", **drawing.marks(len(steps)))
                drawing.draw_range(axes, steps, gap, styles[name])
                ends[axes].append(end_of(steps, line, label, colour))
            kinds = {
                "training set": each.population_accuracy,
                "running": each.running_accuracy,
                "minibatch": each.minibatch_accuracy,
            }
            for (kind, values), line in zip(kinds.items(), ("-", "--", ":"), strict=True):
                by_kind = values[1:].mean(axis=1)
                accuracy.plot(steps, by_kind, color=colour, ls=line, **drawing.marks(len(steps)))
                named = kind if len(found) == 1 else f"{label}, {kind}"
                ends[accuracy].append(end_of(steps, by_kind, named, colour))
        for axes in (mean, variance):
            axes.set_ylim(bottom=0)
        mean.set_xlim(left=0)
        title(mean, "(a) running mean", "against the training set's")
        title(variance, "(b) running variance", "against the training set's")
        title(accuracy, "(c) test accuracy", "normalized by the statistics of")
        mean.set_ylabel("RMS gap (std. deviations)")
        variance.set_ylabel("RMS gap (relative)")
        accuracy.set_ylabel("test accuracy")
        for axes in panels if len(found) > 1 else [accuracy]:
            end_labels(axes, ends[axes])
    return Picture(
        figure,
        "Batch norm's running statistics against those of the training set, estimated over 100 "
        "minibatches with frozen weights (Ioffe & Szegedy, Algorithm 2). Gaps are root mean "
        "squares over all normalized units: of the mean in standard deviations of the unit, of "
        "the variance as a share of the training set's. In (c) the same networks are evaluated "
        "with each kind of statistics, of which the last are those of each minibatch of test "
        f"examples. Lines: mean over {counted(seeds, 'seed')}{bands}. The networks before training "
        "are left out.",
    )


def _row_or_column(
    n: int, width: float, heights: tuple[float, float], *, sharey: bool
) -> tuple[NotebookFigure, list[Axes]]:
    """Panels beside each other where there is room, else below each other.

    Args:
        n: how many there are.
        width: of the figure, in inches.
        heights: of a row, and of a column.
        sharey: whether all have one vertical axis, as all have one of steps.
    """
    down, across = (1, n) if width / n >= LEAST_WIDTH else (n, 1)
    figure = NotebookFigure((width, heights[down > 1]), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=sharey)
    for axes in panels[-1]:
        drawing.step_axis(axes)
    return figure, list(panels.flat)
