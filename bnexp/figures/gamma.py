"""What batch norm's learned scale, gamma, changes with each activation."""

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis.measuring import last_layer
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.variants import VariantResults
from bnexp.figures import drawing
from bnexp.figures.curves import Selection, variants_with_rows
from bnexp.figures.drawing import PAGE, NotebookFigure, Picture, style, title
from bnexp.figures.labels import end_labels
from bnexp.figures.panels import (
    accuracy_panel,
    hides_lower,
    percentile_panels,
    seeds_shown,
    spans_last_third,
)


def learned_gammas(variant: VariantResults) -> NDArray[np.float32]:
    """Final gammas (seeds * units,) of the last layer; empty unless learned and finished."""
    values, probe = variant.norm_parameters, variant.probe
    learns = variant.state == "done" and variant.settings["model.gamma"]
    if values is None or probe is None or not learns:
        return np.empty(0, np.float32)
    return np.ravel(values[-1, :, 0, last_layer(probe)[1]])


def draw_gamma(files: ExperimentResults) -> Picture:
    """One row an activation: accuracy, percentiles without and with gamma, the learned gammas.

    It takes a whole page's width.

    Raises:
        StorageError: no variant has rows yet.
    """
    rows: dict[str, dict[str, str]] = {}
    begun = variants_with_rows(files)
    for name in sorted(begun, key=lambda name: bool(begun[name].settings["model.gamma"])):
        settings = begun[name].settings
        kind = "gamma" if settings["model.gamma"] else "no gamma"
        rows.setdefault(str(settings["model.activation"]), {})[kind] = name
    with style():
        # A colour means one thing in all rows, so each activation's networks have the same two.
        styles = dict(zip(("gamma", "no gamma"), drawing.looks(2), strict=True))
        figure = NotebookFigure((PAGE, 1.75 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), 4, squeeze=False, width_ratios=[1.1, 1, 1, 0.9])
        for place, ((activation, names), axes) in enumerate(zip(rows.items(), grid, strict=True)):
            letters = [f"({drawing.letter(4 * place + i)})" for i in range(4)]
            variants = {kind: begun[name] for kind, name in names.items()}
            drawn = [styles[kind] for kind in names]
            # Where two lines are one, the dashes of the one without gamma stay visible on top.
            above = dict(reversed(variants.items()))
            ends = [(axes[0], accuracy_panel(axes[0], above, drawn[::-1]))]
            seeds = max(len(each.metrics.seeds) for each in variants.values())
            title(axes[0], f"{letters[0]} {activation}", seeds_shown(seeds, "mean and range"))
            axes[2].sharey(axes[1])
            titled = {
                f"{letters[1 + i]} {activation}, {kind}": each
                for i, (kind, each) in enumerate(variants.items())
            }
            panels = axes[1 : 1 + len(variants)]
            ends += percentile_panels(panels, titled, drawn, Selection())
            for each, labels in ends:
                end_labels(each, labels)
            axes[1].set_ylabel("pre-activation")
            learned = np.concatenate([learned_gammas(each) for each in variants.values()])
            below = 100 * np.sum(learned < 0) / max(len(learned), 1)
            title(axes[3], f"{letters[3]} learned gammas", f"{below:.1f} % below 0")
            axes[3].hist(learned, bins=40, color=styles["gamma"]["color"], alpha=0.6)
            axes[3].axvline(1, color=drawing.GREY, lw=0.8, ls=":")
            axes[3].margins(x=0.08)
            axes[3].set_ylabel("units")
        for each in grid[:, 1:3].flat:
            drawing.step_axis(each)
        for each in grid[:-1, :3].flat:
            each.set_xlabel("")
        grid[-1, 3].set_xlabel("gamma\n(dotted: start)")
    hidden = ", and where two strokes mark its foot it hides the lower accuracies before"
    spans = ""
    if spans_last_third(begun):
        spans = "; the axis spans the last third of training, where that has three evaluations"
    begins_above = any(hides_lower(axes) for axes in grid[:, 0])
    return Picture(
        figure,
        f"Accuracy: mean over seeds; band: lowest to highest seed{spans}"
        f"{hidden if begins_above else ''}. Percentiles of the pre-activation of "
        "the typical unit (the nearest to the median unit) of the last hidden layer, network in "
        "training mode. Right: the gammas of all units of this layer and all seeds; dotted: where "
        "they start.",
    )
