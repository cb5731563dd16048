"""What a check is, and how its verdict and numbers are put into words."""

import ast
from pathlib import Path

import numpy as np
import torch

import bnexp.verify
from bnexp.verify.check import (
    Verdict,
    check,
    closing_line,
    found,
    largest,
    not_tested,
)


@check(3, "somebody", "2")
def two(value):
    """One and one is two.

    This is the derivation.
    """
    return not_tested("nothing") if value is None else found(value == 2, f"{value}")


def test_the_claim_is_the_first_line_of_the_docstring():
    """Its full stop is left out, and what follows it is not part of it."""
    made = two(2)
    assert (made.number, made.claim, made.source) == (3, "One and one is two", "somebody")
    assert (made.expected, made.measured, made.verdict) == ("2", "2", Verdict.HOLDS)
    assert made.about("numbers").claim == "numbers: One and one is two"


def test_a_check_prints_its_verdict_first_and_shouts_a_failure():
    """The columns are the same for each verdict."""
    lines = [two(value).lines().splitlines() for value in (2, 3, None)]
    assert [each[0] for each in lines] == [
        "holds       3  One and one is two",
        "FAILS       3  One and one is two",
        "not tested  3  One and one is two",
    ]
    assert lines[1][1:] == [
        "               somebody",
        "               expected 2",
        "               measured 3",
    ]


def test_no_two_checks_have_one_number():
    """A reader of the output finds the check by its number."""
    numbers = [
        decorator.args[0].value
        for path in Path(bnexp.verify.__file__).parent.glob("*.py")
        for function in ast.parse(path.read_text()).body
        if isinstance(function, ast.FunctionDef)
        for decorator in function.decorator_list
        if ast.unparse(decorator).startswith("check(")
    ]
    assert sorted(numbers) == [*range(1, 35)]


def test_the_closing_line_counts_every_verdict():
    """So that missing evidence is not taken for agreement."""
    checks = [two(value) for value in (2, 2, 3, None)]
    assert closing_line(checks) == "2 hold, 1 fails, 1 not tested"
    assert closing_line(checks[:1]) == "1 holds, 0 fail, 0 not tested"


def test_the_largest_value_of_several_arrays_is_nan_if_there_is_one():
    """Every comparison with NaN is false, so no verdict can overlook it."""
    values = np.array([1.0, -3.0]), torch.tensor([2.0], requires_grad=True), 0.5
    assert largest(*values) == 3
    assert np.isnan(largest(*values, float("nan")))
    assert np.isnan(largest(np.array([np.nan, 5.0]), 7.0))
