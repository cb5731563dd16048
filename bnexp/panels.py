"""Panels that figures are put together from, and the curves in them, read from a run's files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes  # noqa: TID253
from numpy.typing import NDArray

from bnexp import analysis, paper
from bnexp.drawing import BINS, GREY, bin_median, decimate, end_labels, letter, looks, step_axis
from bnexp.errors import ConfigError, StorageError
from bnexp.runlog import PercentileLog, Run


@dataclass(frozen=True)
class Curves:
    """The percentile curves of one panel.

    Attributes:
        steps: `(rows,)`.
        lines: `(rows, Q)`.
        band: lower and upper edge around each line, `(rows, Q, 2)`; None: no bands.
        floor: standard deviation of each line if only the sample changed, `(Q,)`; None: not drawn.
        percentiles: the Q percentiles.
        unit: whose they are, in words.
    """

    steps: NDArray[np.int64]
    lines: NDArray[Any]
    band: NDArray[Any] | None
    floor: NDArray[Any] | None
    percentiles: tuple[float, ...]
    unit: str


def percentile_log(run: Run, source: str | None) -> PercentileLog:
    """The log to draw: `probe`, `batch`, or None: the probe, where there is one.

    Raises:
        ConfigError: no such source.
        StorageError: it has no row yet.
    """
    if source not in {None, "probe", "batch"}:
        raise ConfigError(f"--source {source}: no such source; there are probe, batch")
    if source == "probe" and run.probe is None:
        raise ConfigError("--source probe: record.probe_every is null; draw --source batch")
    log = run.batch if source == "batch" or run.probe is None else run.probe
    if not len(log.steps):
        raise StorageError(f"{run.path}: no percentiles to draw yet; train it first")
    return log


def read_curves(run: Run, log: PercentileLog, layer: int | None, unit: str | int) -> Curves:
    """The curves of one panel; see `figures.draw`.

    Raises:
        ConfigError: no such layer or unit.
    """
    units = _units(run, log, layer)
    if unit == "all":
        return _all_units(log, units)
    seed, column = locate(run, log, layer, unit)
    lines = np.concatenate([np.array(block[:, seed, :, column]) for block in blocks(log.values)])
    floor = None
    if log is not run.probe:
        normalized = run.variant.settings.model.norm != "none"
        sigma = analysis.sigma(lines[-100:, :, None], log.percentiles).mean()
        floor = sigma * analysis.noise_floor(log.percentiles, log.examples, normalized=normalized)
    words = f"unit {log.unit[column]}, seed {log.seeds[seed]}"
    return Curves(log.steps, lines, None, floor, log.percentiles, words)


def locate(run: Run, log: PercentileLog, layer: int | None, unit: str | int) -> tuple[int, int]:
    """Positions, in the log's values, of the seed and the unit to draw; see `figures.draw`.

    Raises:
        ConfigError: no such layer or unit.
    """
    units = _units(run, log, layer)
    if unit == "typical":
        # The probe's, also for minibatch curves: the width of one minibatch is mostly noise.
        judged = run.probe if run.probe is not None and len(run.probe.steps) else log
        end = judged.values[-1][..., _units(run, judged, layer)]
        seed, column = analysis.typical_unit(end, judged.percentiles)
        return seed, units.start + column
    size = units.stop - units.start
    if not str(unit).isdecimal() or int(unit) >= size:
        raise ConfigError(f"--unit {unit}: no such unit; give typical, all, or 0 to {size - 1}")
    return 0, units.start + int(unit)


def blocks(values: NDArray[Any], rows: int = 2048) -> Iterator[NDArray[Any]]:
    """A log's values, so many rows at a time.

    Each block of a memory-mapped log is mapped for itself: what was read does not stay in memory.
    """
    for first in range(0, len(values), rows):
        if isinstance(values, np.memmap) and values.filename is not None:
            shape = (min(rows, len(values) - first), *values.shape[1:])
            offset = values.offset + first * values.strides[0]
            yield np.memmap(values.filename, values.dtype, "r", offset, shape)
        else:
            yield values[first : first + rows]


def _units(run: Run, log: PercentileLog, layer: int | None) -> slice:
    layer = len(run.variant.settings.model.hidden) if layer is None else layer
    units = analysis.columns(log.layer, layer)
    if units.start == units.stop:
        known = ", ".join(map(str, np.unique(log.layer)))
        raise ConfigError(f"--layer {layer}: not recorded; there is layer {known}")
    return units


def _all_units(log: PercentileLog, units: slice) -> Curves:
    """Median and 10-90 % band of each percentile, over the units of all seeds."""
    every = -(-len(log.steps) // (2 * BINS))
    picked = [block[::every, ..., units].copy() for block in blocks(log.values, 50 * every)]
    values = np.moveaxis(np.concatenate(picked), 2, 1)
    count = values.shape[2] * values.shape[3]
    flat = values.reshape(*values.shape[:2], count)
    with np.errstate(invalid="ignore"):  # a diverged run
        low, median, high = np.percentile(flat, [10, 50, 90], axis=2)
    band = np.stack([low, high], axis=2)
    return Curves(log.steps[::every], median, band, None, log.percentiles, f"{count} units")


def accuracy_panel(
    axes: Axes, runs: Mapping[str, Run], limits: tuple[float, float] | None = None
) -> None:
    """Test accuracy: mean over seeds, and a band from the lowest seed to the highest.

    Args:
        axes: where to draw.
        runs: the variants, by the names to write at their lines; if these are long or many,
            the lines are named by panel: (b), (c), ...
        limits: of the accuracy; None: the paper's, or lower where a variant ends below.
    """
    ends = []
    for run, look in zip(runs.values(), looks(len(runs)), strict=True):
        steps, accuracy = run.metrics.steps, run.metrics.test_accuracy
        low, high, mean = accuracy.min(axis=1), accuracy.max(axis=1), accuracy.mean(axis=1)
        axes.plot(steps, mean, **look)
        axes.fill_between(steps, low, high, color=look["color"], alpha=0.2, lw=0)
        ends.append(float(mean[-1]))
    reproduced = {paper.paper_panel(run.variant.settings) for run in runs.values()}
    for panel, label in _PAPER_LABELS.items():
        if panel in reproduced:
            net = paper.paper_net(panel)
            axes.plot(net.accuracy_steps, net.accuracy, label=label, **_MARKERS[panel])
    lowest = max(0.0, min(0.7, np.floor(10 * min(ends) - 1) / 10))
    axes.set_ylim(limits or (lowest, 1.0))
    step_axis(axes)
    short = len(runs) <= 8 and max(map(len, runs)) <= 20
    names = list(runs) if short else [f"({letter(i + 1)})" for i in range(len(runs))]
    end_labels(axes, ends, names, [look["color"] for look in looks(len(runs))])
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", labelcolor=GREY)


def percentile_panel(axes: Axes, curves: Curves, colour: str) -> None:
    """Percentile lines, the middle one heavier, with what bands and noise bars they have."""
    for q in range(len(curves.percentiles)):
        heavy = q == analysis.middle(curves.percentiles)
        look: dict[str, Any] = {"color": colour, "ls": "-", "lw": 1.4 if heavy else 0.9}
        line = decimate(curves.steps, curves.lines[:, q])
        if curves.floor is None:
            axes.plot(*line, **look)
        else:
            axes.plot(*line, color=colour, ls="-", lw=0.6, alpha=0.3)
            axes.plot(*bin_median(curves.steps, curves.lines[:, q], bins=150), **look)
            at, level = 1.03 * curves.steps[-1], curves.lines[-100:, q].mean()
            axes.errorbar(at, level, 2 * curves.floor[q], color="black", capsize=2.5, lw=1)
        if curves.band is not None:
            steps, edges = bin_median(curves.steps, curves.band[:, q])
            axes.fill_between(steps, *edges.T, color=colour, alpha=0.18, lw=0)


def label_lines(axes: Axes, curves: Curves) -> None:
    """Name the percentile lines; call it when nothing changes the limits any more."""
    n = len(curves.percentiles)
    low, high = analysis.outermost(curves.percentiles)
    shown = range(n) if n <= 7 else (low, analysis.middle(curves.percentiles), high)
    ends = [float(curves.lines[-20:, q].mean()) for q in shown]
    names = [f"P{curves.percentiles[q]:g}" for q in shown]
    end_labels(axes, ends, names, [str(axes.lines[0].get_color())] * len(names))


def paper_curves(axes: Axes, run: Run) -> None:
    """The paper's percentiles, where the run is the paper's."""
    if panel := paper.paper_panel(run.variant.settings):
        net = paper.paper_net(panel)
        axes.plot(net.steps, net.values, label="paper", **_MARKERS[panel])


_PAPER_LABELS: dict[paper.Panel, str] = {"b": "paper, without BN", "c": "paper, with BN"}
_MARKERS: dict[str, dict[str, Any]] = {
    panel: {
        "marker": marker,
        "ls": "-",
        "lw": 0.5,
        "ms": 3.5,
        "mfc": "none",
        "mew": 0.9,
        "color": GREY,
    }
    for panel, marker in (("b", "o"), ("c", "s"))
}
