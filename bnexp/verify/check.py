"""What a check of `bnexp verify` is: a claim, what it predicts, what was measured, a verdict.

A claim about a number is judged by its 95 % t-interval over seeds. It holds where the interval lies
on the claimed side, and fails where it lies on the other. It is not tested where the interval
reaches over both, or where there is one seed and so no interval.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, ParamSpec

import numpy as np

from bnexp.analysis.statistics import OverSeeds

if TYPE_CHECKING:  # whoever reads results only need not have it
    import torch
    from numpy.typing import NDArray

P = ParamSpec("P")
ONE_SEED = "one seed, and so no interval"


class Verdict(StrEnum):
    """What a measurement says of a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    NOT_TESTED = "not tested"  # the evidence is missing, so the claim is neither shown nor refuted


@dataclass(frozen=True)
class Check:
    """One claim and what came of it.

    Attributes:
        number: of the claim.
        claim: a plain sentence without its full stop.
        source: where the claim is made. Sections, algorithms and figures are those of Ioffe &
            Szegedy (2015) where no other source is named.
        expected: what the claim predicts, with the tolerance.
        measured: what was found.
        verdict: whether the two agree.
    """

    number: int
    claim: str
    source: str
    expected: str
    measured: str
    verdict: Verdict

    def about(self, subject: str) -> "Check":
        """The same check, with a claim that begins with the name of what was checked."""
        return replace(self, claim=f"{subject}: {self.claim}")

    def lines(self) -> str:
        """The check as `bnexp verify` prints it."""
        verdict = self.verdict.upper() if self.verdict is Verdict.FAILS else self.verdict
        return (
            f"{verdict:<10} {self.number:2}  {self.claim}\n"
            f"               {self.source}\n"
            f"               expected {self.expected}\n"
            f"               measured {self.measured}"
        )


@dataclass(frozen=True)
class Finding:
    """What the function of a check returns: the half of a `Check` that has to be computed."""

    verdict: Verdict
    measured: str


def found(holds: bool | np.bool, measured: str) -> Finding:  # noqa: FBT001  (the verdict is the point)
    """The finding of a claim that was tested."""
    return Finding(Verdict.HOLDS if holds else Verdict.FAILS, measured)


def not_tested(measured: str) -> Finding:
    """The finding of a claim for which the evidence is missing; the text says what is missing."""
    return Finding(Verdict.NOT_TESTED, measured)


def above(over: OverSeeds, threshold: float) -> bool | None:
    """Whether a number is above a threshold; `None` where its interval reaches over both sides."""
    if over.low > threshold:
        return True
    return False if over.high <= threshold else None


def below(over: OverSeeds, threshold: float) -> bool | None:
    """Whether it is below; `None` where its interval reaches over both sides."""
    if over.high < threshold:
        return True
    return False if over.low >= threshold else None


def decided(measured: str, seeds: int, *answers: bool | None) -> Finding:
    """The finding of a claim that holds if all answers are yes, and fails if one is no."""
    if False not in answers and None in answers:
        return not_tested(f"{measured}: {ONE_SEED if seeds == 1 else 'too few seeds to decide'}")
    return found(False not in answers, measured)


def check(
    number: int, source: str, expected: str
) -> Callable[[Callable[P, Finding]], Callable[P, Check]]:
    """Make a check of a function that measures.

    The first line of the function's docstring is the claim, as a sentence. What follows is its
    derivation, in formulas and whole sentences that need nothing of the code to be understood.
    """

    def decorate(measure: Callable[P, Finding]) -> Callable[P, Check]:
        claim = (measure.__doc__ or "").partition("\n")[0].rstrip(".")

        @functools.wraps(measure)
        def run(*args: P.args, **kwargs: P.kwargs) -> Check:
            finding = measure(*args, **kwargs)
            return Check(number, claim, source, expected, finding.measured, finding.verdict)

        return run

    return decorate


def closing_line(checks: Sequence[Check]) -> str:
    """How many checks came to each verdict, such as `15 hold, 1 fails, 1 not tested`."""
    holds, fails, missing = (sum(each.verdict is v for each in checks) for v in Verdict)
    return (
        f"{holds} {'holds' if holds == 1 else 'hold'}, "
        f"{fails} {'fails' if fails == 1 else 'fail'}, {missing} not tested"
    )


def largest(*values: "torch.Tensor | NDArray[np.floating] | float") -> float:
    """The largest absolute value of all; NaN if there is one, so that no verdict overlooks it."""
    arrays = (
        value if isinstance(value, float | np.ndarray) else value.detach() for value in values
    )
    return float(np.max([float(np.abs(np.asarray(array)).max()) for array in arrays]))
