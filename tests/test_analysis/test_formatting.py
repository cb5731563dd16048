"""How numbers are written."""

import numpy as np
import pytest

from bnexp.analysis.formatting import number
from bnexp.analysis.statistics import over_seeds


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (2104371770.6548, ".4f", "2.1e9"),
        (-7299398293.4182, "+.4f", "-7.3e9"),
        (11604330778.6615, "+.4f", "+1.2e10"),
        (999_999.0, ".2f", "999999.00"),
        (1_200_000, ",", "1,200,000"),
        (1_200_000.0, ",.0f", "1,200,000"),
        (0.00002, ".4f", "2e-05"),
        (float("inf"), ".2f", "inf"),
    ],
)
def test_a_number_has_no_more_digits_than_a_reader_can_use(value, form, text):
    """A huge one has two, in the form of a power of ten; counts and steps keep theirs."""
    assert number(value, form) == text


def test_the_mean_and_interval_of_a_huge_number_are_short():
    """The loss of networks that diverged."""
    over = over_seeds(np.array([1.5e9, 2.7e9]))
    assert over.text(".4f") == "2.1e9 ±7.6e9"
    assert over.range_text("+.4f") == "+2.1e9 [-5.5e9, +9.7e9]"
