"""summary.json and the rows of compare, against computations of their own from the same logs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.synthetic import experiment_of, fig1, other, settings
from scipy import stats

from bnexp.analysis.summary import compare, measures, summarize, varied
from bnexp.config import flatten
from bnexp.errors import ConfigError

HIDDEN = (4, 3, 6)


@pytest.fixture(scope="module")
def files():
    """A small experiment with made-up curves."""
    return fig1(rows=101, seeds=4, hidden=HIDDEN)


def with_seeds(run, seeds):
    """Those seeds of the run, in that order."""
    rows = {
        name: getattr(run.metrics, name)[:, list(seeds)]
        for name in ("train_loss", "test_accuracy", "test_loss", "bias_norm", "bias_gradient_norm")
    }
    probe = replace(run.probe, values=run.probe.values[:, list(seeds)], seeds=tuple(seeds))
    return other(run, metrics=replace(run.metrics, seeds=tuple(seeds), **rows), probe=probe)


def test_summary_is_strict_json_and_names_what_differs(files):
    """No NaN; both variants, their settings, and the pair they make."""
    summary = json.loads(json.dumps(summarize(files), allow_nan=False))
    assert list(summary["variants"]) == ["baseline", "batchnorm"]
    assert summary["variants"]["baseline"]["settings"] == {"model.bias": True, "model.norm": "none"}
    assert summary["variants"]["batchnorm"]["parameters"] == 99_710
    assert [(pair["norm"], pair["plain"]) for pair in summary["comparisons"]] == [
        ("batchnorm", "baseline")
    ]


def test_measures_of_the_last_hidden_layer_are_medians_over_its_units(files):
    """Against the log's values and scipy."""
    run = files.variants["baseline"]
    summary = summarize(files)["variants"]["baseline"]
    values = run.probe.values[..., -6:].astype(float)
    median = values[:, :, 1]
    sigma = (values[-1, :, 2] - values[-1, :, 0]) / 2.0729
    ranges = (median.max(0) - median.min(0)) / sigma
    assert summary["measures"]["median_range"]["per_seed"] == pytest.approx(
        np.median(ranges, axis=1), rel=1e-4
    )
    assert summary["median_of_all_units"]["median_range"] == pytest.approx(
        np.median(ranges), rel=1e-4
    )
    accuracy = run.metrics.test_accuracy[-1]
    low, high = stats.t.interval(0.95, 3, accuracy.mean(), stats.sem(accuracy))
    found = summary["measures"]["test_accuracy"]
    assert (found["low"], found["high"]) == pytest.approx((low, high))


def test_the_typical_unit_of_the_summary_is_a_unit_of_the_log(files):
    """With as many narrower units as the lower median has."""
    run = files.variants["batchnorm"]
    end = summarize(files)["variants"]["batchnorm"]["end"]
    column = sum(HIDDEN[:2]) + end["typical_index"]
    assert end["typical_unit"] == run.probe.values[-1, end["typical_seed"], :, column].tolist()
    widths = run.probe.values[-1, :, 2, -6:] - run.probe.values[-1, :, 0, -6:]
    mine = end["typical_unit"][2] - end["typical_unit"][0]
    assert np.sum(widths < mine) == (widths.size - 1) // 2


def test_the_paper_is_compared_only_with_finished_runs_of_its_settings(files):
    """Not with other hidden layers, nor with a run under way."""
    assert summarize(files)["paper"] == {}  # the hidden layers are not the paper's
    whole = fig1(rows=51, seeds=2)
    distance = summarize(whole)["paper"]
    assert distance["baseline"]["panel"] == "b"
    assert len(distance["batchnorm"]["end_percentiles"]) == 3
    baseline = whole.variants["baseline"]
    whole.variants["baseline"] = other(baseline, state="running")
    assert list(summarize(whole)["paper"]) == ["batchnorm"]


def test_differences_are_those_of_a_paired_t_test(files):
    """Every measure of compare, against scipy."""
    base, norm = compare([files])
    assert base["differences"] is None
    mine, theirs = (measures(files.variants[name]) for name in ("batchnorm", "baseline"))
    for name, found in norm["differences"].items():
        if np.isnan(mine[name] - theirs[name]).any():
            assert found["verdict"] == "not reached by every seed"
        else:
            expected = stats.ttest_rel(mine[name], theirs[name]).confidence_interval(0.95)
            assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert norm["differences"]["test_accuracy"]["verdict"] == "higher"
    assert norm["differences"]["settle_0.2"]["verdict"] == "lower"


def test_runs_are_paired_by_seed_whatever_their_order(files):
    """A stack in another order gives the same differences."""
    runs = files.variants | {"batchnorm": with_seeds(files.variants["batchnorm"], (3, 1, 0, 2))}
    shuffled = compare([replace(files, variants=runs)])[1]["differences"]["test_accuracy"]
    straight = compare([files])[1]["differences"]["test_accuracy"]
    assert sorted(shuffled["per_seed"]) == pytest.approx(sorted(straight["per_seed"]))


def test_only_common_seeds_are_paired_and_a_note_says_so(files):
    """Of seeds 1, 3 and 0 to 3: two pairs."""
    runs = files.variants | {"batchnorm": with_seeds(files.variants["batchnorm"], (1, 3))}
    row = compare([replace(files, variants=runs)])[1]
    assert len(row["differences"]["test_accuracy"]["per_seed"]) == 2
    assert row["notes"] == ["not the baseline's seeds: only those in common are paired"]


def test_without_a_common_seed_there_is_no_difference(files):
    """And the note says why."""
    runs = {
        "baseline": with_seeds(files.variants["baseline"], (0, 2)),
        "batchnorm": with_seeds(files.variants["batchnorm"], (1, 3)),
    }
    row = compare([replace(files, variants=runs)])[1]
    assert row["differences"] is None
    assert row["notes"] == ["not the baseline's seeds: only those in common are paired"]


def test_unfinished_and_missing_runs_are_named_and_not_compared(files):
    """On the row itself, and as a baseline."""
    unfinished = other(files.variants["baseline"], state="running", step=12_000)
    rows = compare([replace(files, variants={"baseline": unfinished})])
    assert rows[0]["notes"] == ["running (step 12,000)"]
    assert rows[1]["state"] == "not started"
    assert rows[1]["differences"] is None
    assert rows[1]["notes"] == [
        "not started (step 0)",
        "the baseline is not finished: running (step 12,000)",
    ]


def test_experiments_of_other_data_say_so(files):
    """Their labels hold the experiment, their difference a warning."""
    digits = fig1(rows=101, seeds=4, hidden=HIDDEN, data="digits")
    rows = compare([files, replace(digits, name="digits")], baseline="fig1/batchnorm")
    assert [row["label"] for row in rows] == [
        "fig1/baseline", "fig1/batchnorm", "digits/baseline", "digits/batchnorm",
    ]  # fmt: skip
    assert rows[1]["differences"] is None
    assert rows[3]["notes"] == ["data.name is not the baseline's: read the differences with care"]


def test_experiments_of_one_name_are_told_apart_by_their_folders(files):
    """Labels stay unique."""
    rows = compare([files, replace(files, path=Path("elsewhere"))])
    assert [row["label"] for row in rows][::2] == ["results/fig1/baseline", "elsewhere/baseline"]


def test_an_unknown_baseline_is_an_error_with_a_suggestion(files):
    """Or with all names, where none is near."""
    with pytest.raises(ConfigError, match="no such variant; did you mean 'batchnorm'"):
        compare([files], "batchnrm")
    with pytest.raises(ConfigError, match="there are baseline, batchnorm"):
        compare([files], "x")


def test_a_run_that_has_no_row_yet_is_summarized_without_numbers(files):
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
    summary = summarize(replace(files, variants=files.variants | {"baseline": began}))
    assert summary["variants"]["baseline"]["measures"] == {}
    assert summary["variants"]["baseline"]["end"] is None
    assert summary["comparisons"] == []


def test_without_a_probe_there_is_no_settle_step(files):
    """Minibatch noise is no settling; accuracy is still measured."""
    found = measures(other(files.variants["baseline"], probe=None))
    assert "test_accuracy" in found
    assert "settle_0.2" not in found


def test_where_the_data_lie_is_no_difference():
    """The learning rate is one."""
    a = settings()
    b = replace(a, data=replace(a.data, root="elsewhere"), train=replace(a.train, lr=0.2))
    assert varied([flatten(a), flatten(b)]) == ["train.lr"]


def test_normalized_nets_are_paired_with_the_plain_net_of_the_same_grid_cell():
    """And with no other; equal nets settle sooner half the time."""
    base = fig1(rows=21, seeds=2, hidden=HIDDEN).variants["baseline"]
    runs = {}
    for std in (0.05, 1.0):
        for norm in ("none", "batch"):
            name = f"{norm}_{std}"
            changed = flatten(settings(norm, hidden=HIDDEN, weight_std=std))
            runs[name] = other(base, name=name, settings=changed)
    pairs = summarize(experiment_of(runs))["comparisons"]
    assert [(pair["norm"], pair["plain"]) for pair in pairs] == [
        ("batch_0.05", "none_0.05"),
        ("batch_1.0", "none_1.0"),
    ]
    assert pairs[0]["sooner"]["settle_0.2"]["mean"] == 0.5  # equal nets


def test_a_diverged_run_has_no_numbers_where_it_is_not_finite(files):
    """None in the JSON, and no warning on the way."""
    run = files.variants["baseline"]
    values = run.probe.values.copy()
    values[60:], values[80:] = np.inf, np.nan
    diverged = other(run, probe=replace(run.probe, values=values), state="failed")
    summary = summarize(replace(files, variants=files.variants | {"baseline": diverged}))
    found = summary["variants"]["baseline"]["measures"]
    assert found["settle_0.2"]["per_seed"] == [None] * 4
    assert found["median_range"]["mean"] is None
    assert found["test_accuracy"]["mean"] is not None
    assert summary["comparisons"] == []


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
    assert [row["baseline"] for row in compare([grid])] == [
        None, "activation=relu,gamma=True", None, "activation=tanh,gamma=True", None,
        "activation=sigmoid,gamma=True",
    ]  # fmt: skip
    assert [row["baseline"] for row in compare([grid], "model.gamma=false")] == [
        "activation=relu,gamma=False", None, "activation=tanh,gamma=False", None,
        "activation=sigmoid,gamma=False", None,
    ]  # fmt: skip
    assert compare([grid], "model.activation=tanh")[4]["baseline"] == "activation=tanh,gamma=True"
    with pytest.raises(ConfigError, match=r"--baseline model\.gamma=3: no such variant"):
        compare([grid], "model.gamma=3")


def test_nets_that_differ_in_a_useless_bias_have_their_largest_percentile_gap(files):
    """It is that of the logs; nets that differ in more have none."""
    run = files.variants["batchnorm"]
    bias = grid_of(files, [{"bias": False}, {"bias": True, "bias_std": 1.0}])
    first, second = bias.variants
    moved = replace(run.probe, values=run.probe.values + np.float32(0.125))
    bias.variants[first] = other(bias.variants[first], probe=run.probe)
    bias.variants[second] = other(bias.variants[second], probe=moved)
    assert [row["percentile_gap"] for row in compare([bias])] == [
        None,
        pytest.approx(0.125, rel=1e-4),
    ]
    assert [row["percentile_gap"] for row in compare([files])] == [None, None]
