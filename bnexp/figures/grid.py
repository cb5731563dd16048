"""What the panels of a heat map hold: a measure of a grid's variants, and how much it differs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bnexp.analysis.comparison import ComparedVariant, Comparison
from bnexp.analysis.formatting import cell
from bnexp.analysis.numbers import paired
from bnexp.analysis.statistics import OverSeeds, over_seeds
from bnexp.config import Value

Place = tuple[int, int]  # row and column of a cell
Cells = Mapping[Place, OverSeeds]
Variants = Mapping[Place, ComparedVariant]


@dataclass(frozen=True)
class Panel:
    """What a panel shows: a measure of variants, or how much it differs."""

    title: str
    cells: Cells
    differs: bool = False


@dataclass(frozen=True)
class Grid:
    """The panels of a heat map, line by line.

    Attributes:
        axes: the settings that go down and across each panel; empty where one column is enough.
        values: of these settings, as the axes name them.
        lines: of panels.
        panels: of all lines; in each, those of the measure stand before those of differences.
    """

    axes: tuple[str, str]
    values: tuple[list[str], list[str]]
    lines: int
    panels: Sequence[Panel]

    @property
    def per_line(self) -> tuple[int, int]:
        """How many panels of the measure, and of differences, each line has."""
        differences = sum(panel.differs for panel in self.panels) // self.lines
        return len(self.panels) // self.lines - differences, differences


def read_grid(comparison: Comparison, measure: str, heading: str) -> Grid:
    """Panels over the two settings that have the most values; `draw_heatmap` says which.

    Args:
        comparison: of variants that differ in two settings or more.
        measure: what the cells hold.
        heading: its name, for the title of a panel that stands beside one of differences.
    """
    rows = comparison.rows
    settings = [{key: cell(value) for key, value in row.settings.items()} for row in rows]
    levels = {key: _levels([row.settings[key] for row in rows]) for key in settings[0]}
    down, across, *others = sorted(levels, key=lambda key: (key == "model.norm", -len(levels[key])))
    if not others and len(levels[across]) == 2:  # its values become panels, of one column each
        others, across, levels[""] = [across], "", [""]
        settings = [{**each, "": ""} for each in settings]
    lines: dict[str, dict[str, dict[Place, ComparedVariant]]] = {}
    for row, each in zip(rows, settings, strict=True):
        line, column = _named(each, others[:-1]), _named(each, others[-1:])
        at = levels[down].index(each[down]), levels[across].index(each[across])
        lines.setdefault(line, {}).setdefault(column, {})[at] = row
    columns = list(next(iter(lines.values())))
    panels = [
        panel
        for line, found in lines.items()
        for panel in _panels(
            line, {each: found.get(each, {}) for each in columns}, measure, heading
        )
    ]
    return Grid((down, across), (levels[down], levels[across]), len(lines), panels)


def _named(settings: Mapping[str, str], keys: Sequence[str]) -> str:
    return ", ".join(f"{key.split('.')[-1]} {settings[key]}" for key in keys)


def _levels(values: Sequence[Value]) -> list[str]:
    """The values of a setting as its axis names them: numbers in their order, others as they come.

    Variants that were recorded come by their names, in which 16 stands before 2.
    """
    if all(isinstance(each, int | float) and not isinstance(each, bool) for each in values):
        values = sorted(values, key=lambda each: each if isinstance(each, int | float) else 0)
    return list(dict.fromkeys(map(cell, values)))


def _panels(
    line: str, columns: Mapping[str, Variants], measure: str, heading: str
) -> Iterator[Panel]:
    """The panels of a line: those of its columns, and then those of differences between them."""

    def titled(text: str) -> str:
        return ", ".join(filter(None, [line, text]))

    (first, bases), *others = columns.items()
    compared = {at: row for at, row in bases.items() if not others and measure in row.differences}
    for column, variants in columns.items():
        known = {at: row.numbers.measures for at, row in variants.items()}
        cells = {at: each[measure] for at, each in known.items() if measure in each}
        yield Panel(titled(column or (heading if compared else "")), cells)
    for column, variants in others:
        gaps = _gaps(variants, bases, measure)
        yield Panel(titled(f"{column} minus {first}"), gaps, differs=True)
    if compared:
        names = {str(row.baseline) for row in compared.values()}
        gaps = {at: row.differences[measure].over for at, row in compared.items()}
        name = names.pop() if len(names) == 1 else "its baseline"
        yield Panel(titled(f"minus {name}"), gaps, differs=True)


def _gaps(variants: Variants, bases: Variants, measure: str) -> Cells:
    """The measure of each variant minus that of its base, over the seeds that both have."""
    found = dict[Place, OverSeeds]()
    for at, row in variants.items():
        if at in bases:
            mine, theirs = paired(row.numbers, bases[at].numbers)
            if measure in mine and measure in theirs and len(mine[measure]):
                found[at] = over_seeds(mine[measure] - theirs[measure])
    return found
