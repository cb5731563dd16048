"""From the logs to the numbers: what is measured of each variant, and of pairs of variants.

Every measure has one value a seed. Those of units are medians over the units of the last recorded
layer. Names: `test_accuracy` and `train_loss` are means over the last 2,000 steps (a fifth of a run
of less than 10,000); `steps_to_90` and `steps_above_90` are the evaluation at which an accuracy is
first reached, and that from which it stays; the drift measures are those of `drift`;
`explained_15` is the share of the movement of P_15 that gamma and beta explain; `gamma_lowest`,
`gamma_median` and `gamma_highest` are of the final network, and so is `bias_norm`.
"""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis import pairs, paper
from bnexp.analysis.distributions import normal_quantiles, units_of_layer
from bnexp.analysis.drift import UnitMeasures
from bnexp.analysis.learned import drift_of, last_rows
from bnexp.analysis.numbers import (
    PRIMARY,
    End,
    ExperimentNumbers,
    GradientShiftNumbers,
    StatisticsCurve,
    VariantNumbers,
)
from bnexp.analysis.records import MetricsLog, PercentileLog
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.statistics import PerSeed, over_seeds, steps_to
from bnexp.analysis.variants import VariantResults

ACCURACIES = (0.90, 0.95, 0.97)
NO_COMMON_STEP = (
    "its seeds have no row of metrics.csv at a common step after step 0, so there is no accuracy "
    "and no loss of all of them; log them at the same steps"
)


def measure(experiment: ExperimentResults) -> ExperimentNumbers:
    """Every number of an experiment; of variants without a row, only their settings and state."""
    units = {name: _units(each) for name, each in experiment.variants.items()}
    variants = {}
    for name, settings in experiment.settings.items():
        results, problem = experiment.variants.get(name), experiment.problems.get(name)
        if results is not None:
            variants[name] = _numbers(results, units[name], problem)
        elif problem is not None:
            variants[name] = VariantNumbers(settings, state="damaged", problem=problem)
        else:
            variants[name] = VariantNumbers(settings)
    done = {name: each for name, each in experiment.variants.items() if each.state == "done"}
    distances = {
        name: paper.distance(each.settings, each.metrics, variants[name].end)
        for name, each in done.items()
    }
    return ExperimentNumbers(
        experiment.name,
        experiment.seeds,
        variants,
        tuple(pairs.settling(done.values(), units)),
        {name: far for name, far in distances.items() if far is not None},
        tuple(pairs.bias_gaps(done.values())),
    )


def last_layer(log: PercentileLog) -> tuple[int, slice]:
    """The last recorded layer, and where its units stand."""
    layer = int(log.layer[-1])
    return layer, units_of_layer(log.layer, layer)


def _units(results: VariantResults) -> UnitMeasures | None:
    """The drift of the units of the last layer, from the probe; None without a row of it.

    A minibatch's percentiles would not do: most of their movement is sampling noise.
    """
    log = results.probe
    if log is None or not len(log.steps):
        return None
    return drift_of(results, log, last_layer(log)[1])


def _numbers(
    results: VariantResults, units: UnitMeasures | None, problem: str | None
) -> VariantNumbers:
    """The numbers of a variant; the problem is that of its runs that cannot be read."""
    measures, metrics = {}, results.metrics
    ended = results.state == "done" and len(results.seeds) > 1
    apart = ended and not metrics.steps.any()
    if len(metrics.steps):
        found = {} if apart else _accuracies(metrics)
        found |= _drift(units) | _norm_parameters(results) | _bias(metrics)
        measures = {name: over_seeds(values) for name, values in found.items()}
    return VariantNumbers(
        results.settings,
        results.seeds,
        results.state,
        results.step,
        results.parameters,
        results.seconds_per_step,
        measures,
        _end(results, units),
        _gradient_shift(results),
        _statistics_curve(results),
        problem or (NO_COMMON_STEP if apart else None),
    )


def _accuracies(metrics: MetricsLog) -> dict[str, PerSeed]:
    last = last_rows(metrics)
    found: dict[str, PerSeed] = {"train_loss": metrics.train_loss[last].mean(axis=0)}
    if np.isnan(metrics.test_accuracy).all():  # a model whose user logged none
        return found
    found = {PRIMARY: metrics.test_accuracy[last].mean(axis=0), **found}
    for level in ACCURACIES:
        first, stays = steps_to(metrics.steps, metrics.test_accuracy, level)
        found[f"steps_to_{100 * level:g}"] = first
        found[f"steps_above_{100 * level:g}"] = stays
    return found


def _drift(units: UnitMeasures | None) -> dict[str, PerSeed]:
    named = {} if units is None else units.by_name()
    return {name: np.median(values, axis=1) for name, values in named.items()}


def explained_by_norm(
    values: NDArray[np.floating],
    norm_parameters: NDArray[np.floating],
    percentiles: tuple[float, ...],
) -> NDArray[np.float64]:
    """The share of each percentile's movement that gamma and beta explain, for each unit.

    Batch norm gives a unit the mean beta and the standard deviation gamma. If its distribution
    kept one shape, P_q(t) would be beta(t) + z_q gamma(t), with z_q = 1.036 for P_85 of a Gaussian.
    The share is 1 - Var_t(P_q - beta - z_q gamma) / Var_t(P_q). What is left is a change of shape.

    Args:
        values: (rows, S, Q, U).
        norm_parameters: gamma and beta (rows, S, 2, U).
        percentiles: (Q,).

    Returns:
        (S, Q, U); NaN for a percentile that does not move.
    """
    gamma, beta = norm_parameters[:, :, :1], norm_parameters[:, :, 1:]
    implied = beta + normal_quantiles(percentiles)[:, None] * gamma
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(
            1 - np.var(values - implied, axis=0) / np.var(values, axis=0, dtype=float)
        )


def _norm_parameters(results: VariantResults) -> dict[str, PerSeed]:
    log, parameters = results.probe, results.norm_parameters
    if log is None or parameters is None or not len(parameters):
        return {}
    units = last_layer(log)[1]
    rows = min(len(parameters), len(log.values))
    gammas = parameters[rows - 1, :, 0, units]
    shares = explained_by_norm(
        log.values[:rows, ..., units], parameters[:rows, ..., units], log.percentiles
    )
    found: dict[str, PerSeed] = {
        f"explained_{q:g}": np.median(shares[:, i], axis=1) for i, q in enumerate(log.percentiles)
    }
    return found | {
        "gamma_lowest": gammas.min(axis=1),
        "gamma_median": np.median(gammas, axis=1),
        "gamma_highest": gammas.max(axis=1),
    }


def _bias(metrics: MetricsLog) -> dict[str, PerSeed]:
    norm = metrics.bias_norm[-1]
    return {} if np.isnan(norm).all() else {"bias_norm": norm}


def _end(results: VariantResults, measures: UnitMeasures | None) -> End | None:
    log = results.probe
    if log is None or measures is None:
        return None
    layer, units = last_layer(log)
    seed, unit = results.typical_unit(log, layer)
    return End(
        layer,
        log.population,
        log.percentiles,
        tuple(map(float, np.median(measures.end, axis=(0, 2)))),
        tuple(map(float, measures.end[seed, :, unit])),
        log.seeds[seed],
        int(log.unit[units][unit]),
    )


def _gradient_shift(results: VariantResults) -> GradientShiftNumbers | None:
    shift = results.gradient_shift
    if shift is None or not len(shift.steps):
        return None
    half = len(shift.steps) // 2
    medians = (
        tuple(map(float, np.nanmedian(values[half:], axis=(0, 2))))
        for values in (shift.distance, shift.relative_distance, shift.cosine)
    )
    return GradientShiftNumbers(int(shift.steps[half]), shift.layers, *medians)


def _statistics_curve(results: VariantResults) -> StatisticsCurve | None:
    found = results.running_statistics
    if found is None or not len(found.steps):
        return None
    measured = (getattr(found, each.name) for each in fields(StatisticsCurve)[1:])
    means = (tuple(map(float, column.mean(axis=1))) for column in measured)
    return StatisticsCurve(tuple(map(int, found.steps)), *means)
