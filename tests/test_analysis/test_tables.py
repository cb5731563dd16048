"""Tables read as transcripts."""

import csv
import json

import pytest
from helpers.synthetic import experiment_of, fig1, other

from bnexp.analysis.summary import compare, summarize
from bnexp.analysis.tables import aligned, comparison, markdown, render


@pytest.fixture(scope="module")
def files():
    """A small experiment with made-up curves."""
    return fig1(rows=101, seeds=3)


def test_text_columns_are_as_wide_as_their_cells_and_numbers_stand_right():
    """Values are written as in YAML; no rows are no text."""
    rows = [{"name": "a", "n": 5, "on": True}, {"name": "longer", "n": 12.5, "on": None}]
    assert aligned(rows) == "name       n  on\na          5  true\nlonger  12.5"
    assert aligned([]) == ""


def test_markdown_escapes_what_would_break_a_cell():
    """A bar inside a cell."""
    assert markdown([{"a": "x|y", "b": [1, 2]}]) == "| a | b |\n| --- | --- |\n| x\\|y | [1, 2] |"


def test_comparison_text_holds_settings_measures_differences_and_notes(files):
    """In this order, with interval and verdict."""
    rows = compare([files])
    rows[1]["notes"] = ["read with care"]
    lines = comparison(rows).splitlines()
    assert lines[0].split("  ")[0] == "variant"
    assert lines[1].startswith("baseline   true        none")
    assert "Differences, paired by seed:" in lines
    assert any(line.startswith("test accuracy      batchnorm  baseline") for line in lines)
    accuracy = next(line for line in lines if line.startswith("test accuracy"))
    gap = rows[1]["differences"]["test_accuracy"]
    assert f"{gap['mean']:+.4f}  [{gap['low']:+.4f}, {gap['high']:+.4f}]  higher" in accuracy
    assert lines[-1] == "batchnorm: read with care."


def test_a_difference_too_small_for_its_column_is_not_written_as_zero(files):
    """Float rounding is seen as what it is."""
    rows = compare([files])
    gap = {"mean": -3e-7, "low": -4e-7, "high": 0.0, "verdict": "no difference seen"}
    rows[1]["differences"] = {"test_accuracy": gap}
    assert "-3e-07  [-4e-07, +0.0000]" in comparison(rows)


def test_the_baseline_is_named_also_where_an_unfinished_variant_stands_first(files):
    """Neither has differences, but only one has a note."""
    unfinished = other(files.variants["baseline"], state="running", step=7)
    third = other(files.variants["batchnorm"])
    runs = {"baseline": unfinished, "batchnorm": files.variants["batchnorm"], "again": third}
    text = comparison(compare([experiment_of(runs)], "batchnorm"))
    assert "again    batchnorm" in text
    assert text.endswith("baseline: running (step 7).")


def test_json_gives_back_the_rows_and_csv_every_measure(files):
    """At full precision."""
    rows = compare([files])
    assert json.loads(comparison(rows, "json")) == rows
    lines = list(csv.DictReader(comparison(rows, "csv").splitlines()))
    assert len(lines) == sum(len(row["measures"]) for row in rows)
    line = next(each for each in lines if each["variant"] == "batchnorm")
    assert (line["measure"], line["model.bias"]) == ("test_accuracy", "false")
    assert float(line["mean"]) == rows[1]["measures"]["test_accuracy"]["mean"]
    assert float(line["difference_low"]) == rows[1]["differences"]["test_accuracy"]["low"]


def test_markdown_comparison_has_the_same_cells_as_the_text(files):
    """Only the marks between them differ."""
    rows = compare([files])
    text = [line.split() for line in comparison(rows).splitlines() if line.startswith("batchnorm")]
    table = [line for line in comparison(rows, "markdown").splitlines() if "| batchnorm" in line]
    assert table[0].replace("|", " ").split() == text[0]


def test_the_summary_states_the_distance_to_the_paper_and_the_caveat(files):
    """With P(settles sooner), and what 'end' means."""
    summary = summarize(files)
    text = render(summary)
    far = summary["paper"]["baseline"]["accuracy"]
    assert f"{far:.4f}" in text.split("Largest distances")[1]
    assert "P(settles sooner, 0.1)" in text
    assert text.splitlines()[-1].startswith("'End' is the end of the run.")
