"""Checks 23 to 26, 28 and 29: what the percentiles of an experiment say of the paper's claims."""

from collections.abc import Mapping

import numpy as np

from bnexp.analysis.distributions import width
from bnexp.analysis.formatting import number
from bnexp.analysis.measuring import last_layer
from bnexp.analysis.numbers import Measures
from bnexp.analysis.records import PercentileLog
from bnexp.analysis.statistics import OverSeeds, direction, is_equivalent, over_seeds
from bnexp.verify.check import Finding, above, below, check, decided, not_tested

MOVED = 0.5  # final spreads: a median that ranges further has moved; the plain networks' do
WIDENED = 1.5  # highest over lowest P_85 - P_15 that counts as a change of the variance
ALIKE = 0.1  # of the width without BN: ends that are shown to differ by less are one point
EXPLAINED = 0.8  # share of a percentile's movement that counts as being due to gamma and beta
NO_PROBE = "no probe percentiles were recorded"
NOT_LEARNED = "a network did not learn with every seed, so its drift is not known"


@check(23, 'section 4.1, "much more stable"', "above 0.5 at each tolerance")
def sooner(probabilities: Mapping[str, OverSeeds]) -> Finding:
    """Units settle sooner with BN: the probability that a unit with BN settles before one without.

    For each seed it is the share of the pairs of a unit with BN and a unit without it in which the
    one with BN settles at an earlier step; equal steps count half. A tolerance that the jitter of
    one of the networks hides is left out.
    """
    if not probabilities:
        return not_tested(NO_PROBE)
    known = {name: each for name, each in probabilities.items() if not np.isnan(each.mean)}
    if not known:
        return not_tested("the jitter of a step hides every tolerance, or a network did not learn")
    texts = (f"{name.removeprefix('settle_')}: {p.range_text('.3f')}" for name, p in known.items())
    seeds = min(len(each.per_seed) for each in known.values())
    return decided("; ".join(texts), seeds, *(above(p, 0.5) for p in known.values()))


@check(
    24,
    "section 4.1",
    f"median over more than {MOVED} final spreads, width by a factor above {WIDENED}",
)
def changes(plain: Measures) -> Finding:
    """Without BN mean and variance change: the ranges of P_50 and of log(P_85 - P_15).

    Both are ranges of means over 2,000 steps, or over a fifth of a run of less than 10,000, so that
    the jitter of single steps is no part of them.
    """
    if "median_range" not in plain:
        return not_tested(NO_PROBE)
    median, log_width = over_seeds(plain["median_range"]), over_seeds(plain["width_range"])
    if np.isnan(median.mean):
        return not_tested(NOT_LEARNED)
    return decided(
        f"median over {median.text('.2f')} final spreads, log width over {log_width.text('.2f')}",
        len(median.per_seed),
        above(median, MOVED),
        above(log_width, float(np.log(WIDENED))),
    )


@check(25, "Figure 1c", f"over less than {MOVED} final spreads, and less than without BN")
def flat(norm: Measures, plain: Measures) -> Finding:
    """With BN medians stay flat: the range of P_50, alone and against that without BN."""
    if "median_range" not in norm or "median_range" not in plain:
        return not_tested(NO_PROBE)
    median = over_seeds(norm["median_range"])
    gap = over_seeds(norm["median_range"] - plain["median_range"])
    if np.isnan(gap.mean):
        return not_tested(NOT_LEARNED)
    return decided(
        f"over {median.text('.2f')} final spreads; difference {gap.text('+.2f')}",
        len(median.per_seed),
        below(median, MOVED),
        below(gap, 0),
    )


@check(26, "Figure 1c: from 2.5 to 3.9", "last width minus first above 0")
def wider(probe: PercentileLog | None) -> Finding:
    """With BN widths P_85 - P_15 still grow: the last minus the first, of the median unit."""
    if probe is None:
        return not_tested(NO_PROBE)
    units = last_layer(probe)[1]
    rows = [probe.values[row][..., units] for row in (0, -1)]
    first, last = (np.median(width(row, probe.percentiles), axis=1) for row in rows)
    growth = over_seeds(last - first)
    ends = (number(float(each.mean()), ".2f") for each in (first, last))
    text = f"{' to '.join(ends)}: {growth.text('+.2f')}"
    return decided(text, len(first), above(growth, 0))


@check(
    28,
    "section 3: normalization controls mean and variance by gamma and beta",
    f"more than {EXPLAINED:.0%} of the movement of P_15 and of P_85",
)
def concentrated(norm: Measures) -> Finding:
    """With BN mean and spread move by gamma and beta alone; the median, by a change of shape.

    If a unit kept the shape of its distribution, P_q(t) would be beta(t) + z_q gamma(t), with
    z_q = 1.036 for P_85. The share that this explains is 1 - Var_t(P_q - beta - z_q gamma) /
    Var_t(P_q), of the median unit. The mean is beta exactly, so what the median P_50 does beside
    beta is skew.
    """
    names = ("explained_15", "explained_50", "explained_85")
    if not set(names) <= set(norm):
        return not_tested("gamma, beta and percentiles 15, 50 and 85 were not all recorded")
    low, middle, high = (over_seeds(norm[name]) for name in names)
    text = ", ".join(
        f"P_{name.removeprefix('explained_')} {over.text('.3f')}"
        for name, over in zip(names, (low, middle, high), strict=True)
    )
    return decided(text, len(low.per_seed), above(low, EXPLAINED), above(high, EXPLAINED))


@check(
    29,
    "against: both networks converge to a similar point",
    "a difference between the widths at the end, late shifts above 0",
)
def different_ends(norm: Measures, plain: Measures) -> Finding:
    """The two networks do not come to the same end: P_85 - P_15 differs, and both still move.

    The widths are those of the median unit, over the last 2,000 steps, or the last fifth of a run
    of less than 10,000. They differ where the interval of their difference excludes 0. They are one
    where two one-sided t-tests show that it is less than a tenth of the width without BN, and then
    the claim fails. The excess shift after the first fifth of the run says how far a unit still
    moves in 1,000 steps, jitter removed. It is never negative, and 0 where jitter is all there is,
    so both must be above 0.
    """
    if "end_width" not in norm or "end_width" not in plain:
        return not_tested(NO_PROBE)
    gaps = norm["end_width"] - plain["end_width"]
    ends = [over_seeds(each["end_width"]) for each in (norm, plain)]
    shifts = [over_seeds(each["late_shift"]) for each in (norm, plain)]
    text = (
        f"width {ends[0].text('.2f')} with BN, {ends[1].text('.2f')} without; late shift "
        f"{shifts[0].text('.3f')} and {shifts[1].text('.3f')} final spreads in 1,000 steps"
    )
    if is_equivalent(gaps, ALIKE * ends[1].mean):
        differ: bool | None = False
    else:
        differ = direction(over_seeds(gaps)) is not None or None
    moves = [above(shift, 0) for shift in shifts]
    if False not in [differ, *moves] and any(np.isnan(shift.mean) for shift in shifts):
        return not_tested(f"{text}: whether each seed still moves is not known")
    return decided(text, len(gaps), differ, *moves)
