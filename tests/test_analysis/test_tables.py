"""Tables read as transcripts."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.synthetic import experiment_of, fig1, other

from bnexp.analysis.columns import MORE, aligned
from bnexp.analysis.comparison import Difference, compare, to_json
from bnexp.analysis.measuring import measure
from bnexp.analysis.statistics import over_seeds
from bnexp.analysis.summary import read_numbers
from bnexp.analysis.tables import (
    MEASURES,
    MOST,
    OR_COMPARE,
    SETTLE,
    comparison,
    markdown,
    overview,
)


@pytest.fixture(scope="module")
def files():
    """A small experiment with made-up curves."""
    return fig1(rows=101, seeds=3)


def compared(files, baseline=None):
    """The comparison of its variants."""
    return compare([(files.path, measure(files))], baseline)


def test_text_columns_are_as_wide_as_their_cells_and_numbers_stand_right():
    """Values are written as in YAML; no rows are no text."""
    rows = [{"name": "a", "n": 5, "on": True}, {"name": "longer", "n": 12.5, "on": None}]
    assert aligned(rows) == "name       n  on\na          5  true\nlonger  12.5"
    assert aligned([]) == ""


def test_a_narrow_terminal_keeps_the_accuracy_the_difference_and_the_verdict(files):
    """Settings, intervals and what is subtracted are left out before them."""
    found = compare([(files.path, measure(files))])
    variants, _, differences, *_ = comparison(found, line_width=55).split("\n\n")
    assert variants.splitlines()[0].split("  ")[0] == "variant"
    assert "test accuracy" in variants.splitlines()[0]
    assert differences.splitlines()[0].split() == ["measure", "variant", "difference", "verdict"]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_a_table_fits_the_terminal_and_says_what_it_leaves_out(files, width):
    """The last columns go first; the first one always stays."""
    lines = overview(measure(files), width).split("\n\n")[0].splitlines()
    *table, last = lines
    assert last == OR_COMPARE
    assert all(len(line) <= width for line in table)
    assert table[0].startswith("variant")
    assert "wider terminal" not in overview(measure(files))


def test_a_terminal_shows_the_most_different_of_many_variants_first(files):
    """As many as it can hold, and says so; a file gets all of them, in their order."""
    base, *_ = files.variants.values()
    rng, many = np.random.default_rng(0), {"base": base}
    for i, gap in enumerate(rng.permutation(np.linspace(0.01, 0.4, 40))):
        metrics = replace(base.metrics, test_accuracy=base.metrics.test_accuracy - gap)
        many[f"v{i}"] = other(base, name=f"v{i}", metrics=metrics)
    found = compared(experiment_of(many), "base")
    lines = comparison(found, line_width=200).splitlines()
    shown = [line.split()[0] for line in lines[1 : 1 + MOST]]
    gaps = {row.label: row.differences["test_accuracy"].over.mean for row in found.rows[1:]}
    assert shown == sorted(gaps, key=gaps.get)[:MOST]
    assert lines[-1].startswith(f"{MOST} of 41 variants are shown, the most different first")
    whole = comparison(found).splitlines()
    assert [line.split()[0] for line in whole[1:42]] == ["base", *(f"v{i}" for i in range(40))]
    assert "variants are shown" not in whole[-1]
    assert "20 of 41 variants are shown" in overview(measure(experiment_of(many)), 200)


def test_markdown_escapes_what_would_break_a_cell():
    """A bar inside a cell."""
    assert markdown([{"a": "x|y", "b": [1, 2]}]) == "| a | b |\n| --- | --- |\n| x\\|y | [1, 2] |"


def test_comparison_text_holds_settings_measures_differences_method_and_notes(files):
    """In this order, with interval and verdict."""
    found = compared(files)
    noted = replace(found.rows[1], notes=("read with care",))
    lines = comparison(replace(found, rows=(found.rows[0], noted))).splitlines()
    assert lines[0].split("  ")[0] == "variant"
    assert lines[1].startswith("baseline   true        none")
    assert "Differences, paired by seed:" in lines
    over = found.rows[1].differences["test_accuracy"].over
    accuracy = next(line for line in lines if line.startswith("test accuracy"))
    assert f"{over.mean:+.4f}  [{over.low:+.4f}, {over.high:+.4f}]" in accuracy
    assert accuracy.endswith("higher")
    assert any(line.startswith("training loss (exploratory)") for line in lines)
    assert any("equivalent means within 0.001" in line for line in lines)
    assert any("a standard error of 0.001" in line for line in lines)
    assert lines[-1] == "batchnorm: read with care."


def test_a_difference_too_small_for_its_column_is_not_written_as_zero(files):
    """Float rounding is seen as what it is."""
    found = compared(files)
    over = replace(over_seeds(np.zeros(3)), mean=-3e-7, low=-4e-7)
    gap = {"test_accuracy": Difference(over, 0.5, 0.5, "equivalent")}
    row = replace(found.rows[1], differences=gap)
    assert "-3e-07  [-4e-07, +0.0000]" in comparison(replace(found, rows=(found.rows[0], row)))


def test_the_baseline_is_named_also_where_an_unfinished_variant_stands_first(files):
    """Neither has differences, but only one has a note."""
    unfinished = other(files.variants["baseline"], state="running", step=7)
    third = other(files.variants["batchnorm"])
    runs = {"baseline": unfinished, "batchnorm": files.variants["batchnorm"], "again": third}
    text = comparison(compared(experiment_of(runs), "batchnorm"))
    assert "again    batchnorm" in text
    assert text.endswith("baseline: running (step 7).")


def test_json_gives_back_the_rows_and_csv_every_measure(files):
    """At full precision; what is not known is null, and an empty cell."""
    found = compared(files)
    rows = json.loads(comparison(found, "json"))
    assert rows == to_json(found)
    lines = list(csv.DictReader(comparison(found, "csv").splitlines()))
    assert len(lines) == sum(len(row["measures"]) for row in rows)
    line = next(each for each in lines if each["variant"] == "batchnorm")
    assert (line["measure"], line["model.bias"]) == ("test_accuracy", "false")
    assert float(line["mean"]) == rows[1]["measures"]["test_accuracy"]["mean"]
    assert float(line["difference_low"]) == rows[1]["differences"]["test_accuracy"]["low"]
    assert "nan" not in comparison(found, "csv")


def test_markdown_comparison_has_the_same_cells_as_the_text(files):
    """Only the marks between them differ."""
    found = compared(files)
    text = [line.split() for line in comparison(found).splitlines() if line.startswith("batchnorm")]
    table = [line for line in comparison(found, "markdown").splitlines() if "| batchnorm" in line]
    assert table[0].replace("|", " ").split() == text[0]


def test_the_summary_states_the_ratios_the_distance_to_the_paper_and_the_caveat(files):
    """With the probability of superiority in words, and what units settle at."""
    numbers = measure(files)
    text = overview(numbers)
    assert f"{numbers.paper['baseline'].accuracy:.4f}" in text.split("Largest distances")[1]
    assert "the probability that a random unit with a norm" in text
    assert "times longer (0.2)" in text
    assert text.splitlines()[-1].startswith("A unit has settled once its percentiles stay near")


def test_what_no_unit_did_is_not_explained(files):
    """Where none settles, nothing is said of how much sooner one does; a failed run is named."""
    numbers = measure(files)
    never = over_seeds(np.array([np.nan, np.nan]))
    variants = {
        name: replace(each, measures={**each.measures, **dict.fromkeys(SETTLE, never)})
        for name, each in numbers.variants.items()
    }
    variants["baseline"] = replace(variants["baseline"], state="failed", step=1200)
    pairs = [replace(each, sooner=dict.fromkeys(SETTLE, never)) for each in numbers.pairs]
    text = overview(replace(numbers, variants=variants, pairs=tuple(pairs)))
    assert "sooner" not in text
    assert "A unit has settled" not in text
    assert "baseline: failed (step 1,200)." in text.splitlines()
    assert "failed" not in overview(numbers)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_long_labels_hide_neither_the_accuracy_nor_a_difference_nor_its_verdict(width):
    """Texts that are too long go on in the next line, and none of them is lost."""
    folder = Path(__file__).parents[2] / "results" / "published" / "gamma"
    numbers, _ = read_numbers(folder)
    found = compare([(folder, numbers)])
    variants, _, differences, *_ = comparison(found, line_width=width).split("\n\n")
    assert "test accuracy" in variants.splitlines()[0]
    head, *lines = [line for line in differences.splitlines() if line != MORE]
    assert set(head.split()) >= {"measure", "variant", "difference", "verdict"}
    assert all(len(line) <= width for line in [head, *lines])
    lines = [line for line in lines if line]
    at, end = head.index("variant"), head.index("difference")
    labels = "".join(line[at:end].strip() for line in lines)
    told = " ".join(line[head.index("verdict") :].strip() for line in lines)
    rows = [row for row in found.rows if row.baseline]
    assert labels.startswith("".join(row.label for row in rows))
    assert (
        told.split()
        == " ".join(
            row.differences[name].verdict
            for name in MEASURES
            for row in rows
            if name in row.differences
        ).split()
    )
    assert all(row.label in variants for row in found.rows)
    assert "-0.0054" in differences
