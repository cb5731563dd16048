"""What the checks of the paper's claims say of curves whose answer is known."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from helpers.synthetic import experiment_of, fig1, other

from bnexp.analysis.measuring import measure
from bnexp.errors import ConfigError, StorageError
from bnexp.verify import claims, claims_of_percentiles, suite, trained
from bnexp.verify.check import Verdict


def verdicts(checks):
    """The verdict of each check, by number; each number stands once here."""
    return {check.number: check.verdict for check in checks}


def checks(experiment):
    """The claims of an experiment whose logs are there."""
    return claims.checks(measure(experiment), experiment)


def exchange(experiment, *logs):
    """Give each of the two networks these logs of the other one."""
    first, second = experiment.variants.values()
    for name in logs:
        vars(first)[name], vars(second)[name] = vars(second)[name], vars(first)[name]


def gamma_pair(activation, loss, accuracy, seeds=5):
    """A variant with gamma and one without, whose last row is worse by these amounts on average."""
    base = next(iter(fig1(rows=11, seeds=seeds).variants.values()))
    settings = dict(base.settings) | {"model.norm": "batch", "model.activation": activation}
    metrics, noise = base.metrics, np.linspace(-1, 1, seeds)
    bare = replace(
        metrics,
        train_loss=metrics.train_loss + loss + 1e-3 * noise,
        test_accuracy=metrics.test_accuracy + accuracy + 1e-3 * noise,
    )
    full = other(base, name="with", settings=settings | {"model.gamma": True})
    other_settings = settings | {"model.gamma": False}
    without = other(base, name="without", settings=other_settings, metrics=bare)
    numbers = measure(experiment_of({"with": full, "without": without})).variants
    return numbers["with"], numbers["without"]


def test_the_papers_claims_hold_for_curves_like_the_papers():
    """Each claim once, and the distance to the figure for both networks."""
    found = list(checks(fig1()))
    assert [check.number for check in found] == [21, 22, 23, 24, 25, 26, 28, 29, 27, 27]
    # Gamma and beta are not recorded, so that what they explain is not known.
    assert [check.number for check in found if check.verdict is not Verdict.HOLDS] == [28]
    json.dumps([asdict(check) for check in found])


def test_claims_fail_where_the_networks_are_exchanged():
    """The plain network's curves under the name of the normalized one, and the other way round."""
    experiment = fig1()
    exchange(experiment, "metrics", "probe")
    found = verdicts(checks(experiment))
    assert [found[number] for number in (21, 22, 23, 24, 25)] == [Verdict.FAILS] * 5


def test_claims_fail_for_widths_that_shrink_and_accuracies_far_from_the_papers():
    """Logs backwards in time; 10 points less for both networks."""
    experiment = fig1()
    for variant in experiment.variants.values():
        variant.probe.values[...] = variant.probe.values[::-1].copy()
        variant.metrics.test_accuracy[...] -= 0.1
    found = verdicts(checks(experiment))
    assert [found[number] for number in (26, 27)] == [Verdict.FAILS] * 2


def test_widths_of_a_network_that_diverged_are_short_to_read():
    """A number with 30 digits hides the rest of the line."""
    experiment = fig1(rows=11)
    for variant in experiment.variants.values():
        variant.probe.values[...] *= 1e30
    (wider,) = (check for check in checks(experiment) if check.number == 26)
    assert wider.measured.count("e30") == 3
    assert len(wider.measured) < 60


def test_the_end_of_a_run_is_not_said_to_be_of_2000_steps_where_it_is_shorter():
    """The claim is the same text for every experiment; --explain says how long the end is."""
    (higher,) = (check for check in checks(fig1(rows=11)) if check.number == 22)
    assert higher.claim.endswith("the mean over the evaluations at the end of the run")


def test_steps_to_an_accuracy_are_not_tested_where_neither_network_reaches_it():
    """Missing evidence is no failure, and the text says what is missing."""
    experiment = fig1(rows=11)
    for variant in experiment.variants.values():
        variant.metrics.test_accuracy[...] *= 0.5
    (faster,) = (check for check in checks(experiment) if check.number == 21)
    assert faster.verdict is Verdict.NOT_TESTED
    assert "neither network gets to 90 %" in faster.measured


def test_a_network_that_does_not_reach_an_accuracy_is_the_slower_one():
    """The claim holds where that is the plain network, and fails where it is the other one."""
    experiment = fig1(rows=11)
    experiment.variants["baseline"].metrics.test_accuracy[...] *= 0.5
    assert verdicts(checks(experiment))[21] is Verdict.HOLDS
    exchange(experiment, "metrics")
    assert verdicts(checks(experiment))[21] is Verdict.FAILS


def test_one_seed_has_no_interval_and_so_tests_no_claim_about_a_difference():
    """The distance to the paper's curves needs none, and is judged."""
    found = verdicts(checks(fig1(rows=11, seeds=1)))
    assert {number for number, v in found.items() if v is Verdict.NOT_TESTED} >= {
        22,
        23,
        24,
        25,
        26,
    }


def test_claims_about_percentiles_are_not_tested_without_a_probe():
    """Those about accuracy are."""
    experiment = fig1(rows=11)
    for variant in experiment.variants.values():
        vars(variant)["probe"] = None
    found = verdicts(checks(experiment))
    assert {found[number] for number in (23, 24, 25, 26)} == {Verdict.NOT_TESTED}
    assert found[22] is Verdict.HOLDS


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.1, 0.11, 0.12], Verdict.HOLDS),
        ([-0.1, -0.11, -0.12], Verdict.FAILS),
        ([-0.1, 0.02, 0.15], Verdict.NOT_TESTED),
    ],
)
def test_a_difference_whose_interval_reaches_over_both_sides_decides_nothing(values, verdict):
    """Few seeds are no evidence against a claim; an interval on the other side is."""
    accuracy = np.array(values)
    found = claims.higher({"test_accuracy": accuracy}, {"test_accuracy": 0 * accuracy})
    assert found.verdict is verdict
    assert ("too few seeds" in found.measured) == (verdict is Verdict.NOT_TESTED)


def explained(share, seeds=4):
    """Measures of a network whose P_15 and P_85 are explained by gamma and beta to this share."""
    values = share + 1e-3 * np.arange(seeds)
    return {"explained_15": values, "explained_50": values - share, "explained_85": values}


@pytest.mark.parametrize(("share", "verdict"), [(0.93, Verdict.HOLDS), (0.5, Verdict.FAILS)])
def test_percentiles_are_said_to_follow_gamma_and_beta_where_they_do(share, verdict):
    """Check 28: the share for the median is told, and decides nothing."""
    found = claims_of_percentiles.concentrated(explained(share))
    assert found.verdict is verdict
    assert f"P_15 {share + 0.0015:.3f}" in found.measured
    assert (
        claims_of_percentiles.concentrated(explained(share, seeds=1)).verdict is Verdict.NOT_TESTED
    )
    assert claims_of_percentiles.concentrated({}).verdict is Verdict.NOT_TESTED


MOVING = (0.019, 0.020, 0.018, 0.019, 0.021)


@pytest.mark.parametrize(
    ("norm", "plain", "shift", "verdict"),
    [
        ((4.2, 4.1, 4.3, 4.2, 4.2), (3.3, 3.2, 3.4, 3.2, 3.3), MOVING, Verdict.HOLDS),
        ((3.3, 3.3, 3.4, 3.3, 3.4), (3.3, 3.2, 3.4, 3.2, 3.3), MOVING, Verdict.FAILS),
        ((4.2, 5.6), (3.3, 3.2), MOVING[:2], Verdict.NOT_TESTED),  # the interval reaches over 0
        ((4.2,), (3.3,), MOVING[:1], Verdict.NOT_TESTED),
        ((4.2, 4.1, 4.3), (3.3, 3.2, 3.3), (0.0, 0.0, 0.0), Verdict.FAILS),  # they stand still
        ((4.2, 4.1, 4.3), (3.3, 3.2, 3.3), (0.0, 0.0, 0.02), Verdict.NOT_TESTED),
        ((4.2, 4.1, 4.3), (3.3, 3.2, 3.3), (np.nan,) * 3, Verdict.NOT_TESTED),  # a short run
    ],
)
def test_ends_fail_to_differ_only_where_the_evidence_is_against_it(norm, plain, shift, verdict):
    """Check 29: widths within a tenth, or no shift, fail; too few seeds decide nothing."""
    ends = (
        {"end_width": np.array(width), "late_shift": np.array(shift)} for width in (norm, plain)
    )
    assert claims_of_percentiles.different_ends(*ends).verdict is verdict


def test_claims_of_a_network_that_did_not_learn_say_so():
    """More seeds would not help."""
    learned = {"median_range": np.array([0.1, 0.2]), "width_range": np.array([0.5, 0.6])}
    stuck = {name: np.array([0.1, np.nan]) for name in learned}
    found = [
        claims_of_percentiles.changes(stuck),
        claims_of_percentiles.flat(stuck, learned),
        claims_of_percentiles.flat(learned, stuck),
    ]
    for each in found:
        assert each.verdict is Verdict.NOT_TESTED
        assert each.measured == claims_of_percentiles.NOT_LEARNED


def test_networks_that_end_alike_are_not_said_to_end_at_different_points():
    """Check 29, for networks of equal curves."""
    experiment = fig1(rows=101)
    first, second = experiment.variants.values()
    vars(second)["probe"] = first.probe
    assert verdicts(checks(experiment))[29] is Verdict.FAILS


@pytest.mark.parametrize(
    ("activation", "loss", "accuracy", "verdict"),
    [
        ("sigmoid", 0.02, -0.006, Verdict.HOLDS),  # a higher loss without gamma
        ("tanh", -0.02, 0.0, Verdict.FAILS),  # a lower one
        ("sigmoid", 1e-5, 0.0, Verdict.NOT_TESTED),  # the seeds do not agree on the sign
        ("relu", 1e-4, 0.0007, Verdict.HOLDS),  # an effect below the margin
        ("relu", 1e-4, -0.02, Verdict.FAILS),  # one above it
        ("identity", 1e-4, -0.005, Verdict.NOT_TESTED),  # one on the margin
    ],
)
def test_leaving_gamma_out_is_judged_by_what_the_activation_lets_the_weights_do(
    activation, loss, accuracy, verdict
):
    """Check 33: a margin where gamma folds, a higher training loss where it does not."""
    assert claims.gamma(*gamma_pair(activation, loss, accuracy)).verdict is verdict


def test_networks_with_and_without_gamma_that_train_alike_to_the_bit_fail():
    """Then gamma was not there."""
    first, second = gamma_pair("relu", 0.0, 0.0)
    same = replace(second, measures=first.measures)
    found = claims.gamma(first, same)
    assert found.verdict is Verdict.FAILS


def test_one_pair_with_and_without_gamma_cannot_show_a_difference():
    """One seed has no interval."""
    assert claims.gamma(*gamma_pair("relu", 0.1, 0.0, seeds=1)).verdict is Verdict.NOT_TESTED


def test_a_model_of_the_users_own_is_not_judged_as_one_of_bnexps_networks():
    """The checks would look for another network, on another data set."""
    files = fig1(rows=11, seeds=2)
    run = files.variants["baseline"]
    probe = replace(run.probe, names=("norm1", "norm2", "norm3"))
    recorded = other(run, settings={"model.norm": "batch"}, probe=probe)
    with pytest.raises(ConfigError, match="recorded of a model of your own"):
        suite.experiment_checks(replace(files, variants={"baseline": recorded}))


def test_an_experiment_without_a_finished_run_is_refused():
    """The error says what to do."""
    nothing = replace(fig1(rows=11, seeds=2), variants={})
    with pytest.raises(StorageError, match=r"fig1: no finished run; `bnexp train` finishes it"):
        suite.experiment_checks(nothing)
    with pytest.raises(StorageError):
        trained.finished(nothing)
