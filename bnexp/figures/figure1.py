"""Figure 1 of the paper, drawn from an experiment's files, for any variants."""

import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from bnexp.analysis import paper
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.variants import VariantResults
from bnexp.figures import drawing
from bnexp.figures.curves import Selection, knows_noise, percentile_log, variants_with_rows
from bnexp.figures.drawing import PAGE, NotebookFigure, Picture, style, title
from bnexp.figures.labels import end_labels
from bnexp.figures.panels import (
    accuracy_panel,
    coinciding,
    hides_lower,
    looks_of,
    loss_panel,
    panel_name,
    percentile_panels,
    seeds_shown,
    spans_last_third,
)

PANEL_WIDTH = 2.1  # inches, at least, of a panel with its labels
MOST_STACKED = 4  # panels that stand on each other in a narrow figure; more stand in pairs
TITLES = 0.55  # inches, of a panel in a pair
LONG = 16  # letters of a name that needs a wider panel, or a second line


def draw(
    files: ExperimentResults, selection: Selection | None = None, width: float = PAGE
) -> Picture:
    """Figure 1 of the paper: (a) test accuracy, then the percentiles of each variant begun.

    Args:
        files: the experiment.
        selection: what to draw of each variant; None: the typical unit of the last layer.
        width: of the figure, in inches; panels stand beside each other where there is room.

    Raises:
        ConfigError: no such source, layer, unit or seed.
        StorageError: there is no row to draw yet.
    """
    variants, selection = variants_with_rows(files), selection or Selection()
    named = {panel_name(name, each): each for name, each in variants.items()}
    with style():
        styles = [looks_of(files)[name] for name in variants]
        names = _line_names(list(named), width)
        figure, accuracy, panels = _layout(names, width)
        lines = dict(zip(names, named.values(), strict=True))
        seeds = max(len(each.metrics.seeds) for each in named.values())
        if _know_accuracy(variants):
            ends = [(accuracy, accuracy_panel(accuracy, lines, styles))]
            title(accuracy, "(a) test accuracy", seeds_shown(seeds, "mean and range"))
        else:  # a model of the user's own, whose test accuracy was not logged
            ends = [(accuracy, loss_panel(accuracy, lines, styles))]
            title(accuracy, "(a) training loss", seeds_shown(seeds, "mean"))
        titled = {f"({drawing.letter(i + 1)}) {name}": named[name] for i, name in enumerate(named)}
        ends += percentile_panels(panels, titled, styles, selection)
        narrow = width < 2 * PANEL_WIDTH
        if narrow:  # titles take much of the height, and the names need to know what is left
            figure.lay_out()
        for axes, labels in ends:  # the limits that panels share are settled now
            end_labels(axes, labels, top=0.95 if narrow and axes is accuracy else 1.0)
    return Picture(figure, _caption(named, selection, accuracy))


def file_name(selection: Selection) -> str:
    """The name, without suffix, of the figure that `draw` makes of this selection."""
    shown = {"typical": "", "all": "_all"}.get(str(selection.unit), f"_unit{selection.unit}")
    layer = "" if selection.layer is None else f"_layer{selection.layer}"
    seed = "" if selection.seed is None else f"_seed{selection.seed}"
    return "fig1" + ("_batch" if selection.source == "batch" else "") + layer + shown + seed


def _know_accuracy(variants: Mapping[str, VariantResults]) -> bool:
    return any(np.isfinite(each.metrics.test_accuracy).any() for each in variants.values())


def _line_names(names: list[str], width: float) -> list[str]:
    """The names of lines; in a narrow figure of few lines, long ones break into short lines."""
    if width >= 2 * PANEL_WIDTH or len(names) > MOST_STACKED:
        return [name.replace(",", ", ") for name in names]
    return [textwrap.fill(name.replace(",", ", "), LONG, break_long_words=False) for name in names]


def _layout(names: list[str], width: float) -> tuple[NotebookFigure, Axes, list[Axes]]:
    """The accuracy and n variants, in as few rows as there is room for, evenly filled.

    The accuracy is as wide as two panels where the names at its lines are long. Its row is high
    enough for all of them.
    """
    n, narrow = len(names), width < 2 * PANEL_WIDTH
    # In a column, many panels would make a figure that no page holds, so they stand in pairs there.
    pairs = narrow and n > MOST_STACKED
    most = 2 if pairs else max(1, int(width // PANEL_WIDTH))
    span = 2 if pairs or (most > 1 and max(map(len, names)) > LONG) else 1
    down = -(-(n + span) // most)
    across = -(-(n + span) // down)
    lines = sum(name.count("\n") + 1 for name in names)
    row = 2.3 if down == 1 else 1.6 if narrow else 2.0  # inches
    heights = [max(row, 2.0, 0.13 * lines + 0.7)] + [row] * (down - 1)
    tall = sum(heights)
    if pairs:  # a row counts without its titles, which take as much as the shortest panel
        heights[0] = max(2.0, 0.139 * lines + 0.85)
        tall = min(heights[0] + 1.4 * (down - 1) + 0.3, drawing.TALLEST)
        heights[1:] = [(tall - heights[0] - 0.3) / (down - 1) - TITLES] * (down - 1)
    figure = NotebookFigure((width, tall), layout="constrained")
    grid = figure.add_gridspec(down, across, height_ratios=heights)
    first = grid[0, :span]
    if span == 2:  # in a grid of its own: the panels below need no room for the names
        first = first.subgridspec(1, 1)[0]
    accuracy = figure.add_subplot(first)
    panels: list[Axes] = []
    for cell in range(span, span + n):
        shared = {"sharex": panels[0], "sharey": panels[0]} if panels else {}
        panel = figure.add_subplot(grid[divmod(cell, across)], **shared)
        panels.append(panel)
        drawing.step_axis(panel)
        if cell == span or cell % across == 0:
            panel.set_ylabel("pre-activation")
        if narrow and cell + across < span + n:  # the panel that stands below has the axis of both
            panel.tick_params(labelbottom=False)
            panel.set_xlabel("")
    return figure, accuracy, panels


def _caption(variants: Mapping[str, VariantResults], selection: Selection, accuracy: Axes) -> str:
    variant = next(iter(variants.values()))
    log = percentile_log(variant, selection.source)
    minibatch = log is not variant.probe
    q = ", ".join(f"{percentile:g}" for percentile in log.percentiles)
    layer = selection.layer
    where = "the last recorded layer" if layer is None else f"hidden layer {layer}"
    what = "the pre-activation (the input of the nonlinearity)"
    if log.names:
        what, where = "what was recorded", f"module {log.names[-1 if layer is None else layer - 1]}"
    text = (
        f"Percentiles {q} of {what} in {where}, over "
        f"{log.population}{f' ({log.examples} examples)' if minibatch else ''}, network in "
        "training mode. "
    )
    papers = any(paper.paper_panel(each.settings) for each in variants.values())
    if _know_accuracy(variants):
        text += _said_of_accuracies(variants, accuracy, papers=papers)
    whose = " and seeds" if selection.seed is None else f" of seed {selection.seed}"
    text += {
        "all": f"Lines: median over all units{whose}; bands: 10 to 90 % of them. ",
        "typical": "Each panel shows the unit whose curves stay nearest to the medians over all "
        f"units{whose}. ",
    }.get(str(selection.unit), "The same unit and seed in every panel. ")
    if minibatch and selection.unit == "all":
        text += "The bands hold the noise of minibatches, smaller with BN by construction. "
    elif minibatch:
        every = int(log.steps[1] - log.steps[0]) if len(log.steps) > 1 else 1
        which = "every minibatch" if every == 1 else f"every {every}th minibatch"
        text += f"Recorded of {which}. "
        if len(log.steps) > drawing.BINS:
            parts = f"each of {drawing.BINS} parts of the training"
            text += f"Lines: median over the steps of {parts}; bands: 10 to 90 % of them. "
        if any(knows_noise(each) for each in variants.values()):
            text += (
                "Black bars: where 80 % of the minibatches of a Gaussian unit that stands still "
                "would lie; shorter with BN by construction. "
            )
    if papers:
        text += "Grey: Figure 1 of Ioffe & Szegedy (2015), digitised. "
    for name, each in variants.items():
        if each.state != "done":
            text += f"Not finished: {name}, at step {each.step}. "
    return text.strip()


def _said_of_accuracies(variants: Mapping[str, VariantResults], axes: Axes, *, papers: bool) -> str:
    """What the caption says of panel (a)."""
    late = not papers and spans_last_third(variants)
    text = "The vertical axis of (a) spans the last third of training. " if late else ""
    if hides_lower(axes):
        text += f"{'It' if late else 'The axis of (a)'} begins at {axes.get_ylim()[0]:.3f}"
        text += ", which two strokes mark, and hides the lower accuracies before. "
    if groups := [each for each in coinciding(axes, variants) if len(each) > 1]:
        text += "Lines of (a) that coincide take turns, in dashes of each: "
        text += f"{'; '.join(map(', '.join, groups))}. "
    return text
