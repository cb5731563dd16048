"""Tables as text, Markdown, CSV and JSON."""

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from math import isfinite, isnan
from typing import Literal

from bnexp.analysis.columns import aligned
from bnexp.analysis.comparison import NO_DIFFERENCE, ComparedVariant, Comparison, to_json
from bnexp.analysis.formatting import cell, number
from bnexp.analysis.numbers import (
    NOTE,
    PRIMARY,
    ExperimentNumbers,
    Pair,
    PaperDistance,
    VariantNumbers,
    differing,
)
from bnexp.analysis.statistics import OverSeeds

Row = Mapping[str, object]
Form = Literal["text", "markdown", "json", "csv"]

MEASURES = {
    "test_accuracy": ("test accuracy", ".4f"),
    "train_loss": ("training loss", ".4f"),
    "settle_0.1": ("settle step (0.1)", ",.0f"),
    "settle_0.2": ("settle step (0.2)", ",.0f"),
    "median_range": ("range of median", ".3f"),
    "end_width": ("end width", ".2f"),
    "steps_to_95": ("steps to 95 %", ",.0f"),
}
"""The measures that text and Markdown show: the heading, and the format of a value."""

# What the tables of an overview say where columns are left out.
WIDER = "A wider terminal shows more columns."
OR_COMPARE = "More columns are shown by a wider terminal, or by `bnexp compare --all`."
SETTLE = ("settle_0.1", "settle_0.2")
MAIN = ("variant", MEASURES[PRIMARY][0])  # what the narrowest table of variants shows
JUDGED = ("measure", "variant", "difference", "verdict")  # the same of differences
MOST, FEW = 20, 5  # rows that a terminal shows of the variants, and of each exploratory measure


def overview(numbers: ExperimentNumbers, line_width: int | None = None) -> str:
    """An experiment as text: the variants, what compares them, and the paper.

    Args:
        numbers: of the experiment.
        line_width: the characters of a terminal's line; columns that do not fit are left out, and
            so are variants beyond the first `MOST`. None: all are shown.
    """
    keys = differing([each.settings for each in numbers.variants.values()])
    cells = [
        _variant_cells(name, {key: each.settings.get(key) for key in keys}, each)
        for name, each in numbers.variants.items()
    ]
    most = len(cells) if line_width is None else MOST
    parts = [aligned(cells[:most], line_width, MAIN, OR_COMPARE)]
    if len(cells) > most:
        parts.append(f"{most} of {len(cells)} variants are shown; `bnexp compare` ranks them.")
    unfinished = [
        f"{name}: {each.state} (step {each.step:,})."
        for name, each in numbers.variants.items()
        if each.state not in {"done", "not started"}
    ]
    if unfinished:
        parts.append("\n".join(unfinished[:most]))
    if pairs := [pair for pair in numbers.pairs if any(map(_known, pair.sooner.values()))]:
        parts.append(SOONER)
        parts.append(aligned([_pair_cells(pair) for pair in pairs[:most]], line_width, more=WIDER))
    if numbers.paper:
        parts.append("Largest distances to the paper's Figure 1 (accuracy from step 7,000):")
        cells = [_paper_cells(*item) for item in numbers.paper.items()]
        parts.append(aligned(cells, line_width, more=WIDER))
    if settles(numbers):
        parts.append(NOTE)
    return "\n\n".join(parts)


SOONER = (
    "How much sooner units settle with a norm, by tolerance in final spreads: how many times\n"
    "longer the median plain unit takes, and the probability that a random unit with a norm\n"
    "settles before a plain one:"
)


def settles(numbers: ExperimentNumbers) -> bool:
    """Whether a unit of any variant is known to settle."""
    every = [each.measures.get(name) for each in numbers.variants.values() for name in SETTLE]
    return any(over is not None and _known(over) for over in every)


def _known(over: OverSeeds) -> bool:
    """Whether a seed has a value."""
    return any(map(isfinite, over.per_seed))


def comparison(compared: Comparison, form: Form = "text", line_width: int | None = None) -> str:
    """The rows of a comparison.

    Args:
        compared: the rows.
        form: how they are written.
        line_width: the characters of a terminal's line; as text, columns that do not fit are left
            out, and of more than `MOST` variants, those are shown that differ the most from their
            baselines. None: all are shown, in their order.
    """
    if form == "json":
        return json.dumps(to_json(compared), indent=1, allow_nan=False)
    if form == "csv":
        return _csv(compared.rows)
    rows, cut = compared.rows, line_width is not None and len(compared.rows) > MOST
    if cut:
        rows = tuple(sorted(rows, key=lambda row: _distance(row, PRIMARY), reverse=True)[:MOST])
    variants = [_variant_cells(row.label, row.settings, row.numbers) for row in rows]
    differences = []
    for name in MEASURES:
        among = [row for row in compared.rows if name in row.differences]
        if cut:
            among.sort(key=lambda row: _distance(row, name), reverse=True)
            among = among[: MOST if name == PRIMARY else FEW]
        # A terminal has no room for the word in each line; it is said below the table.
        mark = "" if name == PRIMARY or line_width is not None else " (exploratory)"
        differences += [_difference_cells(row, name, mark) for row in among]
    parts = [markdown(variants) if form == "markdown" else aligned(variants, line_width, MAIN)]
    if differences:
        lay = (
            markdown(differences)
            if form == "markdown"
            else aligned(differences, line_width, JUDGED)
        )
        parts += ["Differences, paired by seed:", lay, method(compared)]
    parts += [
        f"{row.label}: its percentiles differ from those of {row.baseline} by "
        f"{row.percentile_gap:.0e} at most. BN subtracts a bias with the mean; what is left is "
        "float rounding, which training carries on."
        for row in rows
        if row.percentile_gap is not None
    ]
    parts += [f"{row.label}: {note}." for row in rows for note in row.notes]
    if cut:
        parts.append(
            f"{MOST} of {len(compared.rows)} variants are shown, the most different first; "
            "--all shows all of them, in their order."
        )
    return "\n\n".join(parts)


def _distance(row: ComparedVariant, name: str) -> float:
    """How far a measure is from the baseline's; what is not known is no distance at all."""
    difference = row.differences.get(name)
    return -1.0 if difference is None or isnan(difference.over.mean) else abs(difference.over.mean)


def method(compared: Comparison) -> str:
    """How the verdicts were come by."""
    text = (
        "Test accuracy is the primary measure: equivalent means within "
        f"{compared.margin:g}, by two one-sided t-tests (90 % interval).\n"
        "The other measures are exploratory: their verdicts are corrected for their number (Holm)."
    )
    if isnan(compared.test_error):
        return text
    return (
        f"{text}\nThe intervals are over seeds. The size of the test set alone gives each accuracy "
        f"a standard error of {compared.test_error:.4f}."
    )


def markdown(rows: Sequence[Row]) -> str:
    """Rows of equal keys as a Markdown table."""
    table = [list(rows[0]), ["---"] * len(rows[0])]
    table += [[cell(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def _variant_cells(label: str, settings: Row, numbers: VariantNumbers) -> Row:
    """A variant: its settings, and each measure with half its interval's width."""
    seconds, measures = numbers.seconds_per_step, numbers.measures
    return {
        "variant": label,
        **settings,
        **{
            heading: measures[name].text(form) if name in measures else "-"
            for name, (heading, form) in MEASURES.items()
        },
        "seeds": len(numbers.seeds),
        "parameters": number(numbers.parameters, ","),
        "ms/step": number(seconds and 1000 * seconds, ".2f"),
    }


def _difference_cells(row: ComparedVariant, name: str, mark: str) -> Row:
    (heading, form), difference = MEASURES[name], row.differences[name]
    return {
        "measure": heading + mark,
        "variant": row.label,
        "minus": row.baseline,
        "difference": number(difference.over.mean, f"+{form}"),
        "95 % interval": difference.over.interval(f"+{form}"),
        "verdict": difference.verdict,
    }


def _pair_cells(pair: Pair) -> Row:
    cells: dict[str, object] = {"with a norm": pair.norm, "plain": pair.plain}
    for name in pair.sooner:
        tolerance = name.removeprefix("settle_")
        cells[f"times longer ({tolerance})"] = pair.settle_ratio[name].text(".2f")
        cells[f"probability ({tolerance})"] = pair.sooner[name].range_text(".3f")
    return cells


def _paper_cells(name: str, distance: PaperDistance) -> Row:
    return {
        "variant": name,
        "test accuracy": number(distance.accuracy, ".4f"),
        "at step": number(distance.at_step, ",.0f"),
        "end P15, P50, P85": ", ".join(
            number(far, ".2f") for far in distance.end_percentiles or ()
        ),
    }


def _csv(rows: Sequence[ComparedVariant]) -> str:
    """A line a variant and measure, every measure there is."""
    text, ends = StringIO(), ("mean", "low", "high")
    write = csv.writer(text, lineterminator="\n").writerow
    differences = [f"difference_{key}" for key in (*ends, "p", "p_holm", "verdict")]
    write(["variant", "state", *rows[0].settings, "measure", *ends, *differences])
    for row in rows:
        about = [row.label, row.numbers.state, *map(cell, row.settings.values())]
        for name, over in row.numbers.measures.items():
            gap = row.differences.get(name, NO_DIFFERENCE)
            cells = [over.mean, over.low, over.high, gap.over.mean, gap.over.low, gap.over.high]
            known = ["" if isnan(x) else x for x in (*cells, gap.p, gap.corrected)]
            write([*about, name, *known, gap.verdict])
    return text.getvalue().rstrip("\n")
