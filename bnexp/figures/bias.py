"""What a bias before batch norm changes: nothing but rounding."""

import numpy as np

from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.stacking import common_rows
from bnexp.figures.curves import Selection, percentile_log, unit_position, variants_with_rows
from bnexp.figures.drawing import (
    GREY,
    PAGE,
    EndLabel,
    NotebookFigure,
    Picture,
    decimate,
    end_labels,
    step_axis,
    style,
    title,
)
from bnexp.figures.panels import looks_of


def draw_bias(files: ExperimentResults, width: float = PAGE) -> Picture:
    """Percentiles of normalized nets that differ in their bias, their differences, and the bias.

    Args:
        files: the experiment.
        width: the most that the figure takes, in inches.

    Raises:
        StorageError: fewer than two variants have rows yet.
    """
    variants = variants_with_rows(files, 2)
    reference = min(variants, key=lambda name: bool(variants[name].settings["model.bias"]))
    logs = {name: percentile_log(each, None) for name, each in variants.items()}
    log = logs[reference]
    seed, column = unit_position(variants[reference], log, Selection())
    with style():
        styles = looks_of(files)
        figure = NotebookFigure((min(width, 0.75 * PAGE), 5.4), layout="constrained")
        top, gap, norms = figure.subplots(3, sharex=True, height_ratios=[1.3, 1, 1])
        gaps, lengths = list[EndLabel](), list[EndLabel]()
        for name, variant in variants.items():
            steps, values, metrics = logs[name].steps, logs[name].values, variant.metrics
            look, colour = styles[name], styles[name]["color"]
            thick = {"lw": 3, "alpha": 0.4, "zorder": 1} if name == reference else {"lw": 0.8}
            for q, line in enumerate(values[:, seed, :, column].T):
                top.plot(*decimate(steps, line), label=None if q else name, **look | thick)
            if name != reference:
                # Of a run under way, as far as it got.
                common, (mine, theirs) = common_rows([steps, log.steps])
                largest = np.abs(values[mine] - log.values[theirs]).max(axis=(1, 2, 3))
                gap.plot(*decimate(common, largest), **look | {"lw": 0.8})
                gaps.append((largest[-1], name, colour))
                bias = metrics.bias_norm.mean(axis=1)
                norms.plot(metrics.steps, bias, **look)
                dots = look | {"lw": 0.6, "marker": ".", "ms": 3}
                gradient = metrics.bias_gradient_norm.mean(axis=1)
                norms.plot(metrics.steps, gradient, **dots)
                known = gradient[np.isfinite(gradient)]
                lengths.append((bias[-1], name, colour))
                lengths += [(end, f"{name}, gradient", colour) for end in known[-1:]]
        # In (a) the lines of the variants lie on each other: a label at an end can say no more
        # than the percentile.
        figure.legend(*top.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        whose = f"unit {log.unit[column]}, seed {log.seeds[seed]}"
        title(top, "(a) percentiles of the pre-activation", whose)
        title(gap, f"(b) largest difference from {reference}", "over units, percentiles, seeds")
        title(norms, "(c) the bias and its gradient",
              "mean of seeds; no gradient after the last update")  # fmt: skip
        top.set_ylabel("pre-activation")
        gap.set_ylabel("largest difference")
        norms.set_ylabel("Euclidean norm")
        for axes in (gap, norms):
            axes.set_yscale("log", nonpositive="mask")
            low, high = np.log10(axes.get_ylim())  # to whole decades, which alone are labelled
            axes.set_ylim(10 ** np.floor(low), 10 ** np.ceil(high))
        step_axis(norms)
        ends = zip(log.values[-1, seed, :, column], log.percentiles, strict=True)
        end_labels(top, [(float(end), f"P{q:g}", GREY) for end, q in ends])
        end_labels(gap, gaps)
        end_labels(norms, lengths)
    return Picture(
        figure,
        f"Percentiles over {log.population}, network in training mode. The unit is the typical one "
        f"of {reference}. BN subtracts the mean, and with it any bias: what is left is float "
        "rounding, which training carries on. Exact zeros are not drawn. The gradients end before "
        "the percentiles, since the final network makes no update and so has no gradient.",
    )
