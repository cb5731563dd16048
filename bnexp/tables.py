"""Tables as text, Markdown, CSV and JSON, from what `summary` returns."""

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

Rows = Sequence[Mapping[str, Any]]

MEASURES = {
    "test_accuracy": ("test accuracy", ".4f"),
    "train_loss": ("training loss", ".4f"),
    "settle_0.2": ("settle step (0.2)", ",.0f"),
    "median_range": ("drift of median", ".3f"),
    "steps_to_95": ("steps to 95 %", ",.0f"),
}
"""The measures that text and Markdown show: the heading, and the format of a value."""


def render(summary: Mapping[str, Any]) -> str:
    """The content of summary.json as text: the variants, what compares them, and the paper."""
    rows = [{"label": name} | variant for name, variant in summary["variants"].items()]
    parts = [aligned(_variant_cells(rows))]
    if summary["comparisons"]:
        parts.append(aligned([_pair_cells(pair) for pair in summary["comparisons"]]))
    if summary["paper"]:
        parts.append("Largest distances to the paper's Figure 1 (accuracy from step 7,000):")
        parts.append(aligned([_paper_cells(*pair) for pair in summary["paper"].items()]))
    return "\n\n".join([*parts, summary["note"]])


def comparison(rows: Rows, form: str = "text") -> str:
    """The rows of `summary.compare`.

    Args:
        rows: of `summary.compare`.
        form: `text`, `markdown`, `csv` (a line a variant and measure) or `json` (the rows).
    """
    if form == "json":
        return json.dumps(rows, indent=1, allow_nan=False)
    if form == "csv":
        return _csv(_long(rows))
    lay = markdown if form == "markdown" else aligned
    parts = [lay(_variant_cells(rows))]
    if differences := _difference_cells(rows):
        baseline = next(row["label"] for row in rows if row["differences"] is None)
        parts += [f"Differences from {baseline}, paired by seed:", lay(differences)]
    parts += [f"{row['label']}: {note}." for row in rows for note in row["notes"]]
    return "\n\n".join(parts)


def aligned(rows: Rows) -> str:
    """Rows of equal keys as plain text, in columns; numbers to the right."""

    def line(cells: Sequence[str]) -> str:
        placed = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, rights, strict=True)
        ]
        return "  ".join(placed).rstrip()

    if not rows:
        return ""
    table = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    columns = list(zip(*table, strict=True))
    widths = [max(map(len, column)) for column in columns]
    rights = [all(text[:1] in "+-0123456789" for text in column[1:]) for column in columns]
    return "\n".join(line(cells) for cells in table)


def markdown(rows: Rows) -> str:
    """Rows of equal keys as a Markdown table."""
    table = [list(rows[0]), ["---"] * len(rows[0])]
    table += [[cell(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def cell(value: object) -> str:
    """A value as YAML would write it; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(cell, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _variant_cells(rows: Rows) -> list[dict[str, Any]]:
    """A line a variant: its settings, and each measure with half its interval's width."""
    return [
        {"variant": row["label"], **row["settings"], "seeds": len(row["seeds"])}
        | {
            heading: _with_error(row["measures"].get(name), form)
            for name, (heading, form) in MEASURES.items()
        }
        | {
            "parameters": _number(row["parameters"], ","),
            "ms/step": _number(row["seconds_per_step"], ".2f", 1000),
        }
        for row in rows
    ]


def _difference_cells(rows: Rows) -> list[dict[str, Any]]:
    return [
        {
            "measure": heading,
            "variant": row["label"],
            "difference": _number(row["differences"][name]["mean"], f"+{form}"),
            "95 % interval": _between(row["differences"][name], f"+{form}"),
            "verdict": row["differences"][name]["verdict"],
        }
        for name, (heading, form) in MEASURES.items()
        for row in rows
        if row["differences"] and name in row["differences"]
    ]


def _pair_cells(pair: Mapping[str, Any]) -> dict[str, str]:
    """A normalized net against its plain counterpart."""
    accuracy = pair["differences"].get("test_accuracy")
    sooner = {
        f"P(settles sooner, {name.removeprefix('settle_')})": _with_error(values, ".3f")
        for name, values in pair["sooner"].items()
    }
    return {
        "with norm": pair["norm"],
        "less plain": pair["plain"],
        "test accuracy": _with_error(accuracy, "+.4f"),
        "verdict": accuracy["verdict"] if accuracy else "-",
        **sooner,
    }


def _paper_cells(name: str, distance: Mapping[str, Any]) -> dict[str, str]:
    ends = distance["end_percentiles"] or [None] * 3
    return {
        "variant": name,
        "test accuracy": _number(distance["accuracy"], ".4f"),
        "at step": _number(distance["at_step"], ",.0f"),
        **{f"end P{q}": _number(far, ".2f") for q, far in zip((15, 50, 85), ends, strict=True)},
    }


def _long(rows: Rows) -> list[dict[str, Any]]:
    """A line a variant and measure, every measure there is."""
    return [
        {"variant": row["label"], "state": row["state"]}
        | {key: cell(value) for key, value in row["settings"].items()}
        | {"measure": name}
        | {key: values[key] for key in ("mean", "low", "high")}
        | {
            f"difference_{key}": (row["differences"] or {}).get(name, {}).get(key)
            for key in ("mean", "low", "high", "verdict")
        }
        for row in rows
        for name, values in row["measures"].items()
    ]


def _csv(rows: Rows) -> str:
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def _with_error(values: Mapping[str, Any] | None, form: str) -> str:
    if not values or values["mean"] is None:
        return "-"
    if values["low"] is None:
        return _number(values["mean"], form)
    half = values["mean"] - values["low"]
    return f"{_number(values['mean'], form)} ±{half:{form.lstrip('+')}}"


def _between(values: Mapping[str, Any], form: str) -> str:
    if values["low"] is None:
        return ""
    return f"[{_number(values['low'], form)}, {_number(values['high'], form)}]"


def _number(value: float | None, form: str, scale: float = 1) -> str:
    """The value in this form; one digit and the exponent where that would look like 0."""
    if value is None:
        return "-"
    text = f"{value * scale:{form}}"
    looks_zero = not any(digit in text for digit in "123456789")
    return f"{value * scale:{'+' if '+' in form else ''}.0e}" if value and looks_zero else text
