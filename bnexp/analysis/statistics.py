"""Numbers over seeds: intervals, differences, equivalence, and several tests at once.

The seeds are the replicates. Two variants with the same seed begin with the same weights and see
the same minibatches, so their difference is taken seed by seed and judged by its own t-interval.

- *Different*: the 95 % t-interval of the difference excludes 0.
- *Equivalent within M*: the 90 % t-interval lies within -M .. M. This is TOST, two one-sided
  t-tests at 5 % each (Schuirmann 1987). "No difference was seen" says much less: it also holds
  where there are too few seeds to see one.
- *Undecided*: neither. With d the mean and sd the standard deviation of the differences, n seeds
  would be expected to decide it if t(0.95) sd / sqrt(n) < M - |d|, or t(0.975) sd / sqrt(n) < |d|.

Several tests at once find differences by chance. Holm's correction (1979) sorts the m p-values and
multiplies the smallest by m, the next by m - 1, and so on, each at least its predecessor.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis.formatting import number, short

PerSeed = NDArray[np.floating]  # (seeds,); NaN for a seed that has no such value
LEVEL = 0.05  # of every test
MOST_SEEDS = 1000  # that a text advises


@dataclass(frozen=True)
class OverSeeds:
    """A number of each seed, their mean, and the ends of its 95 % t-interval.

    The ends are NaN for a single seed, and all three are where a seed has no finite value.
    """

    mean: float
    low: float
    high: float
    per_seed: tuple[float, ...]

    def interval(self, form: str) -> str:
        """The ends of its interval, such as `[+0.0085, +0.0110]`; nothing where there is none."""
        known = not np.isnan(self.low)
        return f"[{number(self.low, form)}, {number(self.high, form)}]" if known else ""

    def range_text(self, form: str) -> str:
        """The mean and the ends of its interval, such as `0.99 [0.97, 1.00]`."""
        if np.isnan(self.mean) or np.isnan(self.low):
            return self.text(form)
        mean, low, high = (short(x, form) for x in (self.mean, self.low, self.high))
        return f"{mean} [{low}, {high}]"

    def text(self, form: str) -> str:
        """The mean and half of its interval, such as `+0.21 ±0.01`, or in words why not."""
        if np.isnan(self.mean):
            some = np.isfinite(self.per_seed).any()
            if form.endswith(".0f"):  # a step, which is reached or not
                return "not by every seed" if some else "by no seed"
            return "not of every seed" if some else "-"
        half = self.high - self.mean
        known = "" if np.isnan(half) else f" ±{short(half, form.lstrip('+'))}"
        return short(self.mean, form) + known


def probability_over_seeds(values: PerSeed) -> OverSeeds:
    """The same for probabilities: an interval that leaves 0 .. 1 is cut off there."""
    over = over_seeds(values)
    return replace(over, low=max(over.low, 0.0), high=min(over.high, 1.0))


def over_seeds(values: PerSeed) -> OverSeeds:
    """Mean of values (seeds,), one or more, with its 95 % t-interval."""
    return OverSeeds(*_t_interval(values, 1 - LEVEL / 2), tuple(map(float, values)))


def _t_interval(values: PerSeed, quantile: float) -> tuple[float, float, float]:
    """Mean of values (seeds,) and the ends of the interval up to this quantile of Student's t."""
    if not len(values) or not np.isfinite(values).all():
        return float("nan"), float("nan"), float("nan")
    n, mean = len(values), float(np.mean(values, dtype=np.float64))
    if n == 1:
        return mean, float("nan"), float("nan")
    half = _t_quantile(n, quantile) * float(np.std(values, ddof=1, dtype=np.float64)) / n**0.5
    return mean, mean - half, mean + half


@lru_cache(maxsize=4096)  # many measures have the same few numbers of seeds
def _t_quantile(n: int, quantile: float) -> float:
    """Of Student's t with n - 1 degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, quantile))


def p_value(values: PerSeed) -> float:
    """Of the two-sided t-test of mean 0; NaN without two seeds or where a value is not finite."""
    if len(values) < 2 or not np.isfinite(values).all():
        return float("nan")
    from scipy.special import stdtr

    mean, sd = np.mean(values, dtype=np.float64), np.std(values, ddof=1, dtype=np.float64)
    if sd == 0:
        return float(mean == 0)
    n = len(values)
    return float(2 * stdtr(n - 1, -abs(mean) / sd * n**0.5))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for how many they are; NaN stays NaN and does not count."""
    known = sorted((p, i) for i, p in enumerate(p_values) if not np.isnan(p))
    scaled = (p * (len(known) - place) for place, (p, _) in enumerate(known))
    corrected = [float("nan")] * len(p_values)
    for (_, i), p in zip(known, accumulate(scaled, max), strict=True):
        corrected[i] = min(p, 1.0)
    return corrected


def is_equivalent(gaps: PerSeed, margin: float) -> bool:
    """Whether two one-sided t-tests show that the mean lies within -margin .. margin."""
    _, low, high = _t_interval(gaps, 1 - LEVEL)
    return -margin < low and high < margin


def seeds_to_decide(gaps: PerSeed, margin: float) -> int | None:
    """How many seeds are expected to show a difference or equivalence; None above `MOST_SEEDS`.

    Args:
        gaps: differences (seeds,) of two or more seeds; their mean and standard deviation are taken
            as true.
        margin: of the equivalence.
    """
    mean, sd = abs(float(np.mean(gaps))), float(np.std(gaps, ddof=1))
    for n in range(2, MOST_SEEDS + 1):
        equivalent = _t_quantile(n, 1 - LEVEL) * sd / n**0.5 < margin - mean
        different = _t_quantile(n, 1 - LEVEL / 2) * sd / n**0.5 < mean
        if equivalent or different:
            return n
    return None


def direction(over: OverSeeds) -> str | None:
    """`higher` or `lower` where the 95 % interval excludes 0; else None."""
    if over.low > 0:
        return "higher"
    return "lower" if over.high < 0 else None


def unknown(over: OverSeeds) -> str | None:
    """In words, why nothing can be said of a difference; None where something can."""
    if np.isnan(over.mean):
        return "not reached by every seed"
    return "one seed: no interval" if np.isnan(over.low) else None


def primary_verdict(gaps: PerSeed, margin: float) -> str:
    """What the differences of the primary measure show."""
    over = over_seeds(gaps)
    if (reason := unknown(over)) is not None:
        return reason
    towards = direction(over)
    if is_equivalent(gaps, margin):
        return f"equivalent within {margin:g}" + (f", though {towards}" if towards else "")
    if towards:
        return towards
    enough = seeds_to_decide(gaps, margin)
    if enough is None:
        return f"undecided; more than {MOST_SEEDS:,} seeds would decide"
    return f"undecided; about {max(enough, len(gaps) + 1)} seeds would decide"


def exploratory_verdict(over: OverSeeds, corrected: float) -> str:
    """What the differences of another measure show, given Holm's corrected p-value."""
    if (reason := unknown(over)) is not None:
        return reason
    if corrected < LEVEL:
        return "higher" if over.mean > 0 else "lower"
    return "no difference shown"


def superiority(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """The probability of superiority: that a random unit of one network settles before another's.

    It is the share of the pairs of units, one of each network, in which the first network's settles
    earlier; equal steps count half. This is the Mann-Whitney statistic over the number of pairs.

    Args:
        first: settle steps (S, U) of one network.
        second: (S, V) of the other.

    Returns:
        (S,): the probability for each seed; NaN where a step is.
    """
    gap = second[:, None, :] - first[:, :, None]
    return np.asarray((0.5 + 0.5 * np.sign(gap)).mean(axis=(1, 2)))


def steps_to(
    steps: NDArray[np.int64], accuracy: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """When a test accuracy is first reached, and from when it stays.

    Both are evaluated steps, so the accuracy was reached at most so late.

    Args:
        steps: (rows,).
        accuracy: (rows, S).
        threshold: the accuracy.

    Returns:
        Two arrays (S,): the first evaluation at or above the threshold, and the first from which
        all are. NaN where there is none.
    """
    reached = accuracy >= threshold
    stays = np.logical_and.accumulate(reached[::-1], axis=0)[::-1]
    first, first_that_stays = (
        np.where(there.any(axis=0), steps[np.argmax(there, axis=0)], np.nan)
        for there in (reached, stays)
    )
    return first, first_that_stays
