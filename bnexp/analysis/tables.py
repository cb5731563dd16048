"""Tables as text, Markdown, CSV and JSON, from what `summary` returns."""

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

Row = Mapping[str, Any]

MEASURES = {
    "test_accuracy": ("test accuracy", ".4f"),
    "train_loss": ("training loss", ".4f"),
    "settle_0.2": ("settle step (0.2)", ",.0f"),
    "median_range": ("drift of median", ".3f"),
    "steps_to_95": ("steps to 95 %", ",.0f"),
}
"""The measures that text and Markdown show: the heading, and the format of a value."""


def render(summary: Row) -> str:
    """The content of summary.json as text: the variants, what compares them, and the paper."""
    rows = [{"label": name, **variant} for name, variant in summary["variants"].items()]
    parts = [aligned([_variant_cells(row) for row in rows])]
    if summary["comparisons"]:
        parts.append(aligned([_pair_cells(pair) for pair in summary["comparisons"]]))
    if summary["paper"]:
        parts.append("Largest distances to the paper's Figure 1 (accuracy from step 7,000):")
        parts.append(aligned([_paper_cells(*item) for item in summary["paper"].items()]))
    return "\n\n".join([*parts, summary["note"]])


def comparison(rows: Sequence[Row], form: str = "text") -> str:
    """The rows of `summary.compare` as `text`, `markdown`, `json`, or `csv`."""
    if form == "json":
        return json.dumps(rows, indent=1, allow_nan=False)
    if form == "csv":
        return _csv(rows)
    lay = markdown if form == "markdown" else aligned
    parts = [lay([_variant_cells(row) for row in rows])]
    if differences := [
        _difference_cells(row, name)
        for name in MEASURES
        for row in rows
        if name in (row["differences"] or {})
    ]:
        parts += ["Differences, paired by seed:", lay(differences)]
    parts += [
        f"{row['label']}: its percentiles differ from those of {row['baseline']} by "
        f"{row['percentile_gap']:.0e} at most. BN subtracts a bias with the mean; what is left is "
        "float rounding, which training carries on."
        for row in rows
        if row["percentile_gap"] is not None
    ]
    parts += [f"{row['label']}: {note}." for row in rows for note in row["notes"]]
    return "\n\n".join(parts)


def aligned(rows: Sequence[Row]) -> str:
    """Rows of equal keys as plain text, in columns; numbers to the right."""
    if not rows:
        return ""
    table = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    columns = []
    for column in zip(*table, strict=True):
        numbers = all(text[:1] in "+-0123456789" for text in column[1:])
        place, width = str.rjust if numbers else str.ljust, max(map(len, column))
        columns.append([place(text, width) for text in column])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def markdown(rows: Sequence[Row]) -> str:
    """Rows of equal keys as a Markdown table."""
    table = [list(rows[0]), ["---"] * len(rows[0])]
    table += [[cell(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def cell(value: object) -> str:
    """A value as YAML would write it; nothing for None."""
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _variant_cells(row: Row) -> Row:
    """A variant: its settings, and each measure with half its interval's width."""
    seconds = row["seconds_per_step"]
    return {
        "variant": row["label"],
        **row["settings"],
        "seeds": len(row["seeds"]),
        **{
            heading: _with_error(row["measures"].get(name), form)
            for name, (heading, form) in MEASURES.items()
        },
        "parameters": _number(row["parameters"], ","),
        "ms/step": _number(seconds and 1000 * seconds, ".2f"),
    }


def _difference_cells(row: Row, name: str) -> Row:
    (heading, form), gap = MEASURES[name], row["differences"][name]
    mean, low, high = (_number(gap[key], f"+{form}") for key in ("mean", "low", "high"))
    return {
        "measure": heading,
        "variant": row["label"],
        "minus": row["baseline"],
        "difference": mean,
        "95 % interval": "" if gap["low"] is None else f"[{low}, {high}]",
        "verdict": gap["verdict"],
    }


def _pair_cells(pair: Row) -> Row:
    accuracy = pair["differences"]["test_accuracy"]
    return {
        "with norm": pair["norm"],
        "minus plain": pair["plain"],
        "test accuracy": _with_error(accuracy, "+.4f"),
        "verdict": accuracy["verdict"],
    } | {
        f"P(settles sooner, {name.removeprefix('settle_')})": _with_error(values, ".3f")
        for name, values in pair["sooner"].items()
    }


def _paper_cells(name: str, distance: Row) -> Row:
    ends = distance["end_percentiles"] or []
    return {
        "variant": name,
        "test accuracy": _number(distance["accuracy"], ".4f"),
        "at step": _number(distance["at_step"], ",.0f"),
        "end P15, P50, P85": ", ".join(_number(far, ".2f") for far in ends),
    }


def _csv(rows: Sequence[Row]) -> str:
    """A line a variant and measure, every measure there is."""
    text, ends = StringIO(), ("mean", "low", "high")
    write = csv.writer(text, lineterminator="\n").writerow
    differences = [f"difference_{key}" for key in (*ends, "verdict")]
    write(["variant", "state", *rows[0]["settings"], "measure", *ends, *differences])
    for row in rows:
        about = [row["label"], row["state"], *map(cell, row["settings"].values())]
        for name, values in row["measures"].items():
            gap = (row["differences"] or {}).get(name, {})
            write([*about, name, *map(values.get, ends), *map(gap.get, (*ends, "verdict"))])
    return text.getvalue().rstrip("\n")


def _with_error(values: Row | None, form: str) -> str:
    """The mean, and half its interval's width where there is one."""
    mean, low = (values["mean"], values["low"]) if values else (None, None)
    half = f" ±{mean - low:{form.lstrip('+')}}" if low is not None else ""
    return _number(mean, form) + half


def _number(value: float | None, form: str) -> str:
    """The value in this form; one digit and the exponent where that would look like 0."""
    if value is None:
        return "-"
    text = f"{value:{form}}"
    looks_zero = value and not text.strip("+-0.")
    return f"{value:{'+' if '+' in form else ''}.0e}" if looks_zero else text
