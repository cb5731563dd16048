"""Percentile curves read from a run's files: of one unit, or of all units of a layer."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis.distributions import noise_floor, spread, units_of_layer
from bnexp.analysis.records import PercentileLog
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.stacking import Rows
from bnexp.analysis.variants import VariantResults
from bnexp.errors import ConfigError, StorageError
from bnexp.figures.drawing import BINS


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
    where = "" if selection.layer is None else f"layer {selection.layer}, "
    if selection.unit == "all":
        found = _all_units(log, _columns(log, selection.layer), _seeds(log, selection.seed))
        return replace(found, unit=where + found.unit)
    seed, column = unit_position(variant, log, selection)
    lines, floor = read_unit(log.values, seed, column), None
    minibatches = log is not variant.probe
    if minibatches and knows_noise(variant):
        normalized = variant.settings["model.norm"] == "batch"
        floor = noise_floor(log.percentiles, log.examples, normalized=normalized)
        floor *= spread(lines[-100:, :, None], log.percentiles).mean()
    whose = f"{where}unit {log.unit[column]}, seed {log.seeds[seed]}"
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
        seed, place = variant.typical_unit(log, int(log.layer[columns.start]), seeds)
        return seeds.start + seed, columns.start + place
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


def read_unit(values: Rows, seed: int, column: int) -> NDArray[np.float32]:
    """The percentiles (rows, Q) of one unit of a log.

    They are read in parts, so that a log of many steps never lies in memory as a whole.
    """
    starts = range(0, len(values), 2048)
    return np.concatenate([values[i : i + 2048, seed, :, column] for i in starts])


def _all_units(log: PercentileLog, columns: slice, seeds: slice) -> Curves:
    """Median and 10-90 % band of each percentile, over the units of the seeds."""
    every = -(-len(log.steps) // (2 * BINS))
    values = log.values[::every, ..., columns][:, seeds]
    with np.errstate(invalid="ignore"):  # a diverged run
        low, median, high = np.percentile(values, [10, 50, 90], axis=(1, 3))
    whose, band = f"{values.shape[1] * values.shape[3]} units", np.stack([low, high])
    return Curves(whose, log.percentiles, log.steps[::every], median, band)
