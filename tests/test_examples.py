"""The example programs do what they say: they are run, and their results compared."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "scripts" / "examples"
LENGTHS = {"own_loop": ["--steps", "50"], "lightning_cnn": ["--epochs", "2"]}


def test_every_example_is_run_here():
    """A new example comes with what keeps its test short."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(LENGTHS)


@pytest.mark.parametrize("name", LENGTHS)
def test_an_example_makes_an_experiment_of_two_variants(tmp_path, name):
    """It trains a CNN with and without batch norm, and `compare` finds both."""
    if name == "lightning_cnn" and importlib.util.find_spec("lightning") is None:
        pytest.skip("Lightning is not installed")
    out = tmp_path / "out"
    words = [EXAMPLES / f"{name}.py", "--out", out, "--seeds", "1", *LENGTHS[name]]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    command = [sys.executable, "-m", "bnexp", "compare", out, "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = json.loads(done.stdout)
    assert {row["label"] for row in rows} == {"plain", "batchnorm"}
    assert all(row["state"] == "done" for row in rows)
    assert all(0.1 < row["measures"]["test_accuracy"]["mean"] <= 1 for row in rows)
