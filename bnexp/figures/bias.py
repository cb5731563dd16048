"""What a bias before batch norm changes: nothing but rounding."""

import numpy as np
from matplotlib.figure import Figure

from bnexp.analysis.results import ExperimentResults
from bnexp.figures.drawing import PAGE, Picture, decimate, looks, step_axis, style, title
from bnexp.figures.panels import Selection, percentile_log, unit_position, variants_with_rows


def draw_bias(files: ExperimentResults) -> Picture:
    """Percentiles of normalized nets that differ in their bias, their differences, and the bias.

    Raises:
        StorageError: fewer than two variants have rows yet.
    """
    variants = variants_with_rows(files, 2)
    reference = min(variants, key=lambda name: bool(variants[name].settings["model.bias"]))
    logs = {name: percentile_log(each, None) for name, each in variants.items()}
    log = logs[reference]
    seed, column = unit_position(variants[reference], log, Selection())
    with style():
        figure = Figure((0.75 * PAGE, 5.4), layout="constrained")
        top, gap, norms = figure.subplots(3, sharex=True, height_ratios=[1.3, 1, 1])
        for (name, variant), look in zip(variants.items(), looks(len(variants)), strict=True):
            steps, values, metrics = logs[name].steps, logs[name].values, variant.metrics
            width = {"lw": 3, "alpha": 0.4, "zorder": 1} if name == reference else {"lw": 0.8}
            for q, line in enumerate(values[:, seed, :, column].T):
                top.plot(*decimate(steps, line), label=None if q else name, **look | width)
            if name != reference:
                both = min(len(values), len(log.values))  # a run under way: as far as it got
                largest = np.abs(values[:both] - log.values[:both]).max(axis=(1, 2, 3))
                gap.plot(*decimate(steps[:both], largest), **look)
                norms.plot(metrics.steps, metrics.bias_norm.mean(axis=1), **look)
                dots = look | {"lw": 0.6, "marker": ".", "ms": 3}
                norms.plot(metrics.steps, metrics.bias_gradient_norm.mean(axis=1), **dots)
        # The lines lie on each other: labels at their ends would say nothing.
        figure.legend(*top.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        whose = f"unit {log.unit[column]}, seed {log.seeds[seed]}"
        title(top, "(a) percentiles of the pre-activation", whose)
        title(gap, f"(b) largest difference from {reference}", "over units, percentiles, seeds")
        title(norms, "(c) the bias (lines) and its gradient (dots)", "mean of the seeds")
        top.set_ylabel("pre-activation")
        gap.set_ylabel("difference")
        norms.set_ylabel("Euclidean norm")
        for axes in (gap, norms):
            axes.set_yscale("log", nonpositive="mask")
        step_axis(norms)
    return Picture(
        figure,
        f"Percentiles over {log.population}, network in training mode. The unit is the typical one "
        f"of {reference}. BN subtracts the mean, and with it any bias: what is left is float "
        "rounding, which training carries on. Exact zeros are not drawn. The gradients end before "
        "the percentiles, since the final network makes no update and so has no gradient.",
    )
