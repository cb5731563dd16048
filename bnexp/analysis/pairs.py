"""What is measured of two variants together: who settles sooner, and whether two are the same."""

import itertools
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from bnexp.analysis.drift import UnitMeasures
from bnexp.analysis.numbers import BiasGap, Pair, unequal
from bnexp.analysis.statistics import OverSeeds, over_seeds, probability_over_seeds, superiority
from bnexp.analysis.variants import VariantResults
from bnexp.config import Value


def settling(
    variants: Collection[VariantResults], units: Mapping[str, UnitMeasures | None]
) -> Iterator[Pair]:
    """Who settles sooner, for each normalized network and its plain counterpart.

    Args:
        variants: those that are done.
        units: the drift of their units, by name.
    """
    for norm, plain in itertools.permutations(variants, 2):
        if _counterparts(norm.settings, plain.settings):
            yield _pair(norm, plain, units)


def _counterparts(norm: Mapping[str, Value], plain: Mapping[str, Value]) -> bool:
    """Whether these are a normalized network and a plain one that differ in nothing else."""
    if norm.get("model.norm", "none") == "none" or plain.get("model.norm") != "none":
        return False
    same = {"model.hidden", "model.activation", "model.weight_std"}
    return not any(key in same or not key.startswith("model.") for key in unequal(norm, plain))


def _pair(
    norm: VariantResults, plain: VariantResults, units: Mapping[str, UnitMeasures | None]
) -> Pair:
    """What is measured of both together, over the seeds that both have."""
    sooner, ratio = dict[str, OverSeeds](), dict[str, OverSeeds]()
    first, second = units[norm.name], units[plain.name]
    common = [seed for seed in norm.seeds if seed in plain.seeds]
    if first is not None and second is not None and common:
        mine, theirs = ([each.seeds.index(seed) for seed in common] for each in (norm, plain))
        for tolerance, steps in first.settle.items():
            a, b = steps[mine], second.settle[tolerance][theirs]
            name = f"settle_{tolerance:g}"
            sooner[name] = probability_over_seeds(superiority(a, b))
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio[name] = over_seeds(np.median(b, axis=1) / np.median(a, axis=1))
    return Pair(norm.name, plain.name, sooner, ratio)


def bias_gaps(variants: Collection[VariantResults]) -> Iterator[BiasGap]:
    """The largest gap between the percentiles of networks that should be equal.

    They should be where nothing but the bias before the norm differs: the norm subtracts it.
    """
    bias = {"model.bias", "model.bias_std"}
    # A recorded model states what its user likes, and may differ in more than it states.
    known = [each for each in variants if not each.is_recorded]
    for one, other in itertools.combinations(known, 2):
        normalized = one.settings["model.norm"] == "batch"
        if not normalized or any(key not in bias for key in unequal(one.settings, other.settings)):
            continue
        if one.probe is None or other.probe is None:
            continue
        if one.probe.seeds == other.probe.seeds:
            gap = float(np.abs(one.probe.values[:] - other.probe.values[:]).max())
            yield BiasGap((one.name, other.name), gap)
