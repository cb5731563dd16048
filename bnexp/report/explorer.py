"""The percentiles of an experiment, packed for the explorer of its page.

Everything recorded would be hundreds of megabytes, so a page holds one seed of each variant, and of
its log as many rows as fit, closer together in early training (`spaced_rows`). Between them the
page draws straight lines, and it says how far these are from the rows that were left out. Numbers
are kept as 16-bit integers between the lowest and the highest of their variant.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis.distributions import (
    noise_floor,
    normal_quantiles,
    outermost,
    spread,
    units_of_layer,
)
from bnexp.analysis.learned import drift_of
from bnexp.analysis.records import PercentileLog
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.stacking import spaced_rows
from bnexp.analysis.variants import VariantResults
from bnexp.figures.curves import knows_noise

BYTES = 900_000  # of packed numbers on a page; base64 makes four bytes of three
ROWS, LEAST_ROWS = 241, 12  # at most of a log, and at least where units are left out instead
MISSING = -32768  # stands for what is not finite
LEVELS = 65534  # of the other integers


@dataclass(frozen=True)
class Explorer:
    """What the page's script reads, and what the page says of it.

    Attributes:
        data: of the script, as JSON has it.
        seed: the seed that is shown.
        variants: how many of the experiment's variants are shown.
        rows: how many rows of the log are kept, and how many it has.
        error: the root mean square and the largest distance of a recorded row from the straight
            lines between those kept, in final spreads of the unit.
    """

    data: Mapping[str, Any]
    seed: int
    variants: int
    rows: tuple[int, int]
    error: tuple[float, float]


def explorer(results: ExperimentResults, budget: int = BYTES) -> Explorer | None:
    """The explorer of an experiment; `None` where no percentiles were recorded.

    Args:
        results: the logs.
        budget: bytes of packed numbers.
    """
    shown = [(each, log) for each in results.variants.values() if (log := _log(each)) is not None]
    seeds = [set(each.seeds) for each, _ in shown]
    common = sorted(set.intersection(*seeds)) if seeds else []
    if not common:
        return None
    last_only = _rows_for(shown, budget, last_only=False) < LEAST_ROWS
    while len(shown) > 1 and _rows_for(shown, budget, last_only=last_only) < LEAST_ROWS:
        shown.pop()
    seed, rows = common[0], _rows_for(shown, budget, last_only=last_only)
    packed, errors = zip(
        *(_packed(each, log, seed, rows, last_only=last_only) for each, log in shown), strict=True
    )
    first = shown[0][1]
    total = len(first.steps)
    kept = len(spaced_rows(total, rows))
    ends = outermost(first.percentiles)
    low, high = normal_quantiles([first.percentiles[end] for end in ends])
    data = {
        "seed": seed,
        "percentiles": [*first.percentiles],
        "spread": [*ends, float(high - low)],
        "variants": packed,
    }
    squares, largest = np.array(errors).T
    error = float(np.sqrt(np.mean(squares))), float(np.max(largest))
    return Explorer(data, seed, len(shown), (kept, total), error)


def _log(variant: VariantResults) -> PercentileLog | None:
    """The probe, where there is one; else the minibatches; None without a row of either."""
    logs = (log for log in (variant.probe, variant.minibatch) if log is not None)
    return next((log for log in logs if len(log.steps)), None)


def _columns(log: PercentileLog, *, last_only: bool) -> slice:
    """The units that are shown: of all layers, or of the last."""
    return units_of_layer(log.layer, int(log.layer[-1])) if last_only else slice(0, len(log.unit))


def _rows_for(
    shown: Sequence[tuple[VariantResults, PercentileLog]], budget: int, *, last_only: bool
) -> int:
    """How many rows of every variant's log fit into so many bytes."""
    numbers = 0
    for each, log in shown:
        columns = _columns(log, last_only=last_only)
        parameters = 0 if each.norm_parameters is None else 2
        numbers += (columns.stop - columns.start) * (len(log.percentiles) + parameters)
    return max(2, min(ROWS, budget // (2 * max(numbers, 1))))


def _packed(
    variant: VariantResults, log: PercentileLog, seed: int, wanted: int, *, last_only: bool
) -> tuple[dict[str, Any], tuple[float, float]]:
    """A variant for the script; the mean square and the largest error of its straight lines."""
    at, columns = log.seeds.index(seed), _columns(log, last_only=last_only)
    values = np.asarray(log.values[:, at, :, columns], np.float64)  # (rows, Q, U)
    rows = spaced_rows(len(log.steps), wanted)
    seeds = slice(at, at + 1)
    measures = drift_of(variant, log, columns, seeds)
    scale = spread(values[-1], log.percentiles)
    accuracy = variant.metrics.test_accuracy[:, variant.metrics.seeds.index(seed)]
    layers = log.layer[columns]
    content: dict[str, Any] = {
        "name": variant.name,
        "steps": log.steps[rows].tolist(),
        "layers": _layers(layers, log.names),
        "typical": variant.typical_unit(log, int(layers[-1]), seeds)[1],
        "population": log.population,
        "values": pack(values[rows].transpose(0, 2, 1)),
        "measures": {
            "settle": _rounded(measures.settle[0.2][0]),
            "drift": _rounded(measures.median_range[0]),
            "width": _rounded(measures.end_width[0]),
        },
        "accuracy": [variant.metrics.steps.tolist(), _rounded(accuracy)],
        "noise": _noise(variant, log),
    }
    if variant.norm_parameters is not None and log is variant.probe:
        parameters = np.asarray(variant.norm_parameters[: len(log.steps), at, :, columns])
        content["norm"] = pack(parameters[rows[rows < len(parameters)]].transpose(0, 2, 1))
    return content, _error(log.steps, values, rows, scale)


def _noise(variant: VariantResults, log: PercentileLog) -> dict[str, Any] | None:
    """How much percentiles of a minibatch jitter although nothing moves, in spreads of the unit.

    `None` for a model of the user's own, whose examples may not be independent; see `knows_noise`.
    """
    if not knows_noise(variant):
        return None
    examples = int(str(variant.settings["train.batch_size"]))
    normalized = variant.settings["model.norm"] == "batch"
    floor = noise_floor(log.percentiles, examples, normalized=normalized)
    return {"examples": examples, "floor": _rounded(floor)}


def _layers(layers: NDArray[np.int64], names: Sequence[str]) -> list[dict[str, Any]]:
    """Each recorded layer: its number, its name, and where its units stand."""
    found = []
    for layer in np.unique(layers).tolist():
        part = units_of_layer(layers, layer)
        name = names[layer - 1] if names else f"hidden layer {layer}"
        found.append({"layer": layer, "name": name, "start": part.start, "stop": part.stop})
    return found


def pack(values: NDArray[Any]) -> dict[str, Any]:
    """Numbers as little-endian 16-bit integers in base64; see `MISSING`.

    A number is low + (integer + 32767) * step. It is known to half a step.
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    step = (high - low) / LEVELS or 1.0
    with np.errstate(invalid="ignore"):
        levels = np.round((values - low) / step) - 32767
    whole = np.where(np.isfinite(values), levels, MISSING).astype("<i2")
    return {"low": low, "step": step, "data": base64.b64encode(whole.tobytes()).decode()}


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    """Five digits; None for what is not finite."""
    return [float(f"{x:.5g}") if math.isfinite(x) else None for x in values.tolist()]


def _error(
    steps: NDArray[np.int64],
    values: NDArray[np.float64],
    rows: NDArray[np.int64],
    scale: NDArray[np.float64],
) -> tuple[float, float]:
    """Mean square and largest distance of all rows from straight lines between those kept."""
    after = np.clip(np.searchsorted(rows, np.arange(len(steps))), 1, max(len(rows) - 1, 1))
    left, right = rows[after - 1], rows[np.minimum(after, len(rows) - 1)]
    length = np.maximum(steps[right] - steps[left], 1)
    share = ((steps - steps[left]) / length)[:, None, None]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        gaps = (values[left] * (1 - share) + values[right] * share - values) / scale
    known = gaps[np.isfinite(gaps)]
    return (float(np.mean(known**2)), float(np.abs(known).max())) if known.size else (0.0, 0.0)
