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
Floats = Sequence[float]

TOLERANCES = (0.1, 0.2, 0.5)
ACCURACIES = (0.90, 0.95, 0.97)


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and the ends of its 95 % t-interval, which are NaN for a single seed."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What the interval says of a difference, in a plain word."""
        if np.isnan(self.low):
            return "not reached by every seed" if np.isnan(self.mean) else "one seed: no interval"
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "no difference seen"


def interval(values: Array) -> Interval:
    """Mean of values `(seeds,)`, one or more, with its 95 % t-interval.

    All three are NaN where a seed has no finite value: it never got there, or it diverged.
    """
    if not np.isfinite(values).all():
        return Interval(float("nan"), float("nan"), float("nan"))
    n, mean = len(values), float(np.mean(values, dtype=np.float64))
    if n == 1:
        return Interval(mean, float("nan"), float("nan"))
    from scipy.special import stdtrit  # `scipy.stats` takes a second to load

    half = float(stdtrit(n - 1, 0.975) * np.std(values, ddof=1, dtype=np.float64) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half)


def columns(layers: NDArray[np.int64], layer: int) -> slice:
    """The slice of the units of one layer, from the layers `(U,)` of all; empty if not recorded."""
    return slice(*np.searchsorted(layers, [layer, layer + 1]).tolist())


def outermost(percentiles: Floats) -> tuple[int, int]:
    """Positions of 15 and 85, as in the paper, where both are recorded; else of the outermost."""
    if 15 in percentiles and 85 in percentiles:
        return percentiles.index(15), percentiles.index(85)
    return 0, len(percentiles) - 1


def middle(percentiles: Floats) -> int:
    """Position of the median, or of the recorded percentile nearest to it."""
    return int(np.argmin(np.abs(np.subtract(percentiles, 50))))


def width(values: Array, percentiles: Floats) -> Array:
    """P_85 - P_15, or between the `outermost`: `(..., Q, U)` to `(..., U)`."""
    low, high = outermost(percentiles)
    with np.errstate(invalid="ignore"):  # a diverged unit: infinity less infinity
        return values[..., high, :].astype(np.float64) - values[..., low, :]


def sigma(values: Array, percentiles: Floats) -> Array:
    """Standard deviation of the Gaussian with that width: (P_85 - P_15) / 2.0729.

    NaN where a single percentile is recorded; 0 and 100 count as 0.01 and 99.99.
    """
    ends = np.clip([percentiles[i] for i in outermost(percentiles)], 0.01, 99.99) / 100
    low, high = map(NormalDist().inv_cdf, ends)
    with np.errstate(invalid="ignore"):
        return width(values, percentiles) / np.float64(high - low)


def typical_unit(end: Array, percentiles: Floats) -> tuple[int, int]:
    """Positions, in a last row `(S, Q, U)`, of the seed and unit whose width is the median.

    Of an even number, the lower of the middle two; of equals, the first by seed, then by unit.
    """
    widths = width(end, percentiles)
    ranked = np.argsort(widths, axis=None, kind="stable")
    seed, unit = np.unravel_index(ranked[(widths.size - 1) // 2], widths.shape)
    return int(seed), int(unit)


def settle_step(steps: Steps, values: Array, percentiles: Floats, tolerance: float) -> Array:
    """First step from which every percentile stays within tolerance * sigma_end of its end.

    `(rows, S, Q, U)` to `(S, U)`; NaN for a unit that has no finite end.
    """
    with np.errstate(invalid="ignore"):
        allowed = tolerance * sigma(values[-1], percentiles)[:, None]
        inside = np.abs(values - values[-1]) <= allowed
    outside = ~inside.all(axis=2)
    row = len(steps) - np.argmax(outside[::-1], axis=0)  # the row after the last outside
    return np.append(steps.astype(np.float64), np.nan)[np.where(outside.any(axis=0), row, 0)]


def drift(steps: Steps, values: Array, percentiles: Floats, lag: int = 1000) -> dict[str, Array]:
    """How far the distribution of each unit moves, `(rows, S, Q, U)` to `(S, U)` each.

    `median_range` and `median_variation`: highest less lowest, and total variation, of P_50, in
    sigma_end. `width_range` and `width_variation`: the same of log(P_85 - P_15). `shift`: mean of
    |P_q(t) - P_q(t - lag)| over q and t, in sigma_end: a Wasserstein-1 estimate.
    """
    median = values[:, :, middle(percentiles)]
    ago = np.searchsorted(steps, steps - lag)
    now = np.flatnonzero(steps[ago] == steps - lag)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.abs(values[now] - values[ago[now]]).sum(axis=0) / len(now)
        scale = sigma(values[-1], percentiles)
        found = {}
        log_width = np.log(width(values, percentiles))
        for name, path, unit in (("median", median, scale), ("width", log_width, 1)):
            found[f"{name}_range"] = np.ptp(path, axis=0) / unit
            found[f"{name}_variation"] = np.abs(np.diff(path, axis=0)).sum(axis=0) / unit
        return found | {"shift": moved.mean(axis=1) / scale}


def sooner(first: Array, second: Array) -> Array:
    """P(a unit of the first net settles before one of the second), ties counting half.

    The Mann-Whitney statistic of each seed: settle steps `(S, U)` and `(S, V)` to `(S,)`.
    """
    gap = second[:, None, :] - first[:, :, None]
    return np.asarray((0.5 + 0.5 * np.sign(gap)).mean(axis=(1, 2)))


def steps_to(steps: Steps, accuracy: Array, threshold: float) -> Array:
    """First evaluated step with at least this test accuracy, `(rows, S)` to `(S,)`."""
    reached = accuracy >= threshold
    return np.where(reached.any(axis=0), steps[np.argmax(reached, axis=0)], np.nan)


def noise_floor(percentiles: Floats, examples: int, *, normalized: bool) -> Array:
    """Standard deviation `(Q,)`, in sigma, of the percentiles of minibatches of a Gaussian unit.

    Batch normalization removes the sample's own mean and variance, so its percentiles jitter less
    by construction. By a seeded simulation: the asymptotic formula, variance
    (q(1-q)/phi(z)^2 - [normalized](1 + z^2/2)) / examples, is 5 % off at 60 examples.
    """
    rng = np.random.default_rng(0)
    sample = rng.standard_normal((max(1_200_000 // examples, 1000), examples))
    if normalized:
        sample = (sample - sample.mean(1, keepdims=True)) / sample.std(1, keepdims=True)
    return np.asarray(np.percentile(sample, percentiles, axis=1).std(axis=1))
