"""What CONTRIBUTING.md promises about files is held by tests that are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TITLE = "## What bnexp promises about your files\n"
SECTION = (ROOT / "CONTRIBUTING.md").read_text().partition(TITLE)[2].partition("\n## ")[0]
PROMISES = [line for line in SECTION.splitlines() if line.startswith("|")][2:]


def test_there_are_ten_promises():
    """A line each."""
    assert len(PROMISES) == 10


@pytest.mark.parametrize("line", PROMISES)
def test_a_promise_names_tests_that_exist(line):
    """Each is a function of the module that is named, and neither skipped nor expected to fail."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", line)
    assert named
    for path, name in named:
        functions = {
            node.name: node
            for node in ast.parse((ROOT / path).read_text()).body
            if isinstance(node, ast.FunctionDef)
        }
        assert name in functions, f"{path}::{name}"
        marks = " ".join(ast.unparse(each) for each in functions[name].decorator_list)
        assert not re.search(r"\b(xfail|skip)\b", marks)
