"""The tables of the page: headings, and rows of texts and numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from bnexp.analysis.comparison import Comparison
from bnexp.analysis.formatting import cell, number
from bnexp.analysis.numbers import PRIMARY, ExperimentNumbers
from bnexp.analysis.tables import MEASURES
from bnexp.report.sentences import Number, mean_of


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row is its heading.

    Attributes:
        caption: what the table shows.
        head: of the columns.
        rows: of cells.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | Number]]


def variants(numbers: ExperimentNumbers) -> Table:
    """Every variant with the measures that there are."""
    measured = [
        name
        for name in MEASURES
        if any(name in each.measures for each in numbers.variants.values())
    ]
    states = {name: each.state for name, each in numbers.variants.items() if each.state != "done"}
    rows: list[list[str | Number]] = [
        [
            name,
            *(mean_of(numbers, name, key, MEASURES[key][1]) for key in measured),
            str(len(each.seeds)),
            *([states.get(name, "")] if states else []),
        ]
        for name, each in numbers.variants.items()
    ]
    head = ["variant", *(MEASURES[key][0] for key in measured), "seeds", *["state"] * bool(states)]
    return Table("Variants: mean over seeds ± half a 95 % interval", head, rows)


def differences(compared: Comparison) -> Table:
    """Each measure minus the baseline's, with its verdict; test accuracy first."""
    rows: list[list[str | Number]] = []
    for name, (heading, form) in MEASURES.items():
        for row in compared.rows:
            found = row.differences.get(name)
            if found is None:
                continue
            what = heading if name == PRIMARY else f"{heading} (exploratory)"
            mean, interval = number(found.over.mean, f"+{form}"), found.over.interval(f"+{form}")
            rows.append([row.label, what, str(row.baseline), mean, interval, found.verdict])
    head = ["variant", "measure", "minus", "difference", "95 % interval", "verdict"]
    return Table("Differences, paired by seed", head, rows)


def settings(numbers: ExperimentNumbers, keys: Sequence[str]) -> Table:
    """The settings in which the variants differ."""
    rows = [
        [name, *(cell(each.settings.get(key)) for key in keys)]
        for name, each in numbers.variants.items()
    ]
    return Table("Settings that differ", ["variant", *keys], rows if keys else [])
