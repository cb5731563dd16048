"""Panels that figures are put together from, and the curves in them, read from a run's files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from bnexp.analysis import paper
from bnexp.analysis.distributions import middle, noise_floor, spread, typical_unit, units_of_layer
from bnexp.analysis.records import PercentileLog
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.stacking import Rows
from bnexp.analysis.variants import VariantResults
from bnexp.errors import ConfigError, StorageError
from bnexp.figures import drawing
from bnexp.figures.drawing import GREY, decimate, looks

PAPER = {"b": ("paper, without BN", "-o"), "c": ("paper, with BN", "-s")}
# The edges of a band of minibatches.
EDGES = partial(np.percentile, q=10), partial(np.percentile, q=90)
ROWS_JUDGED = 1000  # of a log of minibatches, to find the typical unit where there is no probe


@dataclass(frozen=True)
class Selection:
    """What to draw of each variant.

    Attributes:
        source: `probe` or `batch`; None: the probe, where there is one.
        layer: hidden layer, counted from 1; None: the last one that was recorded.
        unit: `typical`; `all` for bands over the units of all seeds; or a unit of the layer,
            counted from 0.
        seed: whose network; None: for a given unit the first, else all of them.
    """

    source: str | None = None
    layer: int | None = None
    unit: str | int = "typical"
    seed: int | None = None


@dataclass(frozen=True)
class Curves:
    """The percentile curves of one panel.

    Attributes:
        unit: whose they are, in words.
        percentiles: (Q,).
        steps: (rows,).
        lines: (rows, Q).
        band: (2, rows, Q): lower and upper edges over units; None for a single unit.
        floor: (Q,): the standard deviation of a minibatch's percentile if only the sample changed.
    """

    unit: str
    percentiles: tuple[float, ...]
    steps: NDArray[np.int64]
    lines: NDArray[np.float32]
    band: NDArray[np.float64] | None = None
    floor: NDArray[np.float64] | None = None
    noisy: bool = False


def variants_with_rows(files: ExperimentResults, least: int = 1) -> dict[str, VariantResults]:
    """The variants that have rows to draw.

    Raises:
        StorageError: there are fewer than `least`.
    """
    found = {name: each for name, each in files.variants.items() if len(each.metrics.steps)}
    if len(found) < least:
        raise StorageError(f"{files.path}: nothing to draw yet; train it first")
    return found


def percentile_log(variant: VariantResults, source: str | None) -> PercentileLog:
    """The log to draw: `probe`, `batch`, or None: the probe, where there is one.

    Raises:
        ConfigError: no such source, or it was not recorded.
        StorageError: it has no rows yet.
    """
    if source not in {None, "probe", "batch"}:
        raise ConfigError(f"--source {source}: no such source; there are probe, batch")
    if source == "probe" and variant.probe is None:
        raise ConfigError("--source probe: record.probe_every is null; draw --source batch")
    log = variant.minibatch if source == "batch" or variant.probe is None else variant.probe
    if log is None or not len(log.steps):
        raise StorageError(f"{variant.path}: no percentiles to draw yet; train it first")
    return log


def read_curves(variant: VariantResults, selection: Selection) -> Curves:
    """The curves of one panel."""
    log = percentile_log(variant, selection.source)
    if selection.unit == "all":
        return _all_units(log, _columns(log, selection.layer), _seeds(log, selection.seed))
    seed, column = unit_position(variant, log, selection)
    lines, floor = _read_unit(log.values, seed, column), None
    minibatches = log is not variant.probe
    if minibatches and knows_noise(variant):
        normalized = variant.settings["model.norm"] == "batch"
        floor = noise_floor(log.percentiles, log.examples, normalized=normalized)
        floor *= spread(lines[-100:, :, None], log.percentiles).mean()
    whose = f"unit {log.unit[column]}, seed {log.seeds[seed]}"
    return Curves(whose, log.percentiles, log.steps, lines, floor=floor, noisy=minibatches)


def knows_noise(variant: VariantResults) -> bool:
    """Whether the noise of its minibatches is known: of a network that bnexp itself describes.

    A model of the user's own may have convolutions, whose positions are no independent examples.
    """
    return not variant.is_recorded


def unit_position(
    variant: VariantResults, log: PercentileLog, selection: Selection
) -> tuple[int, int]:
    """Where the selected unit stands in the log's values: its seed and its column.

    Raises:
        ConfigError: no such layer, unit or seed.
    """
    columns, seeds = _columns(log, selection.layer), _seeds(log, selection.seed)
    if selection.unit == "typical":
        # The probe's, also for minibatch curves: the movement of minibatches is mostly noise.
        judged = variant.probe if variant.probe and len(variant.probe.steps) else log
        every = -(-len(judged.steps) // ROWS_JUDGED) if judged is log else 1
        values = judged.values[::every, ..., _columns(judged, selection.layer)][:, seeds]
        seed, column = typical_unit(values)
        return seeds.start + seed, columns.start + column
    size, unit = columns.stop - columns.start, str(selection.unit)
    if not unit.isdecimal() or int(unit) >= size:
        raise ConfigError(f"--unit {unit}: no such unit; give typical, all, or 0 to {size - 1}")
    return seeds.start, columns.start + int(unit)


def _seeds(log: PercentileLog, seed: int | None) -> slice:
    if seed is None:
        return slice(0, len(log.seeds))
    if seed not in log.seeds:
        raise ConfigError(f"--seed {seed}: not trained; there is {', '.join(map(str, log.seeds))}")
    return slice(log.seeds.index(seed), log.seeds.index(seed) + 1)


def _columns(log: PercentileLog, layer: int | None) -> slice:
    columns = units_of_layer(log.layer, int(log.layer[-1]) if layer is None else layer)
    if columns.start == columns.stop:
        known = ", ".join(map(str, np.unique(log.layer)))
        raise ConfigError(f"--layer {layer}: not recorded; there is layer {known}")
    return columns


def _read_unit(values: Rows, seed: int, column: int) -> NDArray[np.float32]:
    """The percentiles (rows, Q) of one unit of a log.

    They are read in parts, so that a log of many steps never lies in memory as a whole.
    """
    starts = range(0, len(values), 2048)
    return np.concatenate([values[i : i + 2048, seed, :, column] for i in starts])


def _all_units(log: PercentileLog, columns: slice, seeds: slice) -> Curves:
    """Median and 10-90 % band of each percentile, over the units of the seeds."""
    every = -(-len(log.steps) // (2 * drawing.BINS))
    values = log.values[::every, ..., columns][:, seeds]
    with np.errstate(invalid="ignore"):  # a diverged run
        low, median, high = np.percentile(values, [10, 50, 90], axis=(1, 3))
    whose, band = f"{values.shape[1] * values.shape[3]} units", np.stack([low, high])
    return Curves(whose, log.percentiles, log.steps[::every], median, band)


def accuracy_panel(
    axes: Axes, variants: Mapping[str, VariantResults], lowest: float | None = 0.7
) -> None:
    """Test accuracy of variants by name: mean over seeds, and a band from lowest to highest.

    Args:
        axes: to draw in.
        variants: by name. Long or many names give way to those of the panels that follow: (b), ...
        lowest: the axis reaches from here, or from below the variant that ends lowest, to 1. None:
            it shows the second half of training, however near the variants are.
    """
    short = len(variants) <= 8 and max(map(len, variants)) <= 20
    names = (
        list(variants) if short else [f"({drawing.letter(i + 1)})" for i in range(len(variants))]
    )
    labels, late = [], []
    for name, variant, look in zip(names, variants.values(), looks(len(variants)), strict=True):
        steps, accuracy = variant.metrics.steps, variant.metrics.test_accuracy
        axes.plot(steps, accuracy.mean(axis=1), **look)
        edges = accuracy.min(axis=1), accuracy.max(axis=1)
        axes.fill_between(steps, *edges, color=look["color"], alpha=0.2, lw=0)
        labels.append((float(accuracy[-1].mean()), name, look["color"]))
        late.append(accuracy[len(accuracy) // 2 :])
    reproduced = {paper.paper_panel(variant.settings) for variant in variants.values()}
    for panel in [panel for panel in PAPER if panel in reproduced]:
        net = paper.paper_net(panel)
        _paper_curve(axes, panel, net.accuracy_steps, net.accuracy)
        axes.legend(loc="lower right", labelcolor=GREY)
    if lowest is None:
        low, high = (float(reduce([reduce(x) for x in late])) for reduce in (np.min, np.max))
        room = max(0.1 * (high - low), 1e-4)
        axes.set_ylim(low - room, high + room)
    else:
        axes.set_ylim(max(0.0, min(lowest, min(labels)[0] - 0.04)), 1.0)
    axes.set_ylabel("test accuracy")
    drawing.step_axis(axes)
    drawing.end_labels(axes, labels)


def loss_panel(axes: Axes, variants: Mapping[str, VariantResults]) -> None:
    """Training loss of variants by name, where no test accuracy was logged: mean over seeds."""
    labels = []
    for (name, variant), look in zip(variants.items(), looks(len(variants)), strict=True):
        loss = variant.metrics.train_loss.mean(axis=1)
        axes.plot(variant.metrics.steps, loss, marker="." if len(loss) < 3 else None, **look)
        labels.append((float(loss[-1]), name, look["color"]))
    axes.set_ylabel("training loss")
    drawing.step_axis(axes)
    drawing.end_labels(axes, labels)


def percentile_panels(
    panels: Sequence[Axes], variants: Mapping[str, VariantResults], selection: Selection
) -> None:
    """The percentiles of each variant in a panel titled with its key."""
    curves = [read_curves(variant, selection) for variant in variants.values()]
    colours = [look["color"] for look in looks(len(variants))]
    for axes, each, (name, variant), colour in zip(
        panels, curves, variants.items(), colours, strict=True
    ):
        draw_curves(axes, each, colour)
        drawing.title(axes, name, each.unit)
        panel = paper.paper_panel(variant.settings)
        if panel and selection.layer in {None, len(variant.settings["model.hidden"])}:
            net = paper.paper_net(panel)
            _paper_curve(axes, panel, net.steps, net.values)
    for axes, each, colour in zip(panels, curves, colours, strict=True):
        ends = zip(each.lines[-20:].mean(axis=0), each.percentiles, strict=True)
        drawing.end_labels(axes, [(float(end), f"P{q:g}", colour) for end, q in ends])


def draw_curves(axes: Axes, curves: Curves, colour: str) -> None:
    """Percentile lines, the middle one heavier, with what bands and noise bars they have."""
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
            axes.fill_between(curves.steps, *curves.band[..., q], color=colour, alpha=0.18, lw=0)
        width = 1.2 if q == middle(curves.percentiles) else 0.8
        axes.plot(*drawn, color=colour, ls="-", lw=width)


def _paper_curve(
    axes: Axes, panel: paper.Panel, steps: NDArray[np.floating], values: NDArray[np.floating]
) -> None:
    label, marks = PAPER[panel]
    axes.plot(steps, values, marks, label=label, color=GREY, lw=0.5, ms=2.5, mew=0.6, mfc="none")
