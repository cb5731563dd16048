"""What a bias before batch norm changes: nothing but rounding."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from bnexp.analysis.formatting import counted
from bnexp.analysis.records import MetricsLog
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.stacking import common_rows
from bnexp.figures import drawing
from bnexp.figures.curves import Selection, percentile_log, unit_position, variants_with_rows
from bnexp.figures.drawing import PAGE, Look, NotebookFigure, Picture, log_axis, style, title
from bnexp.figures.labels import EndLabel, end_labels, end_of
from bnexp.figures.panels import looks_of

NAMED = (": bias", ": gradient")  # what follows a variant's name at its lines of (c)


def draw_bias(files: ExperimentResults, width: float = PAGE) -> Picture:
    """Percentiles of normalized networks with different biases, what differs, and the biases.

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
    seeds = [seed for seed in log.seeds if all(seed in each.seeds for each in logs.values())]
    seed, column = unit_position(variants[reference], log, Selection())
    if seeds and log.seeds[seed] not in seeds:
        seed, column = unit_position(variants[reference], log, Selection(seed=seeds[0]))
    with style():
        styles = looks_of(files)
        figure = NotebookFigure((min(width, 0.75 * PAGE), 5.4), layout="constrained")
        top, gap, norms = figure.subplots(3, sharex=True, height_ratios=[1.3, 1, 1])
        gaps, lengths = list[EndLabel](), list[EndLabel]()
        order = [reference, *(name for name in variants if name != reference)]
        for name, variant in variants.items():
            steps, values = logs[name].steps, logs[name].values
            look, colour = styles[name], styles[name]["color"]
            place = order.index(name)
            together = drawing.turn(place, len(order)) | {"zorder": 1 + place / len(order)}
            if log.seeds[seed] in logs[name].seeds:
                unit = values[:, logs[name].seeds.index(log.seeds[seed]), :, column]
                for q, line in enumerate(unit.T):
                    drawn = look | together | drawing.marks(len(line))
                    top.plot(*drawing.decimate(steps, line), label=None if q else name, **drawn)
            if name == reference:
                continue
            if seeds:  # of a run under way, as far as it got
                common, (mine, theirs) = common_rows([steps, log.steps])
                ours = values[mine][:, _places(logs[name].seeds, seeds)]
                others = log.values[theirs][:, _places(log.seeds, seeds)]
                largest = np.abs(ours - others).max(axis=(1, 2, 3))
                gap.plot(
                    *drawing.decimate(common, largest),
                    **look | {"lw": 0.8} | drawing.marks(len(common)),
                )
                gaps.append(end_of(common, largest, name, colour))
            lengths += _draw_norms(norms, variant.metrics, seeds, look, name)
        # In (a) the lines of the variants lie on each other: a label at an end can say no more
        # than the percentile.
        legend = figure.legend(
            *top.get_legend_handles_labels(), loc="outside lower center", ncols=3
        )
        for line in legend.get_lines():  # too short to show whose turn it is
            line.set_linestyle("-")
        whose = f"unit {log.unit[column]}, seed {log.seeds[seed]}; dashes of each in turn"
        _dress(top, gap, norms, whose, reference)
        drawing.step_axis(norms)
        ends = zip(log.values[-1, seed, :, column], log.percentiles, strict=True)
        end_labels(top, [EndLabel(float(end), f"P{q:g}", drawing.GREY) for end, q in ends])
        if gaps:
            end_labels(gap, gaps)
        end_labels(norms, lengths)
    return Picture(
        figure,
        f"Percentiles over {log.population}, network in training mode. The unit is the typical one "
        f"of {reference}. In (a) the lines lie on each other, and dashes of each take turns. "
        f"{_compared([each.seeds for each in logs.values()], seeds)}BN subtracts "
        "the mean, and with it any bias: what is left is float rounding, which training carries "
        "on. Exact zeros are not drawn. The gradients end before the percentiles, since the final "
        "network makes no update and so has no gradient.",
    )


def _dress(top: Axes, gap: Axes, norms: Axes, whose: str, reference: str) -> None:
    """Titles, labels and logarithmic axes."""
    title(top, "(a) percentiles of the pre-activation", whose)
    title(gap, f"(b) largest difference from {reference}", "over units, percentiles, seeds")
    title(norms, "(c) the bias and its gradient",
          "mean of seeds; no gradient after the last update")  # fmt: skip
    top.set_ylabel("pre-activation")
    gap.set_ylabel("largest difference")
    norms.set_ylabel("Euclidean norm")
    for axes in (gap, norms):
        log_axis(axes)
        low, high = np.log10(axes.get_ylim())  # to whole decades, which alone are labelled
        axes.set_ylim(10 ** np.floor(low), 10 ** np.ceil(high))


def _compared(all_seeds: Sequence[Sequence[int]], seeds: Sequence[int]) -> str:
    """What the caption says of the seeds that (b) and (c) are over, in which all are compared."""
    if all(set(each) == set(seeds) for each in all_seeds):
        return f"(b) and (c) are over {counted(len(seeds), 'seed')}. "
    named = f"Compared over the seeds that all have: {', '.join(map(str, seeds))}. "
    return named if seeds else "No seed is common to all to compare. "


def _draw_norms(
    axes: Axes, metrics: MetricsLog, seeds: Sequence[int], look: Look, name: str
) -> list[EndLabel]:
    """The norms of the bias and of its gradient; the labels of their lines."""
    own = _places(metrics.seeds, seeds or metrics.seeds)
    bias = metrics.bias_norm[:, own].mean(axis=1)
    gradient = metrics.bias_gradient_norm[:, own].mean(axis=1)
    axes.plot(metrics.steps, bias, **look | drawing.marks(len(bias)))
    axes.plot(metrics.steps, gradient, **look | {"lw": 0.6, "marker": ".", "ms": 3})
    lines = zip((bias, gradient), NAMED, strict=True)
    return [end_of(metrics.steps, line, name + more, look["color"]) for line, more in lines]


def _places(all_seeds: Sequence[int], seeds: Sequence[int]) -> list[int]:
    """Where these seeds stand among all of a log."""
    return [all_seeds.index(seed) for seed in seeds]
