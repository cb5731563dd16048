"""Figure 1 of the paper, drawn from an experiment's files, for any variants."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.analysis import paper
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.variants import VariantResults
from bnexp.figures.drawing import PAGE, NotebookFigure, Picture, letter, step_axis, style, title
from bnexp.figures.panels import (
    Selection,
    accuracy_panel,
    knows_noise,
    loss_panel,
    percentile_log,
    percentile_panels,
    variants_with_rows,
)

PANEL_WIDTH = 2.1  # inches, at least, of a panel with its labels
NAMES = {"b": "without BN", "c": "with BN"}  # of the paper's own networks


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
        figure, accuracy, panels = _layout(len(named), width)
        seeds = max(len(each.metrics.seeds) for each in named.values())
        if any(np.isfinite(each.metrics.test_accuracy).any() for each in named.values()):
            accuracy_panel(accuracy, named)
            title(accuracy, "(a) test accuracy", f"seeds: {seeds}; mean and range")
        else:  # a model of the user's own, whose test accuracy was not logged
            loss_panel(accuracy, named)
            title(accuracy, "(a) training loss", f"seeds: {seeds}; mean")
        titled = {f"({letter(i + 1)}) {name}": named[name] for i, name in enumerate(named)}
        percentile_panels(panels, titled, selection)
    return Picture(figure, _caption(variants, selection))


def file_name(selection: Selection) -> str:
    """The name, without suffix, of the figure that `draw` makes of this selection."""
    shown = {"typical": "", "all": "_all"}.get(str(selection.unit), f"_unit{selection.unit}")
    layer = "" if selection.layer is None else f"_layer{selection.layer}"
    seed = "" if selection.seed is None else f"_seed{selection.seed}"
    return "fig1" + ("_batch" if selection.source == "batch" else "") + layer + shown + seed


def panel_name(name: str, variant: VariantResults) -> str:
    """What a panel calls a variant: the paper's networks by what they are, others by name."""
    panel = paper.paper_panel(variant.settings)
    return NAMES[panel] if panel and name in {"baseline", "batchnorm"} else name


def _layout(n: int, width: float) -> tuple[Figure, Axes, list[Axes]]:
    """The accuracy and n variants, as many beside each other as there is room for."""
    across = max(1, min(int(width // PANEL_WIDTH), n + 1))
    down = -(-(n + 1) // across)
    height = 2.3 if down == 1 else max(2.0, 0.14 * n + 0.6)  # inches: room for n names of lines
    figure = NotebookFigure((width, height * down), layout="constrained")
    accuracy, *panels = figure.subplots(down, across, squeeze=False).flat
    for unused in panels[n:]:
        unused.remove()
    for panel in panels[1:n]:
        panel.sharex(panels[0])
        panel.sharey(panels[0])
    for place, panel in enumerate(panels[:n]):
        step_axis(panel)
        if place == 0 or (place + 1) % across == 0:
            panel.set_ylabel("pre-activation")
    return figure, accuracy, panels[:n]


def _caption(variants: Mapping[str, VariantResults], selection: Selection) -> str:
    variant = next(iter(variants.values()))
    log = percentile_log(variant, selection.source)
    minibatch = log is not variant.probe
    q = ", ".join(f"{percentile:g}" for percentile in log.percentiles)
    layer = selection.layer
    where = "the last recorded layer" if layer is None else f"hidden layer {layer}"
    what = "the pre-activation (the input of the nonlinearity)"
    if log.names:
        what, where = "what was recorded", log.names[-1 if layer is None else layer - 1]
    text = (
        f"Percentiles {q} of {what} in {where}, over "
        f"{log.population}{f' ({log.examples} examples)' if minibatch else ''}, network in "
        "training mode. "
    )
    text += {
        "all": "Lines: median over all units and seeds; bands: 10 to 90 % of them. ",
        "typical": "The unit is the one whose curves are nearest to those of the median over "
        "units, all the time. ",
    }.get(str(selection.unit), "The same unit and seed in every panel. ")
    if minibatch and selection.unit == "all":
        text += "The bands hold the noise of minibatches, smaller with BN by construction. "
    elif minibatch:
        every = int(log.steps[1] - log.steps[0]) if len(log.steps) > 1 else 1
        which = "every minibatch" if every == 1 else f"every {every}th minibatch"
        text += (
            f"Recorded of {which}. Lines: median of neighbouring steps; bands: 10 to 90 % of them. "
        )
        if any(knows_noise(each) for each in variants.values()):
            text += (
                "Black bars: where 80 % of the minibatches of a Gaussian unit that stands still "
                "would lie; shorter with BN by construction. "
            )
    if any(paper.paper_panel(each.settings) for each in variants.values()):
        text += "Grey: Figure 1 of Ioffe & Szegedy (2015), digitised. "
    for name, each in variants.items():
        if each.state != "done":
            text += f"Not finished: {name}, at step {each.step}. "
    return text.strip()
