"""Panels that figures are put together from, and the curves in them, read from a run's files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from bnexp.analysis import measures as analysis
from bnexp.analysis import paper
from bnexp.analysis.records import PercentileLog
from bnexp.analysis.results import ExperimentResults, VariantResults
from bnexp.analysis.stacking import Rows
from bnexp.errors import ConfigError, StorageError
from bnexp.figures import drawing
from bnexp.figures.drawing import GREY, Array, decimate, looks

PAPER = {"b": ("paper, without BN", "-o"), "c": ("paper, with BN", "-s")}


class Asked(NamedTuple):
    """What to draw of a run; see `figures.draw`."""

    source: str | None = None
    layer: int | None = None
    unit: str | int = "typical"


@dataclass(frozen=True)
class Curves:
    """The percentile curves of one panel."""

    unit: str  # whose they are, in words
    percentiles: tuple[float, ...]
    steps: Array  # (rows,)
    lines: Array  # (rows, Q)
    band: Array | None = None  # (2, rows, Q), lower and upper edges
    floor: Array | None = None  # (Q,), standard deviation if only the sample changed


def begun(files: ExperimentResults, least: int = 1) -> dict[str, VariantResults]:
    """The runs that have rows to draw; a StorageError if there are fewer than this."""
    runs = {name: run for name, run in files.variants.items() if len(run.metrics.steps)}
    if len(runs) < least:
        raise StorageError(f"{files.path}: nothing to draw yet; train it first")
    return runs


def percentile_log(run: VariantResults, source: str | None) -> PercentileLog:
    """The log to draw: `probe`, `batch`, or None: the probe, where there is one."""
    if source not in {None, "probe", "batch"}:
        raise ConfigError(f"--source {source}: no such source; there are probe, batch")
    if source == "probe" and run.probe is None:
        raise ConfigError("--source probe: record.probe_every is null; draw --source batch")
    log = run.minibatch if source == "batch" or run.probe is None else run.probe
    if log is None or not len(log.steps):
        raise StorageError(f"{run.path}: no percentiles to draw yet; train it first")
    return log


def read_curves(run: VariantResults, asked: Asked) -> Curves:
    """The curves of one panel."""
    source, layer, unit = asked
    log = percentile_log(run, source)
    if unit == "all":
        return _all_units(log, _units(run, log, layer))
    seed, column = locate(run, log, layer, unit)
    lines, floor = _read_unit(log.values, seed, column), None
    if log is not run.probe:
        normalized = run.settings["model.norm"] != "none"
        floor = analysis.noise_floor(log.percentiles, log.examples, normalized=normalized)
        floor *= analysis.sigma(lines[-100:, :, None], log.percentiles).mean()
    whose = f"unit {log.unit[column]}, seed {log.seeds[seed]}"
    return Curves(whose, log.percentiles, log.steps, lines, floor=floor)


def locate(
    run: VariantResults, log: PercentileLog, layer: int | None, unit: str | int
) -> tuple[int, int]:
    """Positions, in the log's values, of the seed and the unit to draw; see `figures.draw`."""
    units = _units(run, log, layer)
    if unit == "typical":
        # The probe's, also for minibatch curves: the width of one minibatch is mostly noise.
        judged = run.probe if run.probe and len(run.probe.steps) else log
        end = judged.values[-1][..., _units(run, judged, layer)]
        seed, column = analysis.typical_unit(end, judged.percentiles)
        return seed, units.start + column
    size = units.stop - units.start
    if not str(unit).isdecimal() or int(unit) >= size:
        raise ConfigError(f"--unit {unit}: no such unit; give typical, all, or 0 to {size - 1}")
    return 0, units.start + int(unit)


def _units(run: VariantResults, log: PercentileLog, layer: int | None) -> slice:
    layer = len(run.settings["model.hidden"]) if layer is None else layer
    units = analysis.columns(log.layer, layer)
    if units.start == units.stop:
        known = ", ".join(map(str, np.unique(log.layer)))
        raise ConfigError(f"--layer {layer}: not recorded; there is layer {known}")
    return units


def _read_unit(values: Rows, seed: int, column: int) -> Array:
    """The percentiles `(rows, Q)` of one unit of a log.

    They are read in parts, so that a log of many steps never lies in memory as a whole.
    """
    starts = range(0, len(values), 2048)
    return np.concatenate([values[i : i + 2048, seed, :, column] for i in starts])


def _all_units(log: PercentileLog, units: slice) -> Curves:
    """Median and 10-90 % band of each percentile, over the units of all seeds."""
    every = -(-len(log.steps) // (2 * drawing.BINS))
    values = log.values[::every, ..., units]
    with np.errstate(invalid="ignore"):  # a diverged run
        low, median, high = np.percentile(values, [10, 50, 90], axis=(1, 3))
    whose, band = f"{values.shape[1] * values.shape[3]} units", np.stack([low, high])
    return Curves(whose, log.percentiles, log.steps[::every], median, band)


def accuracy_panel(axes: Axes, runs: Mapping[str, VariantResults], lowest: float = 0.7) -> None:
    """Test accuracy of runs by name: mean over seeds, and a band from the lowest to the highest.

    Long or many names give way to those of the panels that follow: (b), (c), ... The axis reaches
    from `lowest`, or from below the run that ends there, to 1.
    """
    short = len(runs) <= 8 and max(map(len, runs)) <= 20
    names = list(runs) if short else [f"({drawing.letter(i + 1)})" for i in range(len(runs))]
    labels = []
    for name, run, look in zip(names, runs.values(), looks(len(runs)), strict=True):
        steps, accuracy = run.metrics.steps, run.metrics.test_accuracy
        axes.plot(steps, accuracy.mean(axis=1), **look)
        edges = accuracy.min(axis=1), accuracy.max(axis=1)
        axes.fill_between(steps, *edges, color=look["color"], alpha=0.2, lw=0)
        labels.append((float(accuracy[-1].mean()), name, look["color"]))
    reproduced = {paper.paper_panel(run.settings) for run in runs.values()}
    for panel in [panel for panel in PAPER if panel in reproduced]:
        net = paper.paper_net(panel)
        _paper_curve(axes, panel, net.accuracy_steps, net.accuracy)
        axes.legend(loc="lower right", labelcolor=GREY)
    axes.set_ylim(max(0.0, min(lowest, min(labels)[0] - 0.04)), 1.0)
    drawing.step_axis(axes)
    drawing.end_labels(axes, labels)


def percentile_panels(
    panels: Sequence[Axes], runs: Mapping[str, VariantResults], asked: Asked
) -> None:
    """The percentiles of each run in a panel titled with its key."""
    curves = [read_curves(run, asked) for run in runs.values()]
    colours = [look["color"] for look in looks(len(runs))]
    for axes, each, (name, run), colour in zip(panels, curves, runs.items(), colours, strict=True):
        _draw_curves(axes, each, colour)
        drawing.title(axes, name, each.unit)
        panel = paper.paper_panel(run.settings)
        if panel and asked.layer in {None, len(run.settings["model.hidden"])}:
            net = paper.paper_net(panel)
            _paper_curve(axes, panel, net.steps, net.values)
    for axes, each, colour in zip(panels, curves, colours, strict=True):
        ends = zip(each.lines[-20:].mean(axis=0), each.percentiles, strict=True)
        drawing.end_labels(axes, [(float(end), f"P{q:g}", colour) for end, q in ends])


def _draw_curves(axes: Axes, curves: Curves, colour: str) -> None:
    """Percentile lines, the middle one heavier, with what bands and noise bars they have."""
    for q, line in enumerate(curves.lines.T):
        drawn = decimate(curves.steps, line)
        if curves.floor is not None:
            axes.plot(*drawn, color=colour, ls="-", lw=0.6, alpha=0.3)
            end = 1.03 * curves.steps[-1], line[-100:].mean()
            axes.errorbar(*end, 2 * curves.floor[q], color="black", capsize=2.5, lw=1)
            drawn = decimate(curves.steps, line, [np.median])
        if curves.band is not None:
            axes.fill_between(curves.steps, *curves.band[..., q], color=colour, alpha=0.18, lw=0)
        width = 1.4 if q == analysis.middle(curves.percentiles) else 0.9
        axes.plot(*drawn, color=colour, ls="-", lw=width)


def _paper_curve(axes: Axes, panel: paper.Panel, steps: Array, values: Array) -> None:
    label, marks = PAPER[panel]
    axes.plot(steps, values, marks, label=label, color=GREY, lw=0.5, ms=3.5, mfc="none")
