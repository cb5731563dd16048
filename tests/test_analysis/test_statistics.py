"""Intervals, equivalence and corrections, against scipy."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats import weightstats
from statsmodels.stats.multitest import multipletests

from bnexp.analysis.statistics import (
    exploratory_verdict,
    holm,
    is_equivalent,
    over_seeds,
    p_value,
    primary_verdict,
    probability_over_seeds,
    seeds_to_decide,
    steps_to,
    superiority,
)


def gaps(mean, sd=1.0, n=6):
    """Differences with exactly this mean and standard deviation."""
    z = stats.zscore(np.random.default_rng(0).standard_normal(n), ddof=1)
    return mean + sd * z


def test_the_interval_is_the_t_interval_of_scipy():
    """Mean and both ends, to 1e-12."""
    values = np.array([0.97, 0.981, 0.975, 0.969, 0.978])
    found = over_seeds(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert found.mean == pytest.approx(values.mean())
    assert found.per_seed == tuple(values)


def test_the_p_value_is_that_of_the_paired_t_test():
    """To 1e-9; 1 where nothing differs, 0 where all differ by the same."""
    rng = np.random.default_rng(1)
    a, b = rng.random(5), rng.random(5)
    assert p_value(a - b) == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    assert p_value(np.zeros(4)) == 1
    assert p_value(np.ones(4)) == 0
    assert np.isnan(p_value(np.ones(1)))
    assert np.isnan(p_value(np.array([1.0, np.nan])))


@pytest.mark.parametrize("mean", [0.0, 0.3, -0.55, 0.9])
@pytest.mark.parametrize("n", [3, 8, 30])
def test_equivalence_is_two_one_sided_t_tests_at_five_percent(mean, n):
    """As scipy makes them."""
    values = gaps(mean, 0.6, n)
    lower = stats.ttest_1samp(values, -1, alternative="greater").pvalue
    upper = stats.ttest_1samp(values, 1, alternative="less").pvalue
    assert is_equivalent(values, 1.0) == (max(lower, upper) < 0.05)


def test_holms_correction_is_the_textbooks():
    """Smallest times m, next times m - 1, never falling, at most 1; NaN does not count."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    corrected = holm([float("nan"), 0.02])
    assert np.isnan(corrected[0])
    assert corrected[1] == 0.02
    assert holm([]) == []


def test_holms_correction_and_equivalence_are_those_of_statsmodels():
    """To 1e-12, for random p-values and differences."""
    rng = np.random.default_rng(3)
    for n in (1, 2, 7, 20):
        p_values = rng.random(n) ** 3
        expected = multipletests(p_values, method="holm")[1]
        assert holm([*p_values]) == pytest.approx(expected, rel=1e-12)
    for mean in (0.0, 0.4, 0.8):
        values = gaps(mean, 0.5, 9)
        p = weightstats.DescrStatsW(values).ttost_mean(-1, 1)[0]
        assert is_equivalent(values, 1.0) == (p < 0.05)


def test_an_interval_of_probabilities_does_not_leave_0_to_1():
    """Nor does its text, which gives both ends."""
    found = probability_over_seeds(np.array([1.0, 0.98, 1.0]))
    assert found.high == 1.0
    assert found.low == over_seeds(np.array([1.0, 0.98, 1.0])).low
    assert found.range_text(".2f") == f"0.99 [{found.low:.2f}, 1.00]"
    assert probability_over_seeds(np.array([0.7])).range_text(".1f") == "0.7"


def test_holms_correction_keeps_the_error_of_the_family():
    """With no effect anywhere, one of ten tests is significant in about 5 % of the families."""
    rng = np.random.default_rng(0)
    families = [
        min(holm([p_value(x) for x in rng.standard_normal((10, 5))])) < 0.05 for _ in range(400)
    ]
    assert 0.01 < np.mean(families) < 0.09


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (gaps(0.01, 0.001), "higher"),
        (gaps(-0.01, 0.001), "lower"),
        (gaps(0.0, 0.0002), "equivalent within 0.001"),
        (gaps(0.0004, 0.0002), "equivalent within 0.001, though higher"),
        (gaps(0.0, 0.002), "undecided; about 13 seeds would decide"),
        (gaps(0.001, 0.1), "undecided; more than 1,000 seeds would decide"),
        (np.zeros(5), "equivalent within 0.001"),
        (np.array([1.0]), "one seed: no interval"),
        (np.array([1.0, np.nan]), "not reached by every seed"),
    ],
)
def test_the_primary_verdict_says_equivalent_different_or_how_many_seeds_would_decide(
    values, words
):
    """Never "no difference seen", which says nothing."""
    assert primary_verdict(values, 0.001) == words


def test_with_the_advised_number_of_seeds_the_question_is_decided():
    """Where the mean and the spread stay what they are."""
    for mean, sd in ((0.0, 0.002), (0.0003, 0.002), (0.0008, 0.003)):
        n = seeds_to_decide(gaps(mean, sd), 0.001)
        assert "undecided" not in primary_verdict(gaps(mean, sd, n), 0.001)
        assert "undecided" in primary_verdict(gaps(mean, sd, n - 1), 0.001)


def test_an_exploratory_verdict_needs_the_corrected_p_value():
    """Its interval alone is not enough."""
    over = over_seeds(gaps(1.5))
    assert over.low > 0
    assert exploratory_verdict(over, 0.2) == "no difference shown"
    assert exploratory_verdict(over, 0.01) == "higher"
    assert exploratory_verdict(over_seeds(-gaps(1.5)), 0.01) == "lower"
    assert exploratory_verdict(over_seeds(np.array([1.0])), float("nan")) == "one seed: no interval"


def test_superiority_is_the_mann_whitney_statistic_of_each_seed():
    """U over the number of pairs, ties counting half, as scipy has it; never above 1."""
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 9, (3, 20)), rng.integers(2, 12, (3, 30))
    found = superiority(first.astype(float), second.astype(float))
    pairs = zip(first, second, strict=True)
    expected = [stats.mannwhitneyu(b, a).statistic / (20 * 30) for a, b in pairs]
    assert found == pytest.approx(expected)
    assert np.isnan(superiority(np.array([[np.nan, 1.0]]), np.array([[2.0]]))).all()


def test_steps_to_an_accuracy_are_its_first_touch_and_from_when_it_stays():
    """A later drop below the threshold counts for the second alone."""
    accuracy = np.array([[0.5, 0.5], [0.95, 0.6], [0.94, 0.7], [0.96, 0.8]])
    first, stays = steps_to(np.array([0, 10, 20, 30]), accuracy, 0.95)
    assert (first[0], stays[0]) == (10, 30)
    assert np.isnan([first[1], stays[1]]).all()


def test_the_text_over_seeds_has_the_half_interval_where_there_is_one():
    """And words where there is no mean."""
    assert over_seeds(np.array([1.0, 1.0])).text("+.2f") == "+1.00 ±0.00"
    assert over_seeds(np.array([0.5])).text(".1f") == "0.5"
    some, none = np.array([500, np.nan]), np.array([np.nan, np.nan])
    assert over_seeds(some).text(",.0f") == "not by every seed"  # a step
    assert over_seeds(none).text(",.0f") == "by no seed"
    assert over_seeds(some).text(".1f") == "not of every seed"  # a number that it has
    assert over_seeds(none).text(".1f") == "-"
