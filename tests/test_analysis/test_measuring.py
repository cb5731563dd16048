"""The numbers of an experiment, against computations of their own from the same logs."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers import models
from helpers.synthetic import experiment_of, fig1, other, settings
from scipy import stats

from bnexp.analysis.measuring import explained_by_norm, measure
from bnexp.analysis.numbers import differing
from bnexp.analysis.numbers_json import from_json, to_json
from bnexp.analysis.records import GradientShiftLog, RunningStatisticsLog
from bnexp.analysis.results import read_experiment
from bnexp.config import flatten

HIDDEN = (4, 3, 6)
QUANTILES = stats.norm.ppf([0.15, 0.5, 0.85])


@pytest.fixture(scope="module")
def files():
    """A small experiment with made-up curves, a row every 500 of 50,000 steps."""
    return fig1(rows=101, seeds=4, hidden=HIDDEN)


def test_the_numbers_are_strict_json_and_come_back_from_it(files):
    """No NaN in the text; nothing is lost on the way."""
    numbers = measure(files)
    text = json.dumps(to_json(numbers), allow_nan=False)
    again = from_json(json.loads(text))
    assert json.dumps(to_json(again), allow_nan=False) == text
    assert list(again.variants) == ["baseline", "batchnorm"]
    assert again.variants["baseline"].settings == dict(files.settings["baseline"])
    assert again.pairs[0].norm == "batchnorm"
    assert np.isnan(again.variants["baseline"].measures["shift"].mean)  # rows too far apart


def test_measures_of_units_are_medians_over_those_of_the_last_layer(files):
    """The range of the windowed median of each unit, by plain loops."""
    run = files.variants["baseline"]
    found = measure(files).variants["baseline"].measures["median_range"]
    expected = []
    for seed in range(4):
        ranges = []
        for unit in range(7, 13):
            curve = run.probe.values[:, seed, :, unit].astype(float)
            means = [np.trapezoid(curve[i : i + 5], dx=500, axis=0) / 2000 for i in range(97)]
            spread = (means[-1][2] - means[-1][0]) / (QUANTILES[2] - QUANTILES[0])
            medians = [each[1] for each in means]
            ranges.append((max(medians) - min(medians)) / spread)
        expected.append(np.median(ranges))
    assert found.per_seed == pytest.approx(expected)


def test_the_accuracy_is_the_mean_over_the_evaluations_of_the_last_2000_steps(files):
    """With the t-interval over seeds; one evaluation alone has twice the variance."""
    metrics = files.variants["baseline"].metrics
    late = metrics.test_accuracy[metrics.steps > 48_000].mean(axis=0)
    found = measure(files).variants["baseline"].measures["test_accuracy"]
    low, high = stats.t.interval(0.95, 3, late.mean(), stats.sem(late))
    assert (found.mean, found.low, found.high) == pytest.approx((late.mean(), low, high))


def test_the_typical_unit_at_the_end_is_a_unit_of_the_log(files):
    """Its windowed percentiles, under its own seed and index."""
    run = files.variants["batchnorm"]
    end = measure(files).variants["batchnorm"].end
    column = sum(HIDDEN[:2]) + end.typical_index
    last = np.trapezoid(run.probe.values[-5:, end.typical_seed, :, column], dx=0.25, axis=0)
    assert end.typical_unit == pytest.approx(last, rel=1e-5)
    assert (end.layer, end.population) == (3, "the first 1000 examples")


def test_a_normalized_network_is_paired_with_its_plain_counterpart_alone():
    """In each cell of a grid; equal nets settle sooner half the time, and take equally long."""
    base = fig1(rows=21, seeds=2, hidden=HIDDEN).variants["baseline"]
    runs = {}
    for std in (0.05, 1.0):
        for norm in ("none", "batch"):
            name = f"{norm}_{std}"
            changed = flatten(settings(norm, hidden=HIDDEN, weight_std=std))
            runs[name] = other(base, name=name, settings=changed)
    pairs = measure(experiment_of(runs)).pairs
    assert [(pair.norm, pair.plain) for pair in pairs] == [
        ("batch_0.05", "none_0.05"),
        ("batch_1.0", "none_1.0"),
    ]
    assert pairs[0].sooner["settle_0.2"].mean == 0.5
    assert pairs[0].settle_ratio["settle_0.2"].mean == 1.0


def test_how_many_times_longer_the_plain_network_takes_is_a_ratio_of_medians_by_seed(files):
    """Over the seeds that both have."""
    numbers = measure(files)
    (pair,) = numbers.pairs
    plain, norm = (numbers.variants[name].measures["settle_0.2"] for name in files.variants)
    expected = np.divide(plain.per_seed, norm.per_seed)
    assert pair.settle_ratio["settle_0.2"].per_seed == pytest.approx(expected)


def test_the_paper_is_compared_only_with_finished_runs_of_its_settings(files):
    """Not with other hidden layers, nor with a run under way."""
    assert measure(files).paper == {}  # the hidden layers are not the paper's
    whole = fig1(rows=51, seeds=2)
    distances = measure(whole).paper
    assert distances["baseline"].panel == "b"
    assert len(distances["batchnorm"].end_percentiles) == 3
    whole.variants["baseline"] = other(whole.variants["baseline"], state="running")
    assert list(measure(whole).paper) == ["batchnorm"]


def test_variants_that_were_not_begun_or_cannot_be_read_have_a_state_and_no_numbers(files):
    """A damaged one keeps the text that says what is wrong."""
    part = replace(files, variants={}, problems={"baseline": "metrics.csv: damaged"})
    numbers = measure(part)
    assert numbers.variants["baseline"].state == "damaged"
    assert numbers.variants["baseline"].problem == "metrics.csv: damaged"
    assert numbers.variants["batchnorm"].state == "not started"
    assert numbers.variants["batchnorm"].measures == {}


def test_a_run_that_has_no_row_yet_has_no_numbers(files):
    """A run that has just begun does not stop the summary."""
    run = files.variants["baseline"]
    empty = {
        name: getattr(run.metrics, name)[:0] for name in ("steps", "train_loss", "test_accuracy")
    }
    began = other(
        run,
        metrics=replace(run.metrics, seeds=(), **empty),
        probe=replace(run.probe, steps=run.probe.steps[:0], values=run.probe.values[:0]),
        state="running",
        step=0,
    )
    numbers = measure(replace(files, variants=files.variants | {"baseline": began}))
    assert numbers.variants["baseline"].measures == {}
    assert numbers.variants["baseline"].end is None
    assert numbers.pairs == ()


def test_without_a_probe_there_is_no_settle_step(files):
    """Minibatch noise is no settling; accuracy is still measured."""
    bare = other(files.variants["baseline"], probe=None)
    found = measure(replace(files, variants={"baseline": bare})).variants["baseline"].measures
    assert "test_accuracy" in found
    assert "settle_0.2" not in found


def test_a_network_that_stays_on_its_plateau_has_no_drift_in_final_spreads(files):
    """Its spread is next to nothing, and a drift of 60 of them would say nothing."""
    run = files.variants["baseline"]
    flat = replace(run.metrics, test_accuracy=np.full_like(run.metrics.test_accuracy, 0.11))
    stuck = other(run, metrics=flat)
    found = measure(replace(files, variants={"baseline": stuck})).variants["baseline"].measures
    assert np.isnan(found["median_range"].mean)
    assert np.isnan(found["settle_0.2"].mean)
    assert np.isfinite(found["end_width"].mean)


def test_a_network_that_diverged_has_no_drift_in_final_spreads_whatever_its_accuracy(files):
    """Its loss is above that of a guess: here that of one seed of four."""
    run = files.variants["batchnorm"]
    loss = run.metrics.train_loss.copy()
    loss[-1, 1] = 2e9
    diverged = other(run, metrics=replace(run.metrics, train_loss=loss))
    numbers = measure(replace(files, variants=files.variants | {"batchnorm": diverged}))
    found = numbers.variants["batchnorm"].measures
    for name in ("settle_0.2", "median_range", "width_range", "jitter"):
        assert np.isnan(found[name].per_seed).tolist() == [False, True, False, False]
    assert np.isnan(numbers.pairs[0].settle_ratio["settle_0.2"].per_seed[1])
    assert np.isfinite(found["end_width"].per_seed).all()
    assert np.isfinite(found["train_loss"].mean)


def test_a_model_whose_accuracy_was_never_logged_has_its_drift_all_the_same(files):
    """There is no accuracy to tell of, and none that says it has not learned."""
    run = files.variants["baseline"]
    unknown = np.full_like(run.metrics.test_accuracy, np.nan)
    bare = other(run, metrics=replace(run.metrics, test_accuracy=unknown))
    found, known = (
        measure(replace(files, variants={"baseline": each})).variants["baseline"].measures
        for each in (bare, run)
    )
    assert not [name for name in found if name.startswith(("test_accuracy", "steps_"))]
    assert found["settle_0.2"] == known["settle_0.2"]
    assert found["train_loss"] == known["train_loss"]


def test_a_diverged_run_has_no_numbers_where_it_is_not_finite(files):
    """NaN, and no warning on the way."""
    run = files.variants["baseline"]
    values = run.probe.values.copy()
    values[60:], values[80:] = np.inf, np.nan
    diverged = other(run, probe=replace(run.probe, values=values), state="failed")
    numbers = measure(replace(files, variants=files.variants | {"baseline": diverged}))
    found = numbers.variants["baseline"].measures
    assert np.isnan(found["settle_0.2"].per_seed).all()
    assert np.isnan(found["median_range"].mean)
    assert np.isfinite(found["test_accuracy"].mean)
    assert numbers.pairs == ()


def norm_log(run, skew=0.0):
    """Gamma and beta that move, and percentiles that follow them with some skew of the median."""
    rows, seeds, _, units = run.probe.values.shape
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, rows)[:, None, None]
    gamma, beta = (
        1 + t * rng.uniform(0.5, 1, (1, seeds, units)),
        0.3 * np.sin(9 * t) * np.ones((1, seeds, units)),
    )
    values = beta[:, :, None] + gamma[:, :, None] * QUANTILES[:, None]
    values[:, :, 1] += skew * np.cos(20 * t)
    return values, np.stack([gamma, beta], axis=2)


def test_gamma_and_beta_explain_all_of_a_gaussian_unit_and_nothing_of_its_skew(files):
    """1 - Var(P - beta - z gamma) / Var(P), by its own formula."""
    values, parameters = norm_log(files.variants["batchnorm"], skew=0.5)
    found = explained_by_norm(values, parameters, (15.0, 50.0, 85.0))
    assert found[:, [0, 2]] == pytest.approx(1.0)
    beta = parameters[:, :, 1]
    expected = 1 - np.var(values[:, :, 1] - beta, axis=0) / np.var(values[:, :, 1], axis=0)
    assert found[:, 1] == pytest.approx(expected)
    assert (found[:, 1] < 0.6).all()


def test_the_summary_has_the_gammas_and_what_they_explain(files):
    """Of the last layer alone."""
    run = files.variants["batchnorm"]
    values, parameters = norm_log(run)
    log = replace(run.probe, values=values.astype(np.float32))
    given = other(run, probe=log, norm_parameters=parameters.astype(np.float32))
    found = measure(replace(files, variants={"batchnorm": given})).variants["batchnorm"].measures
    gammas = parameters[-1, :, 0, -6:]
    assert found["gamma_highest"].per_seed == pytest.approx(gammas.max(axis=1))
    assert found["gamma_median"].per_seed == pytest.approx(np.median(gammas, axis=1))
    assert found["explained_85"].mean == pytest.approx(1.0, abs=1e-4)


def test_the_gradient_shift_is_the_median_of_its_last_half(files):
    """For each layer, over rows and seeds; relative to the gradient too."""
    values = np.random.default_rng(0).uniform(0.01, 1, (3, 41, 3, 4))
    shift = GradientShiftLog(np.arange(0, 2050, 50), (0, 1, 2, 3), (2, 3, 4), *values)
    given = other(files.variants["batchnorm"], gradient_shift=shift)
    found = measure(replace(files, variants={"batchnorm": given})).variants["batchnorm"]
    assert found.gradient_shift.from_step == 1000
    expected = np.median(values[1][20:], axis=(0, 2))
    assert found.gradient_shift.relative_distance == pytest.approx(expected)


def test_the_running_statistics_are_means_over_seeds(files):
    """At each of their steps."""
    values = np.random.default_rng(0).uniform(0.01, 1, (5, 3, 4))
    kept = RunningStatisticsLog(np.array([0, 10, 20]), (0, 1, 2, 3), *values)
    given = other(files.variants["batchnorm"], running_statistics=kept)
    found = measure(replace(files, variants={"batchnorm": given})).variants["batchnorm"]
    assert found.running_statistics.steps == (0, 10, 20)
    assert found.running_statistics.minibatch_accuracy == pytest.approx(values[4].mean(axis=1))


def test_nets_that_differ_in_a_useless_bias_have_their_largest_percentile_gap(files):
    """It is that of the logs; nets that differ in more have none."""
    run, runs = files.variants["batchnorm"], {}
    for name, changes in (("none", {"bias": False}), ("random", {"bias": True, "bias_std": 1.0})):
        made = settings("batch", hidden=HIDDEN)
        made = replace(made, model=replace(made.model, **changes))
        moved = np.float32(0.125 * (name == "random"))
        probe = replace(run.probe, values=run.probe.values + moved)
        runs[name] = other(run, name=name, settings=flatten(made), probe=probe)
    (gap,) = measure(experiment_of(runs)).bias_gaps
    assert gap.variants == ("none", "random")
    assert gap.largest == pytest.approx(0.125, rel=1e-4)
    assert measure(files).bias_gaps == ()


def test_recorded_models_that_state_another_bias_have_no_percentile_gap(tmp_path):
    """They may differ in more than they state, such as their length."""
    for variant, bias, steps in (("a", True, 10), ("b", False, 15)):
        stated = {"model.norm": "batch", "model.bias": bias}
        probe = models.minibatch(99, 20)[0]
        models.recorded(tmp_path, steps, variant=variant, settings=stated, probe=probe)
    assert measure(read_experiment(tmp_path)).bias_gaps == ()


def test_where_the_data_lie_is_no_difference():
    """The learning rate is one."""
    a = settings()
    b = replace(a, data=replace(a.data, root="elsewhere"), train=replace(a.train, lr=0.2))
    assert differing([flatten(a), flatten(b)]) == ["train.lr"]
