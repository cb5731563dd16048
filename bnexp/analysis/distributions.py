"""What the percentiles of a unit say of its distribution: arrays in, numbers out.

Percentiles of S seeds, Q percentiles and U units are arrays (rows, S, Q, U), or (S, Q, U) for one
row. A unit's spread is the standard deviation of the Gaussian that has its width,

    spread = (P_85 - P_15) / 2.0729,    since P_85 - P_15 = 2 * 1.0364 * sd for a Gaussian.

Its final spread, at the end of training, is the unit in which drifts and tolerances are given.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]


def units_of_layer(layers: NDArray[np.int64], layer: int) -> slice:
    """Where the units of one layer stand among those of all layers.

    Args:
        layers: (units,): the layer of each unit, ascending.
        layer: counted from 1.

    Returns:
        A slice of the axis of units; it is empty if the layer is not recorded.
    """
    return slice(*np.searchsorted(layers, [layer, layer + 1]).tolist())


def outermost(percentiles: Sequence[float]) -> tuple[int, int]:
    """Positions of 15 and 85, as in the paper, where both are recorded; else of the outermost."""
    if 15 in percentiles and 85 in percentiles:
        return percentiles.index(15), percentiles.index(85)
    return 0, len(percentiles) - 1


def middle(percentiles: Sequence[float]) -> int:
    """Position of the median, or of the recorded percentile nearest to it."""
    return int(np.argmin(np.abs(np.subtract(percentiles, 50))))


def normal_quantiles(percentiles: Sequence[float]) -> NDArray[np.float64]:
    """The percentiles (Q,) of the standard Gaussian; 0 and 100 count as 0.01 and 99.99."""
    shares = np.clip(percentiles, 0.01, 99.99) / 100
    return np.array([NormalDist().inv_cdf(share) for share in shares])


def width(values: Values, percentiles: Sequence[float]) -> NDArray[np.float64]:
    """P_85 - P_15, or between the `outermost`: (..., Q, U) to (..., U)."""
    low, high = outermost(percentiles)
    with np.errstate(invalid="ignore"):  # a diverged unit: infinity less infinity
        return values[..., high, :].astype(np.float64) - values[..., low, :]


def spread(values: Values, percentiles: Sequence[float]) -> NDArray[np.float64]:
    """Standard deviation of the Gaussian with the same width: (..., Q, U) to (..., U).

    NaN where a single percentile is recorded, which has no width.
    """
    low, high = normal_quantiles([percentiles[i] for i in outermost(percentiles)])
    with np.errstate(invalid="ignore"):
        return width(values, percentiles) / np.float64(high - low)


def typical_unit(values: Values) -> tuple[int, int]:
    """The medoid: the unit that is nearest to the median unit all the time.

    The median unit has, at each row and percentile, the median over all seeds and units. Nearest
    is the unit with the smallest root mean square distance to it, over rows and percentiles.

    Args:
        values: (rows, S, Q, U). A unit with a value that is not finite is the last to be chosen.

    Returns:
        Its positions: seed and unit. Of equals, the first by seed, then by unit.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        finite = np.where(np.isfinite(values), values, np.nan)
        alive = ~np.isnan(finite).all(axis=(1, 3), keepdims=True)
        shown = np.where(alive, finite, 0)
        # Both give the same where nothing is NaN, and the plain one is much faster.
        middle_of = np.nanmedian if np.isnan(shown).any() else np.median
        median = middle_of(shown, axis=(1, 3), keepdims=True)
        squares = np.square(values.astype(np.float64) - median).mean(axis=(0, 2))
    distance = np.where(np.isfinite(squares), squares, np.inf)
    seed, unit = np.unravel_index(np.argmin(distance), distance.shape)
    return int(seed), int(unit)


def noise_floor(
    percentiles: Sequence[float], examples: int, *, normalized: bool
) -> NDArray[np.float64]:
    """How much percentiles of minibatches jitter although nothing moves.

    Batch normalization removes the sample's own mean and variance, so its percentiles jitter less
    by construction. The asymptotic variance, (q (1 - q) / phi(z)^2 - [normalized] (1 + z^2 / 2)) /
    examples, is 5 % off at 60 examples, so this is a simulation with a fixed seed.

    Returns:
        (Q,): standard deviations over minibatches of a Gaussian unit, in its standard deviations.
    """
    rng = np.random.default_rng(0)
    sample = rng.standard_normal((max(1_200_000 // examples, 1000), examples))
    if normalized:
        sample = (sample - sample.mean(1, keepdims=True)) / sample.std(1, keepdims=True)
    return np.asarray(np.percentile(sample, percentiles, axis=1).std(axis=1))
