"""`bnexp train` where the system gives little memory, or few descriptors of open files."""

import resource
import subprocess
import sys

import pytest
from helpers import warm
from helpers.experiments import contents

from bnexp.files.run_folder import run_folder

CONFIG = """
name: small
seeds: [0]
data: {name: digits}
model: {hidden: [3, 2], weight_std: 0.3}
train: {steps: 4, batch_size: 20, lr: 0.5}
record: {layers: all, probe_size: 20, probe_every: 2, evaluate_every: 2}
variants:
  v0: {}
"""


LIMITED = "import resource; resource.setrlimit({}, {})"


@pytest.fixture
def train(tmp_path):
    """Runs the command, perhaps under a limit; returns its exit code and the lines on stderr.

    A `real` one imports all that it needs under the limit.
    """

    def run(*words, limit=None, real=False):
        config = tmp_path / "small.yaml"
        if not config.exists():
            config.write_text(CONFIG)
        words = "train", "--config", config.name, "--out", "out", "--jobs", "1", *words
        if not real:
            first = "" if limit is None else LIMITED.format(int(limit[0]), limit[1:] * 2)
            process = warm.Command(*words, folder=tmp_path, draws=limit is not None, first=first)
            _, said = process.communicate()
            return process.returncode, said.splitlines()
        done = subprocess.run(
            [sys.executable, "-m", "bnexp", *words],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            preexec_fn=lambda: resource.setrlimit(limit[0], limit[1:] * 2),
        )  # fmt: skip
        return done.returncode, done.stderr.splitlines()

    return run


def test_a_worker_that_has_no_memory_for_its_libraries_says_so(train, tmp_path):
    """Exit 1 with the first cause; what was done stays; without the limit the command goes on."""
    out = tmp_path / "out"
    assert train()[0] == 0
    before = contents(run_folder(out, "v0", 0))
    code, lines = train("seeds=[0,1]", limit=(resource.RLIMIT_AS, 512 << 20), real=True)
    assert code == 1
    told = [number for number, line in enumerate(lines) if "load its libraries" in line]
    assert len(told) == 1, lines
    # A second `import torch` in a process says that it can only be done once, and not why.
    assert "failed to map segment" in lines[told[0]] or "no memory" in lines[told[0]]
    assert lines[told[0] + 1].startswith("If memory is limited, raise the memory limit")
    assert not any("Traceback" in line for line in lines)
    assert contents(run_folder(out, "v0", 0)) == before
    assert train("seeds=[0,1]")[0] == 0
    assert contents(run_folder(out, "v0", 0)) == before
    assert contents(run_folder(out, "v0", 1))


FAILS_TWICE = """
import sys
from pathlib import Path
from bnexp.config import DataConfig, ModelConfig, RecordConfig, Settings, TrainConfig
from bnexp.files.run_folder import RunPlan
from bnexp.training import worker

class Finder:
    causes = ["the first cause", "the second"]
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ImportError(self.causes.pop(0))

sys.meta_path.insert(0, Finder())
settings = Settings(DataConfig("digits", "x"), ModelConfig((3,)), TrainConfig(), RecordConfig())
for seed in (0, 1):
    kind, error = worker.outcome(worker.Task((RunPlan("v", seed, settings, Path("x")),)), None)
    print(kind, error.exit_code, error)
"""


def test_the_first_cause_is_told_of_every_run_of_a_worker_without_libraries():
    """Each error names its run; what a second attempt to load them says would hide the cause."""
    done = subprocess.run(
        [sys.executable, "-c", FAILS_TWICE], capture_output=True, text=True, check=True
    )
    first, _, second, _ = done.stdout.splitlines()
    assert first.startswith("error 1 v, seed 0: its process could not load its libraries (")
    assert second.startswith("error 1 v, seed 1: its process could not load its libraries (")
    assert "the first cause" in first
    assert "the first cause" in second


def test_forty_runs_are_made_with_48_descriptors(train, tmp_path):
    """No run leaves one open, neither in the command nor in a worker: sixteen are enough."""
    variants = "".join(
        f"  v{number}: {{train: {{lr: 0.{number:03}}}}}\n" for number in range(1, 41)
    )
    (tmp_path / "small.yaml").write_text(CONFIG.partition("  v0")[0] + variants)
    code, lines = train(limit=(resource.RLIMIT_NOFILE, 48))
    assert code == 0, lines
    assert len([*tmp_path.glob("out/v*/seed-0/model.pt")]) == 40
