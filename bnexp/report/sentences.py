"""What an experiment shows, in one sentence; what made it; and numbers that know their place.

Every number that stands in summary.json carries its place there, so that a page can be held against
the file.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bnexp.analysis import summary
from bnexp.analysis.comparison import ComparedVariant, Comparison, Difference
from bnexp.analysis.formatting import counted, number
from bnexp.analysis.numbers import PRIMARY, ExperimentNumbers
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.statistics import OverSeeds
from bnexp.files.status import Provenance


@dataclass(frozen=True)
class Number:
    """A number of a text.

    Attributes:
        text: as it is shown.
        value: as summary.json has it; None where it does not stand there.
        path: the keys that lead to it in summary.json.
    """

    text: str
    value: float | None = None
    path: tuple[str | int, ...] = ()


Words = Sequence[str | Number]
"""A sentence in parts."""


def mean_of(numbers: ExperimentNumbers, variant: str, measure: str, form: str) -> Number:
    """A measure of a variant with half its interval; `-` where it was not measured."""
    over = numbers.variants[variant].measures.get(measure)
    if over is None:
        return Number("-")
    path = ("variants", variant, "measures", measure, "mean")
    return Number(over.text(form), None if math.isnan(over.mean) else over.mean, path)


def _with_interval(over: OverSeeds, form: str) -> str:
    """A difference and its interval, such as `+0.0098 [+0.0085, +0.0110]`."""
    return f"{number(over.mean, form)} {over.interval(form)}".rstrip()


def headline(numbers: ExperimentNumbers, compared: Comparison) -> Words:
    """What was compared, and what came out: one sentence of each."""
    steps = max((each.step for each in numbers.variants.values()), default=0)
    about = (
        f"{counted(len(numbers.variants), 'variant')} trained for {counted(steps, 'step')}, "
        f"with {counted(len(numbers.seeds), 'seed')}"
    )
    rows = [row for row in compared.rows if _accuracy(row) is not None]
    if not rows:
        return (f"{about}.",)
    if len(rows) <= 4:
        words: list[str | Number] = [f"{about}."]
        for row in rows:
            words += _against(numbers, row)
        return tuple(words)
    counts = Counter(_kind(row) for row in rows)
    parts = [f"{count} {kind}" for kind, count in counts.most_common()]
    return (f"{about}. Of {len(rows)} differences in test accuracy, {_listed(parts)}.",)


def _accuracy(row: ComparedVariant) -> Difference | None:
    return row.differences.get(PRIMARY)


def _kind(row: ComparedVariant) -> str:
    """The verdict without its numbers: `higher`, `lower`, `equivalent`, `undecided`."""
    found = _accuracy(row)
    return "" if found is None else found.verdict.partition(" ")[0].rstrip(",;:") or "untested"


def _against(numbers: ExperimentNumbers, row: ComparedVariant) -> Words:
    """A variant's accuracy beside its baseline's, the difference, and what it shows."""
    found, baseline = _accuracy(row), row.baseline
    if found is None or baseline is None:
        return ()
    mine, theirs = (mean_of(numbers, name, PRIMARY, ".4f") for name in (row.label, baseline))
    verdict = found.verdict or "not tested"
    gap = _with_interval(found.over, "+.4f")
    return (
        f" {row.label} ends with a test accuracy of ", mine, f", {baseline} with ", theirs,
        f", a difference of {gap}: {verdict}.",
    )  # fmt: skip


def _listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def origin(folder: Path, results: ExperimentResults | None) -> dict[str, str]:
    """What made the results, in words; of several processors or versions, each."""
    found: dict[str, dict[str, None]] = {}

    def note(key: str, value: object) -> None:
        if value:
            found.setdefault(key, {})[str(value)] = None

    def note_all(made_with: Provenance) -> None:
        note("commit", made_with.get("git_commit"))
        note("processor", made_with.get("processor"))
        note("system", made_with.get("system"))
        versions = made_with.get("versions") or {}
        note("versions", ", ".join(f"{name} {value}" for name, value in versions.items()))
        note("command", _portable(str(made_with.get("command") or "")))

    if results is None:
        note_all(summary.read_provenance(folder))
    else:
        for variant in results.variants.values():
            for run in variant.runs:
                for part in run.status.history:
                    note("engine", part.get("arithmetic") or part.get("engine"))
                note_all(run.status.made_with)
    return {key: "; ".join(values) for key, values in found.items()}


def _portable(command: str) -> str:
    """A command without its `--out`: where the results lay is no reader's concern."""
    return re.sub(r" --out[= ](?:'[^']*'|\S+)", "", command)
