"""Panels that figures are put together from: accuracy, loss, and percentiles of variants."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from bnexp.analysis import paper
from bnexp.analysis.distributions import middle
from bnexp.analysis.numbers import Panel
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.variants import VariantResults
from bnexp.figures import drawing
from bnexp.figures.curves import Curves, Selection, read_curves
from bnexp.figures.drawing import GREY, Look, decimate, draw_range, looks, marks, turn
from bnexp.figures.labels import EndLabel, end_of

PAPER = {"b": ("paper, without BN", "-o"), "c": ("paper, with BN", "-s")}
NAMES = {"b": "without BN", "c": "with BN"}  # of the paper's own networks
ENOUGH = 9  # evaluations, of which the last third shows a course
ONE_LINE = 0.01  # of the height of an axis: about as thick as a line is
# The edges of a band of minibatches.
EDGES = partial(np.percentile, q=10), partial(np.percentile, q=90)


def looks_of(files: ExperimentResults) -> dict[str, Look]:
    """The colour and line style of each variant, the same in all figures of its experiment."""
    return dict(zip(files.variants, looks(len(files.variants)), strict=True))


def panel_name(name: str, variant: VariantResults) -> str:
    """What a panel calls a variant: the paper's networks by what they are, others by name."""
    panel = paper.paper_panel(variant.settings)
    return NAMES[panel] if panel and name in {"baseline", "batchnorm"} else name


def accuracy_panel(
    axes: Axes, variants: Mapping[str, VariantResults], styles: Sequence[Look]
) -> list[EndLabel]:
    """Test accuracy of variants by name: mean over seeds, and a band from lowest to highest.

    The axis spans the last third of training, so that a small difference at the end is seen, where
    that third has enough evaluations (`spans_last_third`). Over the paper's curves it reaches from
    0.7 to 1, which is where the paper's figure begins.

    Args:
        axes: to draw in.
        variants: by the names that the ends of their lines get.
        styles: of the variants, in their order.

    Returns:
        The labels of the lines.
    """
    reproduced = {paper.paper_panel(variant.settings) for variant in variants.values()}
    means = [each.metrics.test_accuracy.mean(axis=1) for each in variants.values()]
    ends = [float(mean[-1]) for mean in means if np.isfinite(mean[-1])]
    late = [each.metrics.test_accuracy for each in variants.values()]
    if spans_last_third(variants):
        late = [each[2 * len(each) // 3 :] for each in late if len(each) >= ENOUGH]
    shown = np.concatenate([each.ravel() for each in late])
    shown = shown[np.isfinite(shown)]
    if reproduced & PAPER.keys():
        axes.set_ylim(max(0.0, min([0.7, *(end - 0.04 for end in ends)])), 1.0)
    elif len(shown):
        room = max(0.1 * float(np.ptp(shown)), 1e-4)
        axes.set_ylim(shown.min() - room, min(shown.max() + room, 1.0 + 1e-4))
    together = {name: group for group in coinciding(axes, variants) for name in group}
    for (name, variant), look in zip(variants.items(), styles, strict=True):
        steps, accuracy = variant.metrics.steps, variant.metrics.test_accuracy
        group = together[name]
        drawn = look | turn(group.index(name), len(group)) | marks(len(steps))
        axes.plot(steps, accuracy.mean(axis=1), **drawn)
        draw_range(axes, steps, accuracy, look, 0.2 / len(group))
    for panel in [panel for panel in PAPER if panel in reproduced]:
        papers = paper.paper_net(panel)
        _paper_curve(axes, panel, papers.accuracy_steps, papers.accuracy)
        axes.legend(loc="lower right", labelcolor=GREY)
    if hides_lower(axes):
        _mark_break(axes)
    axes.set_ylabel("test accuracy")
    drawing.step_axis(axes)
    return [
        end_of(variant.metrics.steps, mean, name, look["color"])
        for (name, variant), mean, look in zip(variants.items(), means, styles, strict=True)
    ]


def spans_last_third(variants: Mapping[str, VariantResults]) -> bool:
    """Whether the axis of accuracies shows the last third of training, and not all of it.

    It does where a variant has enough evaluations, whatever others have, such as one that failed.
    """
    return any(len(each.metrics.steps) >= ENOUGH for each in variants.values())


def seeds_shown(seeds: int, shown: str) -> str:
    """What is shown of so many seeds."""
    return f"seeds: {seeds}; {shown}" if seeds > 1 else "one seed"


def coinciding(axes: Axes, variants: Mapping[str, VariantResults]) -> list[list[str]]:
    """The names of variants whose mean accuracies are one line to the eye; most are alone."""
    low, high = axes.get_ylim()
    groups = dict[str, tuple[NDArray[np.floating], list[str]]]()
    for name, variant in variants.items():
        line = np.clip(variant.metrics.test_accuracy.mean(axis=1), low, high)
        for other, group in groups.values():
            if len(line) == len(other) and np.abs(line - other).max() < ONE_LINE * (high - low):
                group.append(name)
                break
        else:
            groups[name] = line, [name]
    return [group for _, group in groups.values()]


def hides_lower(axes: Axes) -> bool:
    """Whether a part of a line lies below the foot of the axis."""
    low = axes.get_ylim()[0]
    return any(bool((np.asarray(line.get_ydata()) < low).any()) for line in axes.lines)


def _mark_break(axes: Axes) -> None:
    """Two strokes at the foot of the vertical axis, which there ends before the other begins."""
    axes.spines["bottom"].set_position(("outward", 5))
    points = Affine2D().scale(1 / 72) + axes.figure.dpi_scale_trans
    strokes = [[(-2.5, y - 1), (2.5, y + 1)] for y in (-3.5, -1.5)]
    # The corner of the axes is where the strokes, in points, count from.
    mark = LineCollection(strokes, colors="black", linewidths=0.6, clip_on=False)
    mark.set(transform=points, offsets=[(0, 0)], offset_transform=axes.transAxes)
    axes.add_collection(mark, autolim=False)


def loss_panel(
    axes: Axes, variants: Mapping[str, VariantResults], styles: Sequence[Look]
) -> list[EndLabel]:
    """Training loss of variants by name, where no test accuracy was logged: mean over seeds."""
    labels = []
    for (name, variant), look in zip(variants.items(), styles, strict=True):
        loss = variant.metrics.train_loss.mean(axis=1)
        axes.plot(variant.metrics.steps, loss, **look | marks(len(loss)))
        labels.append(end_of(variant.metrics.steps, loss, name, look["color"]))
    axes.set_ylabel("training loss")
    drawing.step_axis(axes)
    return labels


def percentile_panels(
    panels: Sequence[Axes],
    variants: Mapping[str, VariantResults],
    styles: Sequence[Look],
    selection: Selection,
) -> list[tuple[Axes, list[EndLabel]]]:
    """The percentiles of each variant in a panel titled with its key; the labels of its lines."""
    ends = []
    for axes, (name, variant), look in zip(panels, variants.items(), styles, strict=True):
        curves = read_curves(variant, selection)
        ends.append((axes, draw_curves(axes, curves, look["color"])))
        drawing.title(axes, name, curves.unit)
        panel = paper.paper_panel(variant.settings)
        if panel and selection.layer in {None, len(variant.settings["model.hidden"])}:
            papers = paper.paper_net(panel)
            _paper_curve(axes, panel, papers.steps, papers.values)
    return ends


def draw_curves(axes: Axes, curves: Curves, colour: str) -> list[EndLabel]:
    """Percentile lines, the middle one heavier, with what bands and noise bars they have.

    Returns:
        The labels of the lines, each at the height where its line ends.
    """
    labels = []
    for q, line in enumerate(curves.lines.T):
        drawn = decimate(curves.steps, line)
        if curves.noisy:
            drawn = decimate(curves.steps, line, [np.median])
            if len(drawn[0]) < len(line):
                low, high = (decimate(curves.steps, line, [edge])[1] for edge in EDGES)
                axes.fill_between(drawn[0], low, high, color=colour, alpha=0.25, lw=0)
        if curves.floor is not None:
            end = 1.03 * curves.steps[-1], line[-100:].mean()
            axes.errorbar(*end, 1.2816 * curves.floor[q], color="black", capsize=2, lw=1)
        if curves.band is not None:
            # Bands of neighbouring percentiles overlap; their edges tell them apart.
            edges = curves.band[..., q]
            axes.fill_between(curves.steps, *edges, color=colour, alpha=0.14, lw=0)
            lines = [np.column_stack((curves.steps, edge)) for edge in edges]
            axes.add_collection(LineCollection(lines, colors=colour, alpha=0.55, linewidths=0.4))
        thick = 1.2 if q == middle(curves.percentiles) else 0.8
        axes.plot(*drawn, color=colour, ls="-", lw=thick, **marks(len(drawn[0])))
        labels.append(end_of(*drawn, f"P{curves.percentiles[q]:g}", colour))
    return labels


def _paper_curve(
    axes: Axes, panel: Panel, steps: NDArray[np.floating], values: NDArray[np.floating]
) -> None:
    label, marks = PAPER[panel]
    axes.plot(steps, values, marks, label=label, color=GREY, lw=0.5, ms=2.5, mew=0.6, mfc="none")
