"""What batch norm keeps for each unit: gamma and beta, and its running statistics."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bnexp.analysis.distributions import normal_quantiles
from bnexp.analysis.records import RunningStatistics
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.variants import VariantResults
from bnexp.figures.drawing import (
    PAGE,
    Picture,
    decimate,
    end_labels,
    letter,
    looks,
    step_axis,
    style,
    title,
)
from bnexp.figures.panels import Curves, Selection, draw_curves, read_curves, unit_position


def looks_of(files: ExperimentResults) -> dict[str, dict[str, Any]]:
    """The colour and line of each variant, as Figure 1 draws it."""
    return dict(zip(files.variants, looks(len(files.variants)), strict=True))


def with_norm_parameters(files: ExperimentResults) -> dict[str, VariantResults]:
    """The variants whose gamma and beta are recorded at the probe's rows."""
    return {
        name: each
        for name, each in files.variants.items()
        if each.norm_parameters is not None and each.probe is not None and len(each.probe.steps)
    }


def draw_norm_parameters(files: ExperimentResults) -> Picture:
    """Beta and beta + z gamma over the percentiles of the typical unit of each variant.

    Args:
        files: an experiment in which `with_norm_parameters` finds one variant or more.
    """
    variants = with_norm_parameters(files)
    with style():
        figure = Figure((min(PAGE, 2.6 * len(variants) + 0.6), 2.6), layout="constrained")
        panels = figure.subplots(1, len(variants), squeeze=False, sharey=True)[0]
        drawn: dict[str, Curves] = {}
        colours = {name: look["color"] for name, look in looks_of(files).items()}
        for i, (axes, (name, variant)) in enumerate(zip(panels, variants.items(), strict=True)):
            probe, parameters = variant.probe, variant.norm_parameters
            if probe is None or parameters is None:
                raise ValueError(f"{name}: its gamma and beta are not recorded")
            drawn[name] = curves = read_curves(variant, Selection(source="probe"))
            seed, column = unit_position(variant, probe, Selection())
            draw_curves(axes, curves, colours[name])
            rows = min(len(parameters), len(probe.steps))
            gamma, beta = parameters[:rows, seed, :, column].T
            for q, z in zip(probe.percentiles, normal_quantiles(probe.percentiles), strict=True):
                label = "beta + z gamma" if q == probe.percentiles[0] else None
                line = decimate(probe.steps[:rows], beta + z * gamma, [np.median])
                axes.plot(*line, color="black", lw=0.9, ls="--", label=label)
            title(axes, f"({letter(i)}) {name}", curves.unit)
            step_axis(axes)
        for axes, (name, curves) in zip(panels, drawn.items(), strict=True):
            ends = zip(curves.lines[-20:].mean(axis=0), curves.percentiles, strict=True)
            end_labels(axes, [(float(end), f"P{q:g}", colours[name]) for end, q in ends])
        panels[0].set_ylabel("pre-activation")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center")
    return Picture(
        figure,
        "Percentiles of the pre-activation of the typical unit of the last hidden layer (colour), "
        "and what they would be if its distribution kept the shape of a Gaussian (dashed): "
        "beta + z gamma, with z = -1.036, 0, 1.036 for percentiles 15, 50, 85. Mean and standard "
        "deviation are beta and gamma exactly; what is left is a change of shape.",
    )


def with_running_statistics(files: ExperimentResults) -> dict[str, RunningStatistics]:
    """The running statistics of the variants that compared them with the population's."""
    return {
        name: each.running_statistics
        for name, each in files.variants.items()
        if each.running_statistics is not None and len(each.running_statistics.steps) > 1
    }


def draw_running_statistics(files: ExperimentResults) -> Picture:
    """The gaps of the running statistics, and the test accuracy by three kinds of statistics.

    Args:
        files: an experiment in which `with_running_statistics` finds one variant or more.
    """
    found = with_running_statistics(files)
    with style():
        variants = looks_of(files)
        figure = Figure((PAGE, 2.5), layout="constrained")
        mean, variance, accuracy = figure.subplots(1, 3)
        for name, each in found.items():
            look = {"color": variants[name]["color"], "ls": "-"}
            for axes, gap in ((mean, each.mean_gap), (variance, each.variance_gap)):
                axes.plot(each.steps, gap.mean(axis=1), label=name, **look)
                edges = gap.min(axis=1), gap.max(axis=1)
                axes.fill_between(each.steps, *edges, color=look["color"], alpha=0.2, lw=0)
            kinds = {
                "population": each.population_accuracy,
                "running": each.running_accuracy,
                "minibatch": each.minibatch_accuracy,
            }
            for (kind, values), line in zip(kinds.items(), ("-", "--", ":"), strict=True):
                label = kind if len(found) == 1 else f"{name}, {kind}"
                drawn = {"color": look["color"], "ls": line, "label": label}
                accuracy.plot(each.steps[1:], values[1:].mean(axis=1), **drawn)
        for axes in (mean, variance):
            axes.set_yscale("log")
            axes.set_ylabel("gap, root mean square")
        title(mean, "(a) running mean", "in standard deviations")
        title(variance, "(b) running variance", "relative")
        title(accuracy, "(c) test accuracy", "by the statistics of the norm")
        accuracy.set_ylabel("test accuracy")
        accuracy.legend(loc="lower right")
        if len(found) > 1:
            mean.legend()
        for axes in (mean, variance, accuracy):
            step_axis(axes)
    return Picture(
        figure,
        "Batch norm's running statistics against those of the training set, estimated over 100 "
        "minibatches with frozen weights (Ioffe & Szegedy, Algorithm 2). Gaps are over all "
        "normalized units; lines: mean over seeds; bands: lowest to highest seed. Accuracies are "
        "means over seeds, without the network before training.",
    )
