"""What a check of `bnexp verify` is, and how its numbers are put."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis import measures as analysis

Values = NDArray[Any]
Finding = tuple[bool, str]  # whether the claim holds, and what was measured
P = ParamSpec("P")


@dataclass(frozen=True)
class Check:
    """A claim, who says so (Ioffe & Szegedy 2015, if no other), and what came of it."""

    number: int
    claim: str
    source: str
    expected: str
    measured: str
    holds: bool

    def about(self, subject: str) -> "Check":
        """The same, with a claim that names its subject."""
        return replace(self, claim=f"{subject}: {self.claim}")


def check(
    number: int, source: str, expected: str
) -> Callable[[Callable[P, Finding]], Callable[P, Check]]:
    """Make a check of a function that measures; the first line of its docstring is the claim."""

    def decorate(measure: Callable[P, Finding]) -> Callable[P, Check]:
        claim = (measure.__doc__ or "").partition("\n")[0].rstrip(".")

        @functools.wraps(measure)
        def run(*args: P.args, **kwargs: P.kwargs) -> Check:
            holds, measured = measure(*args, **kwargs)
            return Check(number, claim, source, expected, measured, bool(holds))

        return run

    return decorate


def largest(values: Values | Sequence[float]) -> float:
    """The largest absolute value; NaN if there is one, so that no verdict overlooks it."""
    return float(np.abs(values).max())


def bounds(values: Values) -> tuple[float, float]:
    """Ends of the 95 % t-interval of the mean over seeds; of one seed, its value twice."""
    found = analysis.interval(values)
    return (found.low, found.high) if len(values) > 1 else (found.mean, found.mean)


def text(values: Values, form: str) -> str:
    """The mean over seeds and its 95 % t-interval, such as `0.21 ±0.01`."""
    low, high = bounds(values)
    if np.isnan(low):
        return "not by every seed"
    half = f" ±{(high - low) / 2:{form.lstrip('+')}}" if len(values) > 1 else ""
    return f"{values.mean():{form}}{half}"
