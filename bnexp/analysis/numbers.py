"""What an experiment comes to in numbers: the content of summary.json, as dataclasses.

`measuring` computes it from the logs. `numbers_json` writes and reads it, so that variants can be
compared without their logs. NaN stands for what was not reached or not recorded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bnexp.analysis.statistics import OverSeeds, PerSeed
from bnexp.config import Value

NOTE = (
    "A unit has settled once its percentiles stay near those of the end of the run. In a longer "
    "run, a network that still moves would settle later."
)
PRIMARY = "test_accuracy"
Measures = Mapping[str, PerSeed]
Panel = Literal["b", "c"]  # of the paper's figure: without BN, and with BN


@dataclass(frozen=True)
class End:
    """The windowed percentiles of the last recorded layer at the end of training.

    Attributes:
        layer: counted from 1.
        population: the examples that the percentiles are over, in words.
        percentiles: (Q,), in [0, 100].
        median_of_all_units: (Q,): of each percentile, over units and seeds.
        typical_unit: (Q,): of the unit that is nearest to the median unit all the time.
        typical_seed: the typical unit's seed.
        typical_index: its index in the layer, counted from 0.
    """

    layer: int
    population: str
    percentiles: tuple[float, ...]
    median_of_all_units: tuple[float, ...]
    typical_unit: tuple[float, ...]
    typical_seed: int
    typical_index: int


@dataclass(frozen=True)
class PaperDistance:
    """How far a finished variant is from the paper's curves.

    Attributes:
        panel: of the paper's figure.
        accuracy: the largest distance of the mean over seeds, interpolated, from step 7,000 on.
        at_step: where it is.
        end_percentiles: distances of percentiles 15, 50 and 85 of the typical unit at the end from
            the paper's last points; None unless all three are recorded.
    """

    panel: Panel
    accuracy: float
    at_step: int
    end_percentiles: tuple[float, ...] | None


@dataclass(frozen=True)
class GradientShiftNumbers:
    """Gradient shift of each layer: medians over seeds and the last half of the rows.

    Attributes:
        from_step: the first of these rows.
        layers: counted from 1; the last is the output layer.
        distance: ||G - G'|| of each layer.
        relative_distance: ||G - G'|| / ||G||.
        cosine: of G and G'.
    """

    from_step: int
    layers: tuple[int, ...]
    distance: tuple[float, ...]
    relative_distance: tuple[float, ...]
    cosine: tuple[float, ...]


@dataclass(frozen=True)
class StatisticsCurve:
    """Running statistics against the training set's over training; means over seeds, each (rows,).

    The attributes are those of `records.RunningStatisticsLog`.
    """

    steps: tuple[int, ...]
    mean_gap: tuple[float, ...]
    variance_gap: tuple[float, ...]
    running_accuracy: tuple[float, ...]
    population_accuracy: tuple[float, ...]
    minibatch_accuracy: tuple[float, ...]


@dataclass(frozen=True)
class VariantNumbers:
    """One variant.

    Attributes:
        settings: by dotted key.
        seeds: the runs that there are.
        state: `done`, or the state of the first run that is not; `interrupted` where runs are done
            that have fewer steps than the config; `not started`; or `damaged`.
        step: how many updates every run has made.
        parameters: of the network.
        seconds_per_step: the median over the runs.
        measures: every number that has one value a seed, by name; see `measuring`.
        problem: what is wrong with its files, if those of a run cannot be read, or if the rows of
            its runs do not fit together.
    """

    settings: Mapping[str, Value]
    seeds: tuple[int, ...] = ()
    state: str = "not started"
    step: int = 0
    parameters: int | None = None
    seconds_per_step: float | None = None
    measures: Mapping[str, OverSeeds] = field(default_factory=dict)
    end: End | None = None
    gradient_shift: GradientShiftNumbers | None = None
    running_statistics: StatisticsCurve | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Pair:
    """A finished normalized network and its plain counterpart.

    Attributes:
        norm: the variant with a norm.
        plain: the variant without it.
        sooner: the probability that a random unit of `norm` settles before a random unit of
            `plain`, by tolerance, such as `settle_0.1`.
        settle_ratio: how many times longer the median unit of `plain` takes, by tolerance.
    """

    norm: str
    plain: str
    sooner: Mapping[str, OverSeeds]
    settle_ratio: Mapping[str, OverSeeds]


@dataclass(frozen=True)
class BiasGap:
    """The largest difference between the probe percentiles where networks differ in a useless bias.

    Attributes:
        variants: the names of the two.
        largest: over rows, seeds, percentiles and units.
    """

    variants: tuple[str, str]
    largest: float


@dataclass(frozen=True)
class ExperimentNumbers:
    """A whole experiment.

    Attributes:
        experiment: its name.
        seeds: of all its variants.
        variants: by name, whether they were started or not.
        pairs: normalized networks with their plain counterparts.
        paper: how far each finished variant is from the paper's Figure 1, where it is that network.
        bias_gaps: of networks that differ in a bias before the norm alone.
    """

    experiment: str
    seeds: tuple[int, ...]
    variants: Mapping[str, VariantNumbers]
    pairs: tuple[Pair, ...] = ()
    paper: Mapping[str, PaperDistance] = field(default_factory=dict)
    bias_gaps: tuple[BiasGap, ...] = ()


def paired(first: VariantNumbers, second: VariantNumbers) -> tuple[Measures, Measures]:
    """The measures of two variants, each (seeds,), of the seeds that both have."""
    common = [seed for seed in first.seeds if seed in second.seeds]
    mine, theirs = (
        {
            name: np.array(over.per_seed)[[each.seeds.index(seed) for seed in common]]
            for name, over in each.measures.items()
        }
        for each in (first, second)
    )
    return mine, theirs


def differing(settings: Sequence[Mapping[str, Value]]) -> list[str]:
    """Dotted keys in which the settings differ; where the data lie is not one of them.

    A model that `bnexp.record` watched states few settings or none. What it does not state is not
    known to differ.
    """
    stated: dict[str, list[Value]] = {}
    for each in settings:
        for key, value in each.items():
            stated.setdefault(key, []).append(value)
    differ = (key for key, values in stated.items() if any(v != values[0] for v in values))
    return [key for key in differ if key != "data.root"]


def unequal(one: Mapping[str, Value], other: Mapping[str, Value]) -> Iterator[str]:
    """The keys of `differing`, for two settings, found one after the other."""
    for key, value in one.items():
        if key != "data.root" and key in other and other[key] != value:
            yield key
