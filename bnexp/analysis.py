"""The numbers behind the claims: arrays in, numbers out.

Percentiles of S seeds, Q percentiles and U units are arrays `(rows, S, Q, U)`, or `(S, Q, U)` for
one row; `steps` `(rows,)` holds each row's step. What a run never reached is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Steps = NDArray[np.int64]

TOLERANCES = (0.1, 0.2, 0.5)
ACCURACIES = (0.90, 0.95, 0.97)


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its 95 % t-interval.

    Attributes:
        mean: NaN if the value of any seed is missing.
        low: lower end; NaN where there are fewer than two seeds.
        high: upper end; NaN where there are fewer than two seeds.
        seeds: how many values went in.
    """

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def verdict(self) -> str:
        """What the interval says of a difference, in a plain word."""
        if np.isnan(self.mean):
            return "not reached by every seed" if self.seeds else "no seed in common"
        if np.isnan(self.low):
            return "one seed: no interval"
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "no difference seen"


def interval(values: Array) -> Interval:
    """Mean over seeds with its 95 % t-interval.

    Args:
        values: `(seeds,)`; for a paired comparison, each seed's difference.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    if n < 2:
        return Interval(mean, float("nan"), float("nan"), n)
    from scipy.special import stdtrit  # `scipy.stats` takes a second to load

    half = float(stdtrit(n - 1, 0.975) * values.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def columns(layers: NDArray[np.int64], layer: int) -> slice:
    """The units of one layer as a slice of a log's last axis; empty if it is not recorded.

    Args:
        layers: `(U,)`, the layer of each unit, ascending.
        layer: counted from 1.
    """
    return slice(*(int(end) for end in np.searchsorted(layers, [layer, layer + 1])))


def outermost(percentiles: Sequence[float]) -> tuple[int, int]:
    """Positions of the two percentiles a width is measured between.

    15 and 85 where both are recorded, as in the paper; else the lowest and the highest.

    Args:
        percentiles: ascending, in [0, 100].
    """
    if 15 in percentiles and 85 in percentiles:
        return percentiles.index(15), percentiles.index(85)
    return 0, len(percentiles) - 1


def middle(percentiles: Sequence[float]) -> int:
    """Position of the median, or of the recorded percentile nearest to it."""
    return min(range(len(percentiles)), key=lambda i: abs(percentiles[i] - 50))


def width(values: Array, percentiles: Sequence[float]) -> NDArray[np.float64]:
    """P_85 - P_15, `(..., Q, U)` to `(..., U)`; NaN where only one percentile is recorded."""
    low, high = outermost(percentiles)
    if low == high:
        return np.full((*values.shape[:-2], values.shape[-1]), np.nan)
    with np.errstate(invalid="ignore"):  # a diverged unit: infinity less infinity
        return np.asarray(values[..., high, :].astype(np.float64) - values[..., low, :])


def sigma(values: Array, percentiles: Sequence[float]) -> NDArray[np.float64]:
    """Standard deviation of the Gaussian with that width: (P_85 - P_15) / 2.0729.

    Args:
        values: `(..., Q, U)`; the last row of a log gives sigma_end.
        percentiles: the Q percentiles, 0 to 100.

    Returns:
        `(..., U)`, in units of the pre-activation.
    """
    low, high = (_quantile(percentiles[i]) for i in outermost(percentiles))
    return width(values, percentiles) / max(high - low, np.finfo(float).tiny)


def typical_unit(end: Array, percentiles: Sequence[float]) -> tuple[int, int]:
    """The one unit, of all units and seeds, whose end width is the median.

    Of an even number, the lower of the middle two; of equals, the first by seed, then by unit.

    Args:
        end: last row, `(S, Q, U)`, of one layer.
        percentiles: the Q percentiles.

    Returns:
        Positions of its seed and unit in `end`.
    """
    widths = width(end, percentiles).ravel()
    chosen = int(np.argsort(widths, kind="stable")[(len(widths) - 1) // 2])
    units = int(end.shape[-1])
    return chosen // units, chosen % units


def settle_step(
    steps: Steps, values: Array, percentiles: Sequence[float], tolerance: float
) -> NDArray[np.float64]:
    """First step from which every percentile stays within tolerance * sigma_end of its end.

    Args:
        steps: `(rows,)`.
        values: `(rows, S, Q, U)`; may be memory-mapped: it is read in blocks of rows.
        percentiles: the Q percentiles.
        tolerance: in sigma_end.

    Returns:
        `(S, U)`; NaN for a unit that has no finite end.
    """
    end = values[-1]
    allowed = tolerance * sigma(end, percentiles)[:, None]
    last_outside = np.full(allowed[:, 0].shape, -1)
    block = 2048
    for first in range(0, len(values), block):
        with np.errstate(invalid="ignore"):
            # `not <=` rather than `>`: a NaN is outside.
            outside = ~(np.abs(values[first : first + block] - end) <= allowed)
        outside = outside.any(axis=2)
        latest = first + len(outside) - 1 - np.argmax(outside[::-1], axis=0)
        last_outside = np.where(outside.any(axis=0), latest, last_outside)
    settled: NDArray[np.float64] = np.append(steps.astype(np.float64), np.nan)[last_outside + 1]
    return settled


def drift(
    steps: Steps, values: Array, percentiles: Sequence[float], lag: int = 1000
) -> dict[str, NDArray[np.float64]]:
    """How far a unit's distribution moves, each `(S, U)`.

    Args:
        steps: `(rows,)`.
        values: `(rows, S, Q, U)`.
        percentiles: the Q percentiles.
        lag: steps between the two distributions of `shift`.

    Returns:
        `median_range` and `median_variation`: highest less lowest, and total variation, of P_50, in
        sigma_end. `width_range` and `width_variation`: the same of log(P_85 - P_15). `shift`: mean
        of |P_q(t) - P_q(t - lag)| over q and t in sigma_end, a Wasserstein-1 estimate.
    """
    median = values[:, :, middle(percentiles)]
    ago = np.searchsorted(steps, steps - lag)
    now = np.flatnonzero(steps[ago] == steps - lag)
    moved = np.full(values.shape[1:], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(now):
            moved = np.mean([np.abs(values[t] - values[ago[t]]) for t in now], axis=0)
        scale = sigma(values[-1], percentiles)
        log_width = np.log(width(values, percentiles))
        return {
            "median_range": np.ptp(median, axis=0) / scale,
            "median_variation": np.abs(np.diff(median, axis=0)).sum(axis=0) / scale,
            "width_range": np.ptp(log_width, axis=0),
            "width_variation": np.abs(np.diff(log_width, axis=0)).sum(axis=0),
            "shift": moved.mean(axis=1) / scale,
        }


def sooner(first: Array, second: Array) -> NDArray[np.float64]:
    """P(a unit of the first net settles before one of the second), ties counting half.

    The Mann-Whitney statistic over all pairs of units of a seed.

    Args:
        first: settle steps `(S, U)`.
        second: settle steps `(S, V)`; row s is the same seed as row s of `first`.

    Returns:
        `(S,)`.
    """
    gap = second[:, None, :] - first[:, :, None]
    wins = np.where(np.isnan(gap), np.nan, 0.5 + 0.5 * np.sign(gap))
    return np.asarray(wins.mean(axis=(1, 2)))


def steps_to(steps: Steps, accuracy: Array, threshold: float) -> NDArray[np.float64]:
    """First evaluated step with at least this test accuracy, `(rows, S)` to `(S,)`."""
    reached = accuracy >= threshold
    return np.where(reached.any(axis=0), steps[np.argmax(reached, axis=0)], np.nan)


def noise_floor(
    percentiles: Sequence[float], examples: int, *, normalized: bool
) -> NDArray[np.float64]:
    """Standard deviation of a minibatch's percentiles when nothing but the sample changes.

    Batch normalization removes the sample's own mean and variance, so its percentiles jitter less
    by construction. By a seeded simulation of a Gaussian unit: the asymptotic formula, variance
    (q(1-q)/phi(z)^2 - [normalized](1 + z^2/2)) / examples, is 5 % off at 60 examples.

    Args:
        percentiles: Q percentiles, 0 to 100.
        examples: of a minibatch, at least 2.
        normalized: whether the unit is batch-normalized.

    Returns:
        `(Q,)`, in sigma of the unit.
    """
    rng = np.random.default_rng(0)
    sample = rng.standard_normal((max(1_200_000 // examples, 1000), examples))
    if normalized:
        sample -= sample.mean(axis=1, keepdims=True)
        sample /= sample.std(axis=1, keepdims=True)
    return np.asarray(np.percentile(sample, percentiles, axis=1).std(axis=1))


def _quantile(percentile: float) -> float:
    """Standard normal quantile; percentiles 0 and 100 count as 0.01 and 99.99."""
    return NormalDist().inv_cdf(min(max(percentile, 0.01), 99.99) / 100)
