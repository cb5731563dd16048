"""A claim about a number, judged by its 95 % t-interval over seeds.

It holds where the interval lies on the claimed side, and fails where it lies on the other. It is
not tested where the interval reaches over both, or where there is one seed and so no interval.
"""

from bnexp.analysis.statistics import OverSeeds
from bnexp.verify.check import Finding, found, not_tested

ONE_SEED = "one seed, and so no interval"


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


def decided(text: str, *answers: bool | None) -> Finding:
    """The finding of a claim that holds if all answers are yes, and fails if one is no."""
    if False in answers:
        return found(holds=False, measured=text)
    if None in answers:
        return not_tested(f"{text}: too few seeds to decide")
    return found(holds=True, measured=text)
