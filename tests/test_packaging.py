"""What the package says of itself, to people and to installers."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_classifiers_and_the_workflow_name_the_same_pythons():
    """They begin with the oldest Python that can be installed for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    classified = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    (matrix,) = re.findall(r"python: \[(.*)\]", workflow)
    assert classified == re.findall(r"3\.\d+", matrix)
    assert project["requires-python"] == f">={classified[0]}"
