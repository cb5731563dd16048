"""The rows of `bnexp compare`: paired by seed, against scipy."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.synthetic import experiment_of, fig1, other, settings
from scipy import stats

from bnexp.analysis.comparison import EXPLORATORY, compare
from bnexp.analysis.measuring import measure
from bnexp.analysis.statistics import holm
from bnexp.config import flatten
from bnexp.errors import ConfigError

HIDDEN = (4, 3, 6)


@pytest.fixture(scope="module")
def files():
    """A small experiment with made-up curves."""
    return fig1(rows=101, seeds=4, hidden=HIDDEN)


def rows_of(*experiments, **options):
    """The rows for these experiments."""
    return compare([(each.path, measure(each)) for each in experiments], **options).rows


def with_seeds(run, seeds):
    """Those seeds of the run, in that order."""
    rows = {
        name: getattr(run.metrics, name)[:, list(seeds)]
        for name in ("train_loss", "test_accuracy", "test_loss", "bias_norm", "bias_gradient_norm")
    }
    probe = replace(run.probe, values=run.probe.values[:, list(seeds)], seeds=tuple(seeds))
    return other(run, metrics=replace(run.metrics, seeds=tuple(seeds), **rows), probe=probe)


def test_differences_are_those_of_a_paired_t_test(files):
    """Interval and p-value of every measure, against scipy."""
    base, norm = rows_of(files)
    assert base.differences == {}
    for name, found in norm.differences.items():
        mine, theirs = (np.array(row.numbers.measures[name].per_seed) for row in (norm, base))
        gaps = mine - theirs
        if np.isnan(gaps).any():
            assert np.isnan(found.over.mean)
        elif np.ptp(gaps) > 0:
            expected = stats.ttest_rel(mine, theirs)
            interval = expected.confidence_interval(0.95)
            assert (found.over.low, found.over.high) == pytest.approx((interval.low, interval.high))
            assert found.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert norm.differences["test_accuracy"].verdict == "higher"


def test_exploratory_measures_are_corrected_for_all_tests_of_the_comparison(files):
    """Of every row; the primary measure is not one of them."""
    third = other(files.variants["batchnorm"], name="third")
    rows = rows_of(experiment_of(files.variants | {"third": third}))
    tested = [(row, name) for row in rows[1:] for name in EXPLORATORY if name in row.differences]
    expected = holm([row.differences[name].p for row, name in tested])
    found = [row.differences[name].corrected for row, name in tested]
    assert len(found) == 2 * len(EXPLORATORY)
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(rows[1].differences["test_accuracy"].corrected)
    assert rows[1].differences["surrogate_0.1"].verdict == ""


def test_equal_variants_are_equivalent_and_not_merely_not_different(files):
    """Within the margin that is given."""
    same = other(files.variants["baseline"], name="same")
    rows = rows_of(experiment_of({"baseline": files.variants["baseline"], "same": same}))
    assert rows[1].differences["test_accuracy"].verdict == "equivalent within 0.001"
    far = rows_of(files, margin=0.5)
    verdict = far[1].differences["test_accuracy"].verdict
    assert verdict == "equivalent within 0.5, though higher"


def test_the_test_set_has_a_standard_error_of_its_own(files):
    """sqrt(p (1 - p) / 10,000) on MNIST."""
    found = compare([(files.path, measure(files))])
    p = np.mean([row.numbers.measures["test_accuracy"].mean for row in found.rows])
    assert found.test_error == pytest.approx(np.sqrt(p * (1 - p) / 10_000), rel=0.05)


def test_runs_are_paired_by_seed_whatever_their_order(files):
    """Seeds in another order give the same differences."""
    runs = files.variants | {"batchnorm": with_seeds(files.variants["batchnorm"], (3, 1, 0, 2))}
    shuffled = rows_of(replace(files, variants=runs))[1].differences["test_accuracy"].over
    straight = rows_of(files)[1].differences["test_accuracy"].over
    assert sorted(shuffled.per_seed) == pytest.approx(sorted(straight.per_seed))


def test_only_common_seeds_are_paired_and_a_note_says_so(files):
    """Of seeds 1, 3 and 0 to 3: two pairs."""
    runs = files.variants | {"batchnorm": with_seeds(files.variants["batchnorm"], (1, 3))}
    row = rows_of(replace(files, variants=runs))[1]
    assert len(row.differences["test_accuracy"].over.per_seed) == 2
    assert row.notes == ("not the baseline's seeds: only those in common are paired",)


def test_without_a_common_seed_there_is_no_difference(files):
    """And the note says why."""
    runs = {
        "baseline": with_seeds(files.variants["baseline"], (0, 2)),
        "batchnorm": with_seeds(files.variants["batchnorm"], (1, 3)),
    }
    row = rows_of(replace(files, variants=runs))[1]
    assert row.differences == {}
    assert row.notes == ("not the baseline's seeds: only those in common are paired",)


def test_unfinished_and_missing_runs_are_named_and_not_compared(files):
    """On the row itself, and as a baseline."""
    unfinished = other(files.variants["baseline"], state="running", step=12_000)
    rows = rows_of(replace(files, variants={"baseline": unfinished}))
    assert rows[0].notes == ("running (step 12,000)",)
    assert rows[1].numbers.state == "not started"
    assert rows[1].differences == {}
    assert rows[1].notes == (
        "not started (step 0)",
        "the baseline is not finished: running (step 12,000)",
    )


def test_a_damaged_variant_has_a_row_that_says_what_is_wrong(files):
    """It is not said to be "not started"; the others are compared."""
    runs = {name: each for name, each in files.variants.items() if name != "batchnorm"}
    problems = {"batchnorm": "results/fig1/batchnorm/seed-0/metrics.csv: damaged"}
    row = rows_of(replace(files, variants=runs, problems=problems))[1]
    assert row.numbers.state == "damaged"
    assert row.notes[0] == "results/fig1/batchnorm/seed-0/metrics.csv: damaged"


def test_experiments_of_other_data_say_so(files):
    """Their labels hold the experiment, their difference a warning."""
    digits = replace(fig1(rows=101, seeds=4, hidden=HIDDEN, data="digits"), name="digits")
    rows = rows_of(files, digits, baseline="fig1/batchnorm")
    assert [row.label for row in rows] == [
        "fig1/baseline", "fig1/batchnorm", "digits/baseline", "digits/batchnorm",
    ]  # fmt: skip
    assert rows[1].differences == {}
    assert rows[3].notes == ("data.name is not the baseline's: read the differences with care",)


def test_experiments_of_one_name_are_told_apart_by_their_folders(files):
    """Labels stay unique."""
    rows = rows_of(files, replace(files, path=Path("elsewhere")))
    assert [row.label for row in rows][::2] == ["results/fig1/baseline", "elsewhere/baseline"]


def test_an_unknown_baseline_is_an_error_with_a_suggestion(files):
    """Or with all names, where none is near."""
    with pytest.raises(ConfigError, match="no such variant; did you mean 'batchnorm'"):
        rows_of(files, baseline="batchnrm")
    with pytest.raises(ConfigError, match="there are baseline, batchnorm"):
        rows_of(files, baseline="x")


def grid_of(files, keys):
    """An experiment whose variants have these settings, with the logs of the given files."""
    runs, logs = {}, list(files.variants.values())
    for index, changes in enumerate(keys):
        model = replace(settings("batch", hidden=HIDDEN).model, **changes)
        changed = replace(settings("batch", hidden=HIDDEN), model=model)
        name = ",".join(f"{key}={value}" for key, value in changes.items())
        runs[name] = other(logs[index % len(logs)], name=name, settings=flatten(changed))
    return experiment_of(runs)


def test_each_variant_of_a_grid_is_compared_with_its_counterpart(files):
    """By default the first value of the last setting with two; or `key=value`."""
    keys = [
        {"activation": activation, "gamma": gamma}
        for activation in ("relu", "tanh", "sigmoid")
        for gamma in (True, False)
    ]
    grid = grid_of(files, keys)
    assert [row.baseline for row in rows_of(grid)] == [
        None, "activation=relu,gamma=True", None, "activation=tanh,gamma=True", None,
        "activation=sigmoid,gamma=True",
    ]  # fmt: skip
    assert [row.baseline for row in rows_of(grid, baseline="model.gamma=false")] == [
        "activation=relu,gamma=False", None, "activation=tanh,gamma=False", None,
        "activation=sigmoid,gamma=False", None,
    ]  # fmt: skip
    by_activation = rows_of(grid, baseline="model.activation=tanh")
    assert by_activation[4].baseline == "activation=tanh,gamma=True"
    for asked, told in (
        ("model.gamma=3", "no variant has this value; there are true, false"),
        ("model.gama=true", "the variants differ in no setting model.gama; did you mean"),
        ("data.root=x", "the variants differ in no setting data.root; there are model.activation"),
    ):
        with pytest.raises(ConfigError, match=f"--baseline {re.escape(f'{asked}: {told}')}"):
            rows_of(grid, baseline=asked)


@pytest.mark.parametrize("written", ["0.5", "0.50", "5e-1"])
def test_the_number_of_a_baseline_may_be_written_in_any_way(files, written):
    """As in the filters of `bnexp runs`."""
    stds = (0.5, 1.5)
    keys = [{"weight_std": std, "gamma": gamma} for std in stds for gamma in (True, False)]
    rows = rows_of(grid_of(files, keys), baseline=f"model.weight_std={written}")
    assert [row.baseline for row in rows] == [
        None, None, "weight_std=0.5,gamma=True", "weight_std=0.5,gamma=False",
    ]  # fmt: skip


def test_the_gap_between_nets_that_should_be_equal_stands_in_the_row(files):
    """Whichever of the two is the baseline; nets that differ in more have none."""
    bias = grid_of(files, [{"bias": False}, {"bias": True, "bias_std": 1.0}])
    for baseline in bias.variants:
        rows = {row.label: row for row in rows_of(bias, baseline=baseline)}
        assert rows[baseline].percentile_gap is None
        (compared,) = (row for label, row in rows.items() if label != baseline)
        assert compared.percentile_gap > 0
    assert [row.percentile_gap for row in rows_of(files)] == [None, None]
