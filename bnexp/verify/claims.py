"""Checks 13 and 21 to 29: what the numbers of an experiment say of the paper's claims.

A claim about two networks is judged by the 95 % t-interval of the difference over seeds, paired by
seed. It holds where the interval lies on the claimed side, and fails where it lies on the other. It
is not tested where the interval reaches over both, or where there is one seed and so no interval.
"""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from bnexp.analysis.distributions import width
from bnexp.analysis.measuring import ACCURACIES, last_layer, measure
from bnexp.analysis.numbers import PRIMARY, Measures, VariantNumbers, differing, paired
from bnexp.analysis.paper import PaperDistance
from bnexp.analysis.records import PercentileLog
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.statistics import OverSeeds, over_seeds
from bnexp.verify.check import Check, Finding, check, found, not_tested
from bnexp.verify.gamma import HOMOGENEOUS

MOVED = 0.5  # final spreads: a median that ranges further has moved; the plain networks' do
WIDENED = 1.5  # highest over lowest P_85 - P_15 that counts as a change of the variance
NEAR_ACCURACY, NEAR_PERCENTILE = 0.02, 0.5  # as near as what the paper leaves open allows
GAMMA_MARGIN = 0.005  # a difference in accuracy that counts as no effect of gamma
EXPLAINED = 0.8  # share of a percentile's movement that counts as being due to gamma and beta
NO_PROBE = "no probe percentiles were recorded"
ONE_SEED = "one seed, and so no interval"


def above(over: OverSeeds, threshold: float) -> bool | None:
    """Whether a number is above a threshold; `None` where its interval reaches over both sides."""
    if over.low > threshold:
        return True
    return False if over.high <= threshold else None


def below(over: OverSeeds, threshold: float) -> bool | None:
    """Whether it is below; `None` where its interval reaches over both sides."""
    if over.high < threshold:
        return True
    return False if over.low >= threshold else None


def decided(text: str, *answers: bool | None) -> Finding:
    """The finding of a claim that holds if all answers are yes, and fails if one is no."""
    if False in answers:
        return found(holds=False, measured=text)
    if None in answers:
        return not_tested(f"{text}: too few seeds to decide")
    return found(holds=True, measured=text)


@check(
    21,
    "section 4.1, Figure 1a",
    "fewer steps to 90, 95 and 97 % accuracy, where every seed of a network gets there",
)
def faster(norm: Measures, plain: Measures) -> Finding:
    """BN trains faster, in steps to a test accuracy.

    A network that does not get to an accuracy with every seed counts as slower than one that does.
    Where neither network does, there is nothing to compare. Steps are multiples of the interval
    between evaluations, so they are known as "at most".
    """
    verdicts, texts = [], []
    for level in ACCURACIES:
        ours, theirs = (found[f"steps_to_{100 * level:g}"] for found in (norm, plain))
        reached = [bool(np.isfinite(each).all()) for each in (ours, theirs)]
        if not any(reached):
            continue
        if all(reached):
            gap = over_seeds(ours - theirs)
            if len(ours) == 1:
                return not_tested(ONE_SEED)
            verdicts.append(gap.high < 0)
        else:
            verdicts.append(reached[0])
        steps = [over_seeds(each).text(",.0f") for each in (ours, theirs)]
        texts.append(f"{level:.0%}: at most {steps[0]} with BN, {steps[1]} without")
    if not verdicts:
        return not_tested("neither network gets to 90 % with every seed")
    return found(all(verdicts), "; ".join(texts))


@check(22, "section 4.1, Figure 1a", "difference above 0")
def higher(norm: Measures, plain: Measures) -> Finding:
    """BN ends higher, in test accuracy: the mean over the evaluations of the last 2,000 steps."""
    gap = over_seeds(norm[PRIMARY] - plain[PRIMARY])
    text = f"by {gap.text('+.4f')}"
    if len(gap.per_seed) == 1:
        return not_tested(f"{text}; {ONE_SEED}")
    return decided(text, above(gap, 0))


@check(23, "section 4.1: `much more stable'", "above 0.5 at each tolerance")
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
    if any(len(each.per_seed) == 1 for each in known.values()):
        return not_tested(ONE_SEED)
    texts = (f"{name.removeprefix('settle_')}: {p.range_text('.3f')}" for name, p in known.items())
    return decided("; ".join(texts), *(above(p, 0.5) for p in known.values()))


@check(
    24,
    "section 4.1",
    f"median over more than {MOVED} final spreads, width by a factor above {WIDENED}",
)
def changes(plain: Measures) -> Finding:
    """Without BN mean and variance change: the ranges of P_50 and of log(P_85 - P_15).

    Both are ranges of means over 2,000 steps, so that the jitter of single steps is no part of
    them.
    """
    if "median_range" not in plain:
        return not_tested(NO_PROBE)
    median, log_width = over_seeds(plain["median_range"]), over_seeds(plain["width_range"])
    if len(median.per_seed) == 1:
        return not_tested(ONE_SEED)
    return decided(
        f"median over {median.text('.2f')} final spreads, log width over {log_width.text('.2f')}",
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
    if len(median.per_seed) == 1:
        return not_tested(ONE_SEED)
    return decided(
        f"over {median.text('.2f')} final spreads; difference {gap.text('+.2f')}",
        below(median, MOVED),
        below(gap, 0),
    )


@check(26, "Figure 1c: from 2.5 to 3.9", "last width minus first above 0")
def wider(probe: PercentileLog | None) -> Finding:
    """With BN widths P_85 - P_15 still grow: the last minus the first, of the median unit."""
    if probe is None:
        return not_tested(NO_PROBE)
    units = last_layer(probe)[1]
    ends = [probe.values[row][..., units] for row in (0, -1)]
    first, last = (np.median(width(end, probe.percentiles), axis=1) for end in ends)
    if len(first) == 1:
        return not_tested(ONE_SEED)
    growth = over_seeds(last - first)
    text = f"{first.mean():.2f} to {last.mean():.2f}: {growth.text('+.2f')}"
    return decided(text, above(growth, 0))


@check(
    27,
    "Figure 1",
    f"accuracy within {NEAR_ACCURACY}, percentiles within {NEAR_PERCENTILE}",
)
def near_paper(distance: PaperDistance) -> Finding:
    """Curves are near the paper's: mean accuracy from step 7,000, typical unit's last P_q.

    The accuracy is compared at the points of the paper's curve, the percentiles 15, 50 and 85 at
    its end.
    """
    text, ends = f"accuracy to {distance.accuracy:.4f}", distance.end_percentiles
    if ends is None:
        return not_tested(f"{text}; percentiles 15, 50 and 85 were not recorded")
    return found(
        distance.accuracy <= NEAR_ACCURACY and max(ends) <= NEAR_PERCENTILE,
        f"{text}, percentiles to {', '.join(f'{end:.2f}' for end in ends)}",
    )


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
    if len(low.per_seed) == 1:
        return not_tested(f"{text}; {ONE_SEED}")
    return decided(text, above(low, EXPLAINED), above(high, EXPLAINED))


@check(
    29,
    "against: both networks converge to a similar point",
    "a difference between the widths at the end",
)
def different_ends(norm: Measures, plain: Measures) -> Finding:
    """The two networks do not come to the same end: P_85 - P_15 differs, and both still move.

    The widths are those of the median unit, over the last 2,000 steps. The excess shift after the
    first fifth of the run says how far a unit still moves in 1,000 steps, jitter removed.
    """
    if "end_width" not in norm or "end_width" not in plain:
        return not_tested(NO_PROBE)
    gap = over_seeds(norm["end_width"] - plain["end_width"])
    ends = [over_seeds(each["end_width"]).text(".2f") for each in (norm, plain)]
    shifts = [over_seeds(each["late_shift"]).text(".3f") for each in (norm, plain)]
    text = (
        f"width {ends[0]} with BN, {ends[1]} without; late shift {shifts[0]} and {shifts[1]} "
        "final spreads in 1,000 steps"
    )
    if len(gap.per_seed) == 1:
        return not_tested(f"{text}; {ONE_SEED}")
    return found(gap.low > 0 or gap.high < 0, text)


@check(
    13,
    "Keras, BatchNormalization(scale=False), calls gamma redundant",
    f"another training; then relu, leaky_relu, identity: accuracy within {GAMMA_MARGIN}; "
    "sigmoid, tanh: higher training loss without gamma",
)
def gamma(with_gamma: VariantNumbers, without: VariantNumbers) -> Finding:
    """Without gamma training takes other steps; it suffers only where gamma does not fold.

    Where gamma folds into the next weights, the two networks reach the same functions, so the
    difference in accuracy should be small: its interval lies within the margin. Where it does not
    fold, a network without gamma reaches fewer functions, and its training loss should be higher.
    The claim fails where the interval lies on the other side, and it is not tested where the
    interval reaches over both sides.
    """
    bare, full = paired(without, with_gamma)
    loss = over_seeds(bare["train_loss"] - full["train_loss"])
    accuracy = over_seeds(bare[PRIMARY] - full[PRIMARY])
    text = f"training loss {loss.text('+.4f')}, accuracy {accuracy.text('+.4f')}"
    if not any(loss.per_seed):
        return found(holds=False, measured=f"{text}: the same training, so gamma was not there")
    if len(loss.per_seed) == 1:
        return not_tested(f"{text}; {ONE_SEED}")
    if with_gamma.settings["model.activation"] in HOMOGENEOUS:
        holds = max(-accuracy.low, accuracy.high) < GAMMA_MARGIN
        fails = max(accuracy.low, -accuracy.high) > GAMMA_MARGIN
    else:
        holds, fails = loss.low > 0, loss.high < 0
    return found(holds, text) if holds or fails else not_tested(f"{text}: too few seeds to decide")


def checks(experiment: ExperimentResults) -> Iterator[Check]:
    """The claims for each network with BN and its plain counterpart, and for gamma on and off."""
    numbers = measure(experiment)
    for pair in numbers.pairs:
        if numbers.variants[pair.norm].settings["model.norm"] != "batch":
            continue  # the paper claims nothing of other norms
        norm, plain = paired(numbers.variants[pair.norm], numbers.variants[pair.plain])
        about = f"{pair.norm}, {pair.plain}"
        yield faster(norm, plain).about(about)
        yield higher(norm, plain).about(about)
        yield sooner(pair.sooner).about(about)
        yield changes(plain).about(about)
        yield flat(norm, plain).about(about)
        yield wider(experiment.variants[pair.norm].probe).about(about)
        yield concentrated(norm).about(about)
        yield different_ends(norm, plain).about(about)
    for name, distance in numbers.paper.items():
        yield near_paper(distance).about(name)
    done = [each for name, each in numbers.variants.items() if name in experiment.variants]
    names = list(experiment.variants)
    for full, bare in itertools.permutations(zip(names, done, strict=True), 2):
        settings = full[1].settings, bare[1].settings
        if differing(settings) == ["model.gamma"] and settings[0]["model.gamma"]:
            yield gamma(full[1], bare[1]).about(f"{full[0]}, {bare[0]}")
