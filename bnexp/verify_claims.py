"""Checks of what is claimed of batch normalization, by the numbers of an experiment."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from bnexp import analysis, summary
from bnexp.checking import Check
from bnexp.runlog import ExperimentFiles, Run

MOVED = 0.5  # of sigma_end: a median that ranges further has moved; the paper's plain unit's does
WIDENED = 1.5  # highest over lowest P_85 - P_15 that counts as a change of the variance
PAPER_ACCURACY, PAPER_PERCENTILES = 0.02, 0.5  # as near as what the paper leaves open allows

Measures = Mapping[str, Mapping[str, Any]]  # of `summary`: mean, low, high; None: no such value
Names = tuple[str, str]  # the normalized run and its plain counterpart


def checks(files: ExperimentFiles) -> Iterator[Check]:
    """The paper's claims for each normalized run and its plain counterpart; gamma on and off."""
    content = summary.summarize(files)
    for pair in content["comparisons"]:
        names = pair["norm"], pair["plain"]
        norm, plain = (content["variants"][name]["measures"] for name in names)
        yield faster(names, norm, plain, pair["differences"])
        yield higher(names, pair["differences"])
        if pair["sooner"]:
            yield sooner(names, pair["sooner"])
            yield changes(names, plain)
            yield flat(names, norm, pair["differences"])
            yield wider(files.runs[pair["norm"]])
    for name, distance in content["paper"].items():
        if distance["accuracy"] is not None and distance["end_percentiles"] is not None:
            yield near_paper(name, distance)
    for first, second in itertools.permutations(files.runs.values(), 2):
        settings = first.variant.settings, second.variant.settings
        if summary.varied(settings) == ["model.gamma"] and settings[0].model.gamma:
            yield gamma(first, second)


def _ends(interval: Mapping[str, Any]) -> tuple[float, float, float]:
    """Mean, low and high; NaN for what there is not."""
    ends = (interval[key] for key in ("mean", "low", "high"))
    mean, low, high = (np.nan if end is None else float(end) for end in ends)
    return mean, low, high


def _bounds(interval: Mapping[str, Any]) -> tuple[float, float]:
    """The ends of the interval; of one seed, its value twice; NaN where a seed has none."""
    mean, low, high = _ends(interval)
    return (mean, mean) if np.isnan(low) else (low, high)


def _said(interval: Mapping[str, Any], form: str) -> str:
    """The mean, and the interval where there are two seeds or more."""
    mean, low, high = _ends(interval)
    if np.isnan(mean):
        return "not by every seed"
    return f"{mean:{form}}" + ("" if np.isnan(low) else f" [{low:{form}}, {high:{form}}]")


def faster(names: Names, norm: Measures, plain: Measures, differences: Measures) -> Check:
    """Steps to a test accuracy, paired by seed; a net that does not get there is the slower one."""
    verdicts, said = [], []
    for accuracy in analysis.ACCURACIES:
        name = f"steps_to_{100 * accuracy:g}"
        ours, theirs = norm[name], plain[name]
        if ours["mean"] is None and theirs["mean"] is None:
            continue
        lower = _bounds(differences[name])[1] < 0
        verdicts.append(ours["mean"] is not None and (theirs["mean"] is None or lower))
        said.append(f"{accuracy:.0%}: {_said(ours, ',.0f')} against {_said(theirs, ',.0f')}")
    return Check(
        21,
        f"{names[0]} trains faster than {names[1]}",
        "section 4.1, Figure 1a",
        "fewer steps to 90, 95, 97 % test accuracy, as far as one gets there",
        "; ".join(said) or "neither gets to 90 %",
        bool(verdicts) and all(verdicts),
    )


def higher(names: Names, differences: Measures) -> Check:
    """Last test accuracy, paired by seed."""
    gap = differences["test_accuracy"]
    return Check(
        22,
        f"{names[0]} ends higher than {names[1]}",
        "section 4.1, Figure 1a",
        "difference in test accuracy above 0, with its 95 % interval",
        _said(gap, "+.4f"),
        _bounds(gap)[0] > 0,
    )


def sooner(names: Names, found: Measures) -> Check:
    """P(a unit of one net settles before one of the other): all pairs of units, seed by seed."""
    return Check(
        23,
        f"the units of {names[0]} settle sooner than those of {names[1]}",
        "section 4.1, Figure 1b, c: `much more stable'",
        "P above 0.5 at each tolerance, with its 95 % interval",
        "; ".join(f"{key.removeprefix('settle_')}: {_said(p, '.3f')}" for key, p in found.items()),
        all(_bounds(p)[0] > 0.5 for p in found.values()),
    )


def changes(names: Names, plain: Measures) -> Check:
    """Range of P_50 in sigma_end, and of log(P_85 - P_15), of the last hidden layer's units."""
    median, width = plain["median_range"], plain["width_range"]
    return Check(
        24,
        f"{names[1]}'s distributions change significantly, in mean and variance",
        "section 4.1",
        f"median over more than {MOVED} sigma, width by more than a factor {WIDENED}",
        f"median over {_said(median, '.2f')} sigma, log width over {_said(width, '.2f')}",
        bool(_bounds(median)[0] > MOVED and _bounds(width)[0] > np.log(WIDENED)),
    )


def flat(names: Names, norm: Measures, differences: Measures) -> Check:
    """The same range of P_50 for the normalized net, and its difference from the plain one's."""
    median, gap = norm["median_range"], differences["median_range"]
    return Check(
        25,
        f"{names[0]}'s medians stay flat",
        "Figure 1c",
        f"over less than {MOVED} sigma, and less than {names[1]}'s",
        f"over {_said(median, '.2f')} sigma; difference {_said(gap, '+.2f')}",
        bool(_bounds(median)[1] < MOVED and _bounds(gap)[1] < 0),
    )


def wider(run: Run) -> Check:
    """P_85 - P_15, last row less first, median over the last hidden layer's units of each seed."""
    log, layer = run.probe, len(run.variant.settings.model.hidden)
    if log is None:
        raise ValueError(f"{run.variant.name}: no probe")
    ends = log.values[[0, -1]][..., analysis.columns(log.layer, layer)]
    first, last = np.median(analysis.width(ends, log.percentiles), axis=2)
    growth = asdict(analysis.interval(last - first))
    return Check(
        26,
        f"{run.variant.name} is not flat altogether: its widths grow",
        "Figure 1c: from 2.5 to 3.9",
        "last width less first above 0, with its 95 % interval",
        f"{first.mean():.2f} to {last.mean():.2f}: {_said(growth, '+.2f')}",
        _bounds(growth)[0] > 0,
    )


def near_paper(name: str, distance: Mapping[str, Any]) -> Check:
    """Distance to the digitised curves: mean accuracy over seeds, and the typical unit."""
    ends = distance["end_percentiles"]
    return Check(
        27,
        f"{name}'s curves are near the paper's",
        f"Figure 1a, {distance['panel']}",
        f"test accuracy within {PAPER_ACCURACY} from step 7,000, last percentiles within "
        f"{PAPER_PERCENTILES}",
        f"accuracy within {distance['accuracy']:.4f}, percentiles {ends[0]:.2f}, {ends[1]:.2f}, "
        f"{ends[2]:.2f} off",
        distance["accuracy"] <= PAPER_ACCURACY and max(ends) <= PAPER_PERCENTILES,
    )


def gamma(with_gamma: Run, without: Run) -> Check:
    """Last training loss and test accuracy, with gamma less without, paired by seed."""
    gaps = {
        name: getattr(with_gamma.metrics, name)[-1] - getattr(without.metrics, name)[-1]
        for name in ("train_loss", "test_accuracy")
    }
    intervals = {name: analysis.interval(gap) for name, gap in gaps.items()}
    return Check(
        13,
        f"{with_gamma.variant.name} and {without.variant.name} train differently, "
        "even where gamma folds",
        "Keras, BatchNormalization(scale=False), calls it redundant",
        "training losses apart by more than 1e-6; with gamma less without, 95 % interval",
        "; ".join(
            f"{name.replace('_', ' ')} {_said(asdict(gap), '+.4f')}: {gap.verdict}"
            for name, gap in intervals.items()
        ),
        bool(np.abs(gaps["train_loss"]).min() > 1e-6),
    )
