"""Runs in processes of their own: together, continued, killed, refused."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bnexp.analysis import results as reader
from bnexp.config.experiment import dump
from bnexp.errors import ConfigError
from bnexp.files import run_folder as runlog
from bnexp.training.scheduler import check_unchanged, discard, execute
from bnexp.training.worker import environment

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import stress


class Listener:
    """Keeps what a user would be told."""

    def __init__(self):
        self.said, self.told = [], (0, 0)

    def say(self, text):
        self.said.append(text)

    def steps(self, done, total):
        self.told = (done, total)


def wait_for(condition):
    """Wait until it holds; a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for a minute"
        time.sleep(0.01)


def running(out, variant="baseline"):
    """Whether the run has begun to train."""
    return stress.worker(out, variant) is not None


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The config of an experiment, and all that it writes when nothing disturbs it."""
    folder = tmp_path_factory.mktemp("whole")
    config = folder / "stress.yaml"
    config.write_text(stress.CONFIG.format(steps=8000))
    output, _ = (process := stress.start(config, folder / "out")).communicate()
    assert process.returncode == 0, output
    return config, stress.contents(folder / "out")


def finish(config, out):
    """Run the command to its end; its output."""
    output, _ = (process := stress.start(config, out)).communicate()
    assert process.returncode == 0, output
    return output


def test_a_run_killed_at_random_moments_ends_bitwise_equal(whole, tmp_path):
    """Three signals, SIGKILL among them, at random moments; every file is as if undisturbed."""
    import random

    config, expected = whole
    done = stress.repetition(config, tmp_path / "out", random.Random(29), longest=1.0, most=3)
    assert done == ["SIGKILL", "SIGKILL to one run", "SIGINT"]
    assert stress.contents(tmp_path / "out") == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_a_checkpoint_and_the_same_command_continues(whole, tmp_path, number):
    """Exit 130, the command that continues on stderr, and then the same bytes."""
    (config, expected), out = whole, tmp_path / "out"
    process = stress.start(config, out)
    wait_for(lambda: running(out))
    process.send_signal(number)
    output, _ = process.communicate()
    assert process.returncode == 130, output
    assert f"continue with: bnexp train --config {config} --out {out}" in output
    paths = [out / variant / runlog.STATUS for variant in stress.VARIANTS]
    assert "interrupted" in {json.loads(path.read_text())["state"] for path in paths}
    assert "continuing at step" in finish(config, out)
    assert stress.contents(out) == expected
    assert "baseline: done already (8000 steps)" in finish(config, out)


def test_a_killed_process_is_tried_again_and_the_others_go_on(whole, tmp_path):
    """SIGKILL to one run's process: both variants end complete, in the same command."""
    (config, expected), out = whole, tmp_path / "out"
    process = stress.start(config, out)
    wait_for(lambda: running(out))
    os.kill(stress.worker(out, "baseline"), signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "baseline: its process was killed (signal 9); trying again" in output
    assert stress.contents(out) == expected


def test_the_runs_end_with_a_killed_command(whole, tmp_path):
    """No process of a run survives its parent."""
    (config, _), out = whole, tmp_path / "out"
    process = stress.start(config, out)
    wait_for(lambda: running(out) and running(out, "batchnorm"))
    pids = [stress.worker(out, variant) for variant in stress.VARIANTS]
    process.kill()
    process.communicate()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_second_command_on_the_same_experiment_is_refused(whole, tmp_path):
    """Exit 4, with the first one's pid."""
    (config, _), out = whole, tmp_path / "out"
    first = stress.start(config, out)
    wait_for(lambda: running(out))
    second = stress.start(config, out)
    output, _ = second.communicate()
    assert second.returncode == 4
    assert f"in use by process {first.pid} on " in output
    first.kill()
    first.communicate()


def test_a_diverged_variant_fails_and_the_others_go_on(small_experiment, tmp_path):
    """One error a failed run; the rest is done."""
    experiment = small_experiment()
    baseline, batchnorm = experiment.variants
    train = replace(baseline.settings.train, lr=1e30, steps=300)
    model = replace(baseline.settings.model, activation="relu")
    broken = replace(baseline, settings=replace(baseline.settings, train=train, model=model))
    changes = {"train.lr": 1e30, "train.steps": 300, "model.activation": "relu"}
    broken = replace(broken, changes={**baseline.changes, **changes})
    listener = Listener()
    errors = execute(replace(experiment, variants=(broken, batchnorm)), tmp_path / "x", 2, listener)
    assert [str(error).split(" at step")[0] for error in errors] == [
        "baseline: the loss is not finite"
    ]
    files = reader.read_experiment(tmp_path / "x")
    assert [run.status["state"] for run in files.variants.values()] == ["failed", "done"]


def test_a_changed_config_is_refused_with_the_keys_that_differ(small_experiment, tmp_path):
    """All keys in one error; more steps alone are allowed, and another data.root."""
    (tmp_path / runlog.CONFIG).write_text(dump(small_experiment()))
    check_unchanged(small_experiment(), tmp_path)
    check_unchanged(small_experiment(train={"steps": 41}, data={"root": "there"}), tmp_path)
    with pytest.raises(ConfigError) as caught:
        check_unchanged(small_experiment(train={"steps": 39, "lr": 0.1}), tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: holds results of another config "
        "(train.steps: 40, now 39; train.lr: 0.5, now 0.1).\n"
        "Use --out DIR for another folder, or --force to discard the results there."
    )
    with pytest.raises(ConfigError, match=r"seeds: \[0, 1, 2\], now \[0\]"):
        check_unchanged(replace(small_experiment(), seeds=(0,)), tmp_path)


def test_discard_deletes_what_training_wrote_and_nothing_else(small_experiment, tmp_path):
    """A file of the user's stays."""
    folder = tmp_path / "baseline"
    folder.mkdir()
    for name in (*runlog.RUN_FILES, "notes.txt"):
        (folder / name).touch()
    (tmp_path / runlog.CONFIG).touch()
    discard(small_experiment(), tmp_path)
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left - {".lock", ".holder.json"} == {"notes.txt"}


def test_the_environment_of_a_run_is_set_for_its_start_alone(monkeypatch):
    """The number of threads reaches the process, and nothing is left behind."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with environment(threads=3):
        code = "import os; print(os.environ['OMP_NUM_THREADS'])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.split() == [b"3"]
    assert "OMP_NUM_THREADS" not in os.environ
