"""The example programs do what they say: they are run, and their results compared."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from helpers import warm

from bnexp import load
from bnexp.errors import StorageError

EXAMPLES = Path(__file__).parents[1] / "scripts" / "examples"
LENGTHS = {"own_loop": ["--steps", "50"], "lightning_cnn": ["--epochs", "2"]}


def test_every_example_is_run_here():
    """A new example comes with what keeps its test short."""
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(LENGTHS)


@pytest.mark.parametrize("name", LENGTHS)
def test_an_example_makes_an_experiment_of_two_variants(tmp_path, bnexp, name):
    """It trains a CNN with and without batch norm, and `compare` finds both."""
    if name == "lightning_cnn" and importlib.util.find_spec("lightning") is None:
        pytest.skip("Lightning is not installed")
    out = tmp_path / "out"
    words = "--out", out, "--seeds", "1", *LENGTHS[name]
    (log := tmp_path / "log").touch()
    example = warm.Process(warm.program, EXAMPLES / f"{name}.py", words, tmp_path, log)
    assert example.wait() == 0, log.read_text()
    code, printed, _ = bnexp("compare", out, "--json")
    assert code == 0
    rows = json.loads(printed)
    assert {row["label"] for row in rows} == {"plain", "batchnorm"}
    assert all(row["state"] == "done" for row in rows)
    assert all(0.1 < row["measures"]["test_accuracy"]["mean"] <= 1 for row in rows)


def test_the_readmes_loop_of_ones_own_runs(tmp_path, monkeypatch):
    """As it stands there; the layer's name leads to its units."""
    text = (EXAMPLES.parents[1] / "README.md").read_text()
    (script,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "record(" in b)
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "README.md", "exec"), {})
    experiment = load("results/my_model")
    assert set(experiment.minibatch.layer_name.values) == {"1"}
    assert experiment.minibatch.sizes["step"] == 200
    with pytest.raises(StorageError, match=r"bnexp.record watched this network"):
        experiment.network("bn", seed=0)
