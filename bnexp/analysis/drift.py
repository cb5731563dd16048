"""How far and how long the distribution of a unit moves: percentile curves in, numbers out.

Let P_q(i) be percentile q of a unit at row i of the probe. It moves for two reasons. The
distribution drifts, slowly, while the network learns. And it jitters, since every step moves the
network a little; two rows that are 50 steps apart differ by 0.04 final spreads although nothing
drifts. What is to measure drift must not measure jitter. So with a window that spans 2,000 steps
(or a fifth of a run of less than 10,000):

    windowed percentile  Pw_q(t) = mean of P_q over the steps t .. t + 2,000
    final value          E_q     = Pw_q of the last window
    final spread         s       = (E_85 - E_15) / 2.0729
    settle step          T(tol)  = first step from which max over q of |Pw_q - E_q| <= tol * s
    jitter               J       = sqrt(mean of (P_q(i + 1) - P_q(i))^2 / 2) / s,
                         over the percentiles and the last fifth of the rows
    excess shift         sqrt(max(0, D(1,000) - D(50))) / s,
                         where D(lag) is the mean of (P_q(t) - P_q(t - lag))^2

The mean over a window is the trapezoidal rule: the first and the last of its w rows count half.
And T(tol) is interpolated between the last row outside the tolerance and the next. Without both,
the measures would change by several percent with the interval between the rows.

The mean of w rows of pure jitter has the standard deviation J / sqrt(w), and the difference of two
such means sqrt(2) times that. So T(tol) is given only where tol is at least five times as much.
Beside it stands what T is for a surrogate, a unit that stays where it ends and only jitters. It
should be 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis.distributions import Values, middle, spread, width

WINDOW = 2000  # steps
TOLERANCES = (0.1, 0.2)  # of the final spread
LAG, SHORT_LAG = 1000, 50  # steps, of the excess shift
SIGNIFICANT = 5  # times the standard deviation of jitter that a tolerance must be

PerUnit = NDArray[np.float64]  # (S, U)


@dataclass(frozen=True)
class UnitMeasures:
    """The drift of each unit of some seeds, as (S, U); NaN where there is no such number.

    Attributes:
        end: the final values E_q (S, Q, U).
        settle: the settle step, by tolerance.
        surrogate: the settle step of a unit that stands still and jitters as much, by tolerance.
        jitter: in final spreads; the root mean square over the percentiles.
        end_width: E_85 - E_15.
        median_range: highest less lowest Pw_50, in final spreads.
        width_range: highest less lowest log(Pw_85 - Pw_15).
        shift: the excess shift, in final spreads.
        late_shift: the excess shift after the first fifth of the run.
    """

    end: NDArray[np.float64]
    settle: dict[float, PerUnit]
    surrogate: dict[float, PerUnit]
    jitter: PerUnit
    end_width: PerUnit
    median_range: PerUnit
    width_range: PerUnit
    shift: PerUnit
    late_shift: PerUnit

    def by_name(self) -> dict[str, PerUnit]:
        """Each but the final values, under its name in summary.json, such as `settle_0.1`."""
        named = {f"settle_{tolerance:g}": steps for tolerance, steps in self.settle.items()}
        named |= {f"surrogate_{tolerance:g}": steps for tolerance, steps in self.surrogate.items()}
        done = {"end", "settle", "surrogate"}
        return named | {name: values for name, values in vars(self).items() if name not in done}


def window_steps(steps: int) -> int:
    """How many steps the window of a run of so many steps spans."""
    return max(min(WINDOW, steps // 5), 1)


def windowed(steps: NDArray[np.int64], values: Values) -> NDArray[np.float64]:
    """Means over the window that begins at each row: (rows, ...) to (rows - w + 1, ...)."""
    every = _interval(steps)
    between = min(max(round(window_steps(int(steps[-1])) / every), 1), len(values) - 1)
    if between < 1:
        return values.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # a diverged unit
        middles = (values[1:].astype(np.float64) + values[:-1]) / 2
        total = np.cumsum(middles, axis=0)
        total[between:] -= total[:-between].copy()
    return np.asarray(total[between - 1 :] / between)


def _interval(steps: NDArray[np.int64]) -> int:
    """Between two rows."""
    return max(int(steps[1] - steps[0]), 1) if len(steps) > 1 else 1


def unit_measures(
    steps: NDArray[np.int64], values: Values, percentiles: Sequence[float]
) -> UnitMeasures:
    """The drift of every unit.

    Args:
        steps: (rows,), of which there is at least one.
        values: (rows, S, Q, U).
        percentiles: (Q,).
    """
    smooth = windowed(steps, values)
    end = smooth[-1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = spread(end, percentiles)
        late = values[-max(len(values) // 5, 2) :].astype(np.float64)
        moves = np.diff(late, axis=0) / np.sqrt(2)
        jitter = np.sqrt(np.square(moves).sum(axis=0).mean(axis=1) / len(moves)) / scale
        still = _surrogate(end, moves, len(values))
        w = len(values) - len(smooth) + 1
        hidden = SIGNIFICANT * np.sqrt(2 / w) * _median_of_finite(jitter)[:, None]
        median = smooth[:, :, middle(percentiles)]
        first_fifth = steps[-1] // 5
        return UnitMeasures(
            end,
            {
                t: np.where(hidden <= t, _settle(steps, smooth, scale, t), np.nan)
                for t in TOLERANCES
            },
            {t: _settle(steps, windowed(steps, still), scale, t) for t in TOLERANCES},
            jitter,
            width(end, percentiles),
            np.ptp(median, axis=0) / scale,
            np.ptp(np.log(width(smooth, percentiles)), axis=0),
            _excess_shift(steps, values, scale),
            _excess_shift(steps[steps >= first_fifth], values[steps >= first_fifth], scale),
        )


def _median_of_finite(values: PerUnit) -> NDArray[np.float64]:
    """For each seed the median over the units that did not diverge; NaN if all did."""
    finite = [row[np.isfinite(row)] for row in values]
    return np.array([np.median(row) if len(row) else np.nan for row in finite])


def _settle(steps: NDArray[np.int64], smooth: Values, scale: PerUnit, tolerance: float) -> PerUnit:
    """From when every windowed percentile stays within the tolerance of its end."""
    gaps = np.abs(smooth - smooth[-1]).max(axis=2)  # (rows, S, U)
    allowed = tolerance * scale
    outside = ~(gaps <= allowed)
    last = len(smooth) - 1 - np.argmax(outside[::-1], axis=0)  # the last row outside
    after = np.minimum(last + 1, len(smooth) - 1)
    before, inside = (np.take_along_axis(gaps, row[None], axis=0)[0] for row in (last, after))
    share = (before - allowed) / (before - inside)
    crossed = steps[last] + share * (steps[after] - steps[last])
    known = np.isfinite(scale) & np.isfinite(smooth[-1]).all(axis=1)
    return np.where(known, np.where(outside.any(axis=0), crossed, 0.0), np.nan)


def _surrogate(end: Values, moves: Values, rows: int) -> Values:
    """Curves (rows, S, Q, U) that stay at their end, with jitter drawn from the run's own.

    Each row has the jitter of one row of the run, of all seeds, percentiles and units together.
    """
    if not len(moves):
        return np.repeat(end[None], rows, axis=0)
    chosen = np.random.default_rng(0).integers(len(moves), size=rows)
    return np.asarray(end + moves[chosen])


def _excess_shift(steps: NDArray[np.int64], values: Values, scale: PerUnit) -> PerUnit:
    """The excess shift; NaN in a run shorter than the lag, or where rows are too far apart."""
    far, near = (_mean_square_move(steps, values, lag) for lag in (LAG, SHORT_LAG))
    if far is None or near is None or SHORT_LAG % _interval(steps):
        return np.full(scale.shape, np.nan)
    return np.asarray(np.sqrt(np.maximum(far - near, 0)) / scale)


def _mean_square_move(steps: NDArray[np.int64], values: Values, lag: int) -> PerUnit | None:
    """D(lag) of each unit, over rows and percentiles; None where no two rows are so far apart."""
    before = np.searchsorted(steps, steps - lag)
    now = np.flatnonzero(steps[before] == steps - lag)
    if not len(now):
        return None
    moved = values[now].astype(np.float64) - values[before[now]]
    return np.asarray(np.square(moved).mean(axis=(0, 2)))
