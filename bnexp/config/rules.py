"""The rules that a value must keep beside its type, and the types of names, seeds and numbers."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

# A rule says what must hold of a value, and what an error says where it does not. Rules stand
# beside the type in `Annotated`.
Rule = tuple[Callable[[Any], object], str]


def within(low: float, high: float) -> Rule:
    """The rule `low <= value <= high`."""
    return lambda value: low <= value <= high, f"must be {low} to {high}"


def of_length(most: int) -> Rule:
    """The rule that a list holds 1 to `most` values."""
    return lambda items: 1 <= len(items) <= most, f"must hold 1 to {most} values"


def violation(rules: Iterable[Rule], value: object) -> str | None:
    """What an error says of the first rule that a value breaks; `None` if it breaks none."""
    return next((problem for holds, problem in rules if not holds(value)), None)


def repeated(items: Sequence[object]) -> str:
    """The first value of a list that stands there twice, as text; empty if none does."""
    seen = set[object]()
    # `add` returns None, so a value counts as seen from its second place on.
    again = next((x for x in items if x in seen or seen.add(x)), "")  # type: ignore[func-returns-value]
    if isinstance(again, str):
        return again
    return f"{again:g}" if isinstance(again, float) else json.dumps(again)


ABOVE_0: Rule = (lambda value: value > 0, "must be above 0")
AT_LEAST_0: Rule = (lambda value: value >= 0, "must be at least 0")
PRINTABLE: Rule = (lambda text: text and text.isprintable(), "must be printable text")
UNIQUE: Rule = (lambda items: len({*items}) == len(items), "must hold each value once")
NOT_EMPTY: Rule = (len, "must be a list of at least one value")
RISING: Rule = (lambda x: [*x] == sorted({*x}), "must be in ascending order, each value once")

# A name becomes a folder beside the experiment's own files, on any system.
_LETTERS = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.,=+-]{0,98}[A-Za-z0-9_])?")
_NOT_OURS = re.compile(
    r"(?!(config\.yaml|summary\.json|report\.html|figures|export)$)", re.IGNORECASE
)
_NO_DEVICE = re.compile(r"(?!(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$))", re.IGNORECASE)
NAME_RULES: tuple[Rule, ...] = (
    (
        _LETTERS.fullmatch,
        "must be 1 to 100 letters, digits or _; between them . , = + - are allowed too",
    ),
    (_NOT_OURS.match, "must not be the name of one of the experiment's own files"),
    (_NO_DEVICE.match, "must not be a name that Windows keeps for a device"),
)


def is_name(text: str) -> bool:
    """Whether a text can be the name of an experiment, or of a variant."""
    return violation(NAME_RULES, text) is None


Name = Annotated[str, *NAME_RULES]
Seed = Annotated[int, within(0, 2**32 - 1)]
# A number n stands for the seeds 0 to n - 1.
Seeds = Annotated[int, within(1, 10_000)] | Annotated[tuple[Seed, ...], of_length(10_000), UNIQUE]
Units = Annotated[int, within(1, 100_000)]
Count = Annotated[int, within(1, 10**9)]
Percentile = Annotated[float, within(0, 100)]
Positive = Annotated[float, ABOVE_0]
NotNegative = Annotated[float, AT_LEAST_0]
