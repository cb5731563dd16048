"""Checks 21, 22, 27 and 33: what accuracy and loss say of the paper's claims; all of them together.

Two networks are compared by the difference over seeds, paired by seed; see `check`.
"""

import itertools
from collections.abc import Iterator
from typing import Literal

import numpy as np

from bnexp.analysis.measuring import ACCURACIES
from bnexp.analysis.numbers import (
    PRIMARY,
    ExperimentNumbers,
    Measures,
    Pair,
    PaperDistance,
    VariantNumbers,
    differing,
    paired,
)
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.statistics import over_seeds
from bnexp.verify import claims_of_percentiles as percentiles
from bnexp.verify.check import (
    ONE_SEED,
    Check,
    Finding,
    above,
    check,
    decided,
    found,
    not_tested,
)

Homogeneous = Literal["relu", "leaky_relu", "identity"]
NEAR_ACCURACY, NEAR_PERCENTILE = 0.02, 0.5  # as near as what the paper leaves open allows
# The activations with act(c x) = c act(x) for every c > 0.
HOMOGENEOUS: tuple[Homogeneous, ...] = ("relu", "leaky_relu", "identity")
GAMMA_MARGIN = 0.005  # a difference in accuracy that counts as no effect of gamma


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
    """BN ends higher, in test accuracy: the mean over the evaluations at the end of the run.

    The end is the last 2,000 steps, or the last fifth of a run of less than 10,000.
    """
    gap = over_seeds(norm[PRIMARY] - plain[PRIMARY])
    return decided(f"by {gap.text('+.4f')}", len(gap.per_seed), above(gap, 0))


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
    33,
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
    if with_gamma.settings["model.activation"] in HOMOGENEOUS:
        holds = max(-accuracy.low, accuracy.high) < GAMMA_MARGIN
        fails = max(accuracy.low, -accuracy.high) > GAMMA_MARGIN
    else:
        holds, fails = loss.low > 0, loss.high < 0
    return decided(text, len(loss.per_seed), holds if holds or fails else None)


def checks(numbers: ExperimentNumbers, results: ExperimentResults | None) -> Iterator[Check]:
    """The claims for each network with BN and its plain counterpart, and for gamma on and off.

    Args:
        numbers: of an experiment; variants that are not finished are left out.
        results: its logs; `None` where they are gone, and the claims that need them are left out.
    """
    # A model that `bnexp.record` watched may lack a setting or a measure, and its user may have
    # stated less than what differs. Only bnexp's own networks have hidden layers by number.
    own = {name: each for name, each in numbers.variants.items() if "model.hidden" in each.settings}
    for pair in numbers.pairs:
        if not {pair.norm, pair.plain} <= own.keys():
            continue
        if own[pair.norm].settings["model.norm"] != "batch":
            continue  # the paper claims nothing of other norms
        for each in _of_pair(pair, numbers, results):
            yield each.about(f"{pair.norm}, {pair.plain}")
    for name, distance in numbers.paper.items():
        yield near_paper(distance).about(name)
    done = {name: each for name, each in own.items() if each.state == "done"}
    for (with_name, full), (without_name, bare) in itertools.permutations(done.items(), 2):
        settings = full.settings, bare.settings
        if differing(settings) == ["model.gamma"] and settings[0]["model.gamma"]:
            yield gamma(full, bare).about(f"{with_name}, {without_name}")


def _of_pair(
    pair: Pair, numbers: ExperimentNumbers, results: ExperimentResults | None
) -> Iterator[Check]:
    """The claims for a network with BN and its plain counterpart."""
    norm, plain = paired(numbers.variants[pair.norm], numbers.variants[pair.plain])
    yield faster(norm, plain)
    yield higher(norm, plain)
    yield percentiles.sooner(pair.sooner)
    yield percentiles.changes(plain)
    yield percentiles.flat(norm, plain)
    if results is not None:
        yield percentiles.wider(results.variants[pair.norm].probe)
    yield percentiles.concentrated(norm)
    yield percentiles.different_ends(norm, plain)
