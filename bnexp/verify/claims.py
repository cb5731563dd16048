"""Checks 13 and 21 to 27: what the numbers of an experiment say of the paper's claims.

A claim about two networks is judged by the 95 % t-interval of the difference over seeds, paired by
seed. Where there is no interval, because there is one seed, the claim is not tested.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis import measures, summary
from bnexp.analysis.measures import Interval, interval
from bnexp.analysis.records import PercentileLog
from bnexp.analysis.results import ExperimentResults, VariantResults
from bnexp.verify.check import Check, Finding, check, found, not_tested, over_seeds
from bnexp.verify.gamma import HOMOGENEOUS

MOVED = 0.5  # final spreads: a median that ranges further has moved; the paper's plain unit's does
WIDENED = 1.5  # highest over lowest P_85 - P_15 that counts as a change of the variance
NEAR_ACCURACY, NEAR_PERCENTILE = 0.02, 0.5  # as near as what the paper leaves open allows
GAMMA_MARGIN = 0.005  # a difference in accuracy that counts as no effect of gamma
NO_PROBE = "no probe percentiles were recorded"
ONE_SEED = "one seed, and so no interval"

PerSeed = NDArray[np.floating]  # (seeds,); NaN where a seed has no such value


def differences(first: PerSeed, second: PerSeed) -> Interval | None:
    """The interval of first minus second, paired by seed; `None` where there is one seed."""
    return interval(first - second) if len(first) > 1 else None


@check(
    21,
    "section 4.1, Figure 1a",
    "fewer steps to 90, 95 and 97 % accuracy, where every seed of a network gets there",
)
def faster(norm: Mapping[str, PerSeed], plain: Mapping[str, PerSeed]) -> Finding:
    """BN trains faster, in steps to a test accuracy.

    A network that does not get to an accuracy with every seed counts as slower than one that does.
    Where neither network does, there is nothing to compare. Steps are multiples of the interval
    between evaluations, so they are known as "at most".
    """
    verdicts, texts = [], []
    for level in measures.ACCURACIES:
        ours, theirs = (found[f"steps_to_{100 * level:g}"] for found in (norm, plain))
        reached = [bool(np.isfinite(each).all()) for each in (ours, theirs)]
        if not any(reached):
            continue
        if all(reached):
            gap = differences(ours, theirs)
            if gap is None:
                return not_tested(ONE_SEED)
            verdicts.append(gap.high < 0)
        else:
            verdicts.append(reached[0])
        steps = [over_seeds(each, ",.0f") for each in (ours, theirs)]
        texts.append(f"{level:.0%}: {steps[0]} with BN, {steps[1]} without")
    if not verdicts:
        return not_tested("neither network gets to 90 % with every seed")
    return found(all(verdicts), "; ".join(texts))


@check(22, "section 4.1, Figure 1a", "difference above 0")
def higher(norm: PerSeed, plain: PerSeed) -> Finding:
    """BN ends higher, in test accuracy."""
    gap = differences(norm, plain)
    text = f"by {over_seeds(norm - plain, '+.4f')}"
    return not_tested(f"{text}; {ONE_SEED}") if gap is None else found(gap.low > 0, text)


@check(23, "section 4.1: `much more stable'", "above 0.5 at each tolerance")
def sooner(probabilities: Mapping[str, PerSeed]) -> Finding:
    """Units settle sooner with BN: the probability that a unit with BN settles before one without.

    For each seed it is the share of the pairs of a unit with BN and a unit without it in which the
    one with BN settles at an earlier step; equal steps count half.
    """
    if not probabilities:
        return not_tested(NO_PROBE)
    if any(len(p) == 1 for p in probabilities.values()):
        return not_tested(ONE_SEED)
    texts = (
        f"{key.removeprefix('settle_')}: {over_seeds(p, '.3f')}" for key, p in probabilities.items()
    )
    return found(all(interval(p).low > 0.5 for p in probabilities.values()), "; ".join(texts))


@check(
    24,
    "section 4.1",
    f"median over more than {MOVED} final spreads, width by a factor above {WIDENED}",
)
def changes(plain: Mapping[str, PerSeed]) -> Finding:
    """Without BN mean and variance change: the ranges of P_50 and of log(P_85 - P_15)."""
    if "median_range" not in plain:
        return not_tested(NO_PROBE)
    median, width = plain["median_range"], plain["width_range"]
    if len(median) == 1:
        return not_tested(ONE_SEED)
    return found(
        interval(median).low > MOVED and interval(width).low > np.log(WIDENED),
        f"median over {over_seeds(median, '.2f')} final spreads, "
        f"log width over {over_seeds(width, '.2f')}",
    )


@check(25, "Figure 1c", f"over less than {MOVED} final spreads, and less than without BN")
def flat(norm: Mapping[str, PerSeed], plain: Mapping[str, PerSeed]) -> Finding:
    """With BN medians stay flat: the range of P_50, alone and against that without BN."""
    if "median_range" not in norm or "median_range" not in plain:
        return not_tested(NO_PROBE)
    median, gap = norm["median_range"], norm["median_range"] - plain["median_range"]
    if len(median) == 1:
        return not_tested(ONE_SEED)
    return found(
        interval(median).high < MOVED and interval(gap).high < 0,
        f"over {over_seeds(median, '.2f')} final spreads; difference {over_seeds(gap, '+.2f')}",
    )


@check(26, "Figure 1c: from 2.5 to 3.9", "last width minus first above 0")
def wider(probe: PercentileLog | None) -> Finding:
    """With BN widths P_85 - P_15 still grow: the last minus the first, of the median unit."""
    if probe is None:
        return not_tested(NO_PROBE)
    units = measures.columns(probe.layer, int(probe.layer[-1]))
    ends = [probe.values[row][..., units] for row in (0, -1)]
    first, last = (np.median(measures.width(end, probe.percentiles), axis=1) for end in ends)
    if len(first) == 1:
        return not_tested(ONE_SEED)
    growth = f"{first.mean():.2f} to {last.mean():.2f}: {over_seeds(last - first, '+.2f')}"
    return found(interval(last - first).low > 0, growth)


@check(
    27,
    "Figure 1",
    f"accuracy within {NEAR_ACCURACY}, percentiles within {NEAR_PERCENTILE}",
)
def near_paper(accuracy: float, ends: NDArray[np.floating] | None) -> Finding:
    """Curves are near the paper's: mean accuracy from step 7,000, typical unit's last P_q.

    The accuracy is compared at the points of the paper's curve, the percentiles 15, 50 and 85 at
    its end.
    """
    text = f"accuracy to {accuracy:.4f}"
    if ends is None:
        return not_tested(f"{text}; percentiles 15, 50 and 85 were not recorded")
    return found(
        accuracy <= NEAR_ACCURACY and max(ends) <= NEAR_PERCENTILE,
        f"{text}, percentiles to {', '.join(f'{end:.2f}' for end in ends)}",
    )


@check(
    13,
    "Keras, BatchNormalization(scale=False), calls gamma redundant",
    f"another training; then relu, leaky_relu, identity: accuracy within {GAMMA_MARGIN}; "
    "sigmoid, tanh: higher training loss without gamma",
)
def gamma(with_gamma: VariantResults, without: VariantResults) -> Finding:
    """Without gamma training takes other steps; it suffers only where gamma does not fold.

    Where gamma folds into the next weights, the two networks reach the same functions, so the
    difference in accuracy should be small: its interval lies within the margin. Where it does not
    fold, a network without gamma reaches fewer functions, and its training loss should be higher.
    The claim fails where the interval lies on the other side, and it is not tested where the
    interval reaches over both sides.
    """
    full, bare = with_gamma.metrics, without.metrics
    loss, accuracy = (
        getattr(bare, name)[-1] - getattr(full, name)[-1]
        for name in ("train_loss", "test_accuracy")
    )
    text = f"training loss {over_seeds(loss, '+.4f')}, accuracy {over_seeds(accuracy, '+.4f')}"
    if (loss == 0).all():
        return found(holds=False, measured=f"{text}: the same training, so gamma was not there")
    if len(loss) == 1:
        return not_tested(f"{text}; {ONE_SEED}")
    if with_gamma.settings["model.activation"] in HOMOGENEOUS:
        over = interval(accuracy)
        holds = max(-over.low, over.high) < GAMMA_MARGIN
        fails = max(over.low, -over.high) > GAMMA_MARGIN
    else:
        over = interval(loss)
        holds, fails = over.low > 0, over.high < 0
    return found(holds, text) if holds or fails else not_tested(f"{text}: too few seeds to decide")


def _per_seed(measures: Mapping[str, Mapping[str, Sequence[float | None]]]) -> dict[str, PerSeed]:
    """The values per seed of each measure of a summary; NaN for what a seed does not have."""
    return {name: np.array(found["per_seed"], np.float64) for name, found in measures.items()}


def checks(experiment: ExperimentResults) -> Iterator[Check]:
    """The claims for each network with BN and its plain counterpart, and for gamma on and off."""
    content = summary.summarize(experiment)
    for pair in content["comparisons"]:
        first, second = pair["norm"], pair["plain"]
        norm, plain = (_per_seed(content["variants"][name]["measures"]) for name in (first, second))
        about = f"{first}, {second}"
        yield faster(norm, plain).about(about)
        yield higher(norm["test_accuracy"], plain["test_accuracy"]).about(about)
        yield sooner(_per_seed(pair["sooner"])).about(about)
        yield changes(plain).about(about)
        yield flat(norm, plain).about(about)
        yield wider(experiment.variants[first].probe).about(about)
    for name, distance in content["paper"].items():
        yield near_paper(distance["accuracy"], distance["end_percentiles"]).about(name)
    for full, bare in itertools.permutations(experiment.variants.values(), 2):
        settings = full.settings, bare.settings
        if summary.varied(settings) == ["model.gamma"] and settings[0]["model.gamma"]:
            yield gamma(full, bare).about(f"{full.name}, {bare.name}")
