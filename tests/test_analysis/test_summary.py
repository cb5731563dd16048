"""summary.json is written whole, read again, and enough to compare."""

import json

import pytest
from helpers.synthetic import fig1

from bnexp.analysis import summary
from bnexp.analysis.comparison import compare
from bnexp.analysis.measuring import measure
from bnexp.analysis.tables import comparison
from bnexp.errors import DamagedError, StorageError


@pytest.fixture(scope="module")
def numbers():
    """Of a small experiment with made-up curves."""
    return measure(fig1(rows=101, seeds=3, hidden=(4, 3, 6)))


def test_variants_are_compared_from_the_summary_alone(numbers, tmp_path):
    """Without a single log, the table is the same."""
    summary.write_summary(tmp_path, numbers)
    found, results = summary.read_numbers(tmp_path)
    assert results is None
    tables = [comparison(compare([(tmp_path, each)])) for each in (numbers, found)]
    assert tables[0] == tables[1]


def test_the_summary_names_the_environment_that_computed_it(numbers, tmp_path):
    """Versions and commit; no NaN in the file."""
    summary.write_summary(tmp_path, numbers)
    content = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert "numpy" in json.dumps(content["environment"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"experiment": 1}', '{"variants": []}', "\0"])
def test_what_is_no_summary_is_refused_by_name(tmp_path, text):
    """With what to do, and no traceback."""
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(DamagedError, match=r"summary\.json: .*`bnexp train`"):
        summary.read_numbers(tmp_path)


def test_a_folder_without_runs_and_summary_is_no_experiment(tmp_path):
    """Nor is one that does not exist."""
    with pytest.raises(StorageError, match="no experiment here"):
        summary.read_numbers(tmp_path)
    with pytest.raises(StorageError, match="no such folder"):
        summary.read_numbers(tmp_path / "nothing")
