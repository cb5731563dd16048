"""Variants compared with a baseline, paired by seed: the rows of `bnexp compare`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from bnexp.analysis.baselines import choose_baselines
from bnexp.analysis.numbers import PRIMARY, ExperimentNumbers, VariantNumbers, differing, paired
from bnexp.analysis.numbers_json import jsonable
from bnexp.analysis.statistics import (
    OverSeeds,
    exploratory_verdict,
    holm,
    over_seeds,
    p_value,
    primary_verdict,
)
from bnexp.config import DATASET_SIZES, Value

MARGIN = 0.001  # of test accuracy: differences within it count as none
# The measures that are tested beside the primary one, with Holm's correction over all of them.
EXPLORATORY = (
    "train_loss",
    "settle_0.1",
    "settle_0.2",
    "median_range",
    "width_range",
    "late_shift",
    "end_width",
    "steps_to_95",
)
UNFAIR = ("data.name", "data.binarize", "train.steps")


@dataclass(frozen=True)
class Difference:
    """A measure of a variant minus that of its baseline, over the seeds that both have.

    Attributes:
        over: the differences, their mean and its 95 % interval.
        p: of the paired t-test.
        corrected: the p-value after Holm's correction; NaN for measures that are not tested.
        verdict: what the differences show, in words; empty for measures that are not tested.
    """

    over: OverSeeds
    p: float
    corrected: float
    verdict: str


# What stands for the difference of a variant that has none.
NO_DIFFERENCE = Difference(OverSeeds(nan, nan, nan, ()), p=nan, corrected=nan, verdict="")


@dataclass(frozen=True)
class ComparedVariant:
    """A row of a comparison.

    Attributes:
        label: the variant's name; of several experiments, `experiment/variant`.
        settings: those in which the variants differ.
        numbers: the variant.
        baseline: the label of the variant that it is compared with; None for a baseline itself.
        differences: by measure; none for a baseline itself, or where `notes` say why.
        percentile_gap: the largest difference from the baseline's probe percentiles, where the two
            should be equal.
        notes: what a reader of the row must know.
    """

    label: str
    settings: Mapping[str, Value]
    numbers: VariantNumbers
    baseline: str | None = None
    differences: Mapping[str, Difference] = field(default_factory=dict)
    percentile_gap: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All rows.

    Attributes:
        rows: in the order of the experiments and their variants.
        margin: within which two accuracies count as equivalent.
        test_error: the standard error of one network's accuracy that comes from the test set having
            so few examples; NaN where the data set is not known, or not the same in all rows.
    """

    rows: tuple[ComparedVariant, ...]
    margin: float
    test_error: float


def compare(
    experiments: Sequence[tuple[Path, ExperimentNumbers]],
    baseline: str | None = None,
    margin: float = MARGIN,
) -> Comparison:
    """Compare every variant with its baseline.

    Args:
        experiments: each with its folder.
        baseline: which rows are the baselines; see `choose_baselines`.
        margin: within which two accuracies count as equivalent.

    Raises:
        ConfigError: no row is the baseline.
    """
    variants, gaps = _labelled(experiments)
    keys = differing([each.settings for each in variants.values()])
    rows = {
        label: ComparedVariant(label, {key: each.settings.get(key) for key in keys}, each)
        for label, each in variants.items()
    }
    compared = []
    settings = {label: row.settings for label, row in rows.items()}
    for label, base in choose_baselines(settings, baseline).items():
        row, other = rows[label], rows[base]
        notes = tuple(_notes(row, other))
        if row is other:
            compared.append(replace(row, notes=notes))
            continue
        differences = _differences(row.numbers, other.numbers, margin)
        gap = gaps.get(frozenset((label, base)))
        compared.append(replace(row, baseline=base, differences=differences, percentile_gap=gap,
                                notes=notes))  # fmt: skip
    return Comparison(tuple(_corrected(compared)), margin, _test_error(rows.values()))


def to_json(comparison: Comparison) -> list[dict[str, Any]]:
    """The rows as JSON; null stands for NaN."""
    rows = []
    for row in comparison.rows:
        content = asdict(row)
        numbers = content.pop("numbers")
        del numbers["settings"]
        content["differences"] = {
            name: {**asdict(each.over), "p": each.p, "p_holm": each.corrected,
                   "verdict": each.verdict}
            for name, each in row.differences.items()
        } or None  # fmt: skip
        rows.append({**content, **numbers})
    return list(jsonable(rows))


def _labelled(
    experiments: Sequence[tuple[Path, ExperimentNumbers]],
) -> tuple[dict[str, VariantNumbers], dict[frozenset[str], float]]:
    """The variants by label, and the gaps between percentiles of two of them."""
    names = {each.experiment for _, each in experiments}
    found, gaps = dict[str, VariantNumbers](), dict[frozenset[str], float]()
    for folder, each in experiments:
        place = each.experiment if len(names) == len(experiments) else folder
        prefix = "" if len(experiments) == 1 else f"{place}/"
        found |= {f"{prefix}{name}": numbers for name, numbers in each.variants.items()}
        for gap in each.bias_gaps:
            gaps[frozenset(f"{prefix}{name}" for name in gap.variants)] = gap.largest
    return found, gaps


def _notes(row: ComparedVariant, base: ComparedVariant) -> Iterator[str]:
    mine, theirs = row.numbers, base.numbers
    if mine.problem is not None:
        yield mine.problem
    elif mine.state != "done":
        yield f"{mine.state} (step {mine.step:,})"
    if row is base:
        return
    for key in UNFAIR:
        if row.settings.get(key) != base.settings.get(key):
            yield f"{key} is not the baseline's: read the differences with care"
    if theirs.state != "done":
        yield f"the baseline is not finished: {theirs.state} (step {theirs.step:,})"
    elif mine.state == "done" and set(mine.seeds) != set(theirs.seeds):
        yield "not the baseline's seeds: only those in common are paired"


def _differences(row: VariantNumbers, base: VariantNumbers, margin: float) -> dict[str, Difference]:
    """Each measure less the baseline's, if both are done and have a seed in common."""
    found = dict[str, Difference]()
    if not row.state == base.state == "done" or not {*row.seeds} & {*base.seeds}:
        return found
    mine, theirs = paired(row, base)
    for name in [name for name in mine if name in theirs]:
        gaps = mine[name] - theirs[name]
        verdict = primary_verdict(gaps, margin) if name == PRIMARY else ""
        found[name] = Difference(over_seeds(gaps), p_value(gaps), nan, verdict)
    return found


def _corrected(rows: Sequence[ComparedVariant]) -> Iterator[ComparedVariant]:
    """The rows with Holm's correction over all exploratory tests of all of them."""
    tested = [(row.label, name) for row in rows for name in EXPLORATORY if name in row.differences]
    by_label = {row.label: row.differences for row in rows}
    p_values = holm([by_label[label][name].p for label, name in tested])
    corrected = dict(zip(tested, p_values, strict=True))
    for row in rows:
        judged = dict(row.differences)
        for name, each in row.differences.items():
            if (p := corrected.get((row.label, name))) is not None:
                verdict = exploratory_verdict(each.over, p)
                judged[name] = replace(each, corrected=p, verdict=verdict)
        yield replace(row, differences=judged)


def _test_error(rows: Iterable[ComparedVariant]) -> float:
    """sqrt(p (1 - p) / n), for the mean accuracy p of all variants and n test examples.

    NaN where the variants have not the same test set, since it would be true of none.
    """
    errors, rows = [], [*rows]
    if len({row.numbers.settings.get("data.name") for row in rows}) > 1:
        return nan
    for row in rows:
        sizes = DATASET_SIZES.get(str(row.numbers.settings.get("data.name")))
        accuracy = row.numbers.measures.get(PRIMARY)
        if sizes is not None and accuracy is not None and 0 <= accuracy.mean <= 1:
            errors.append(sqrt(accuracy.mean * (1 - accuracy.mean) / sizes.test))
    return float(np.median(errors)) if errors else nan
