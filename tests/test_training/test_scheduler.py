"""Runs in worker processes: together, continued, killed, refused."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import warm
from helpers.experiments import Listener, contents
from helpers.waiting import wait_for

from bnexp.analysis.results import read_experiment
from bnexp.config import DataConfig
from bnexp.files.run_folder import run_folder
from bnexp.files.status import read_status
from bnexp.training import fork_server
from bnexp.training.jobs import Jobs
from bnexp.training.plans import plans_of
from bnexp.training.scheduler import train_experiment

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import stress

# One undisturbed experiment serves the tests that compare with it.
pytestmark = pytest.mark.xdist_group("scheduler")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The config of an experiment, and all that it writes when nothing disturbs it."""
    folder = tmp_path_factory.mktemp("whole")
    config = folder / "stress.yaml"
    config.write_text(stress.CONFIG.format(steps=8_000).replace("[0, 1]", "[0]"))
    finish(config, folder / "out", "--jobs", "1", draws=True)
    files = stress.contents(folder / "out")
    assert files.keys() > without_figures(files).keys()
    return config, files


def start(config, out, *words, draws=False, first=""):
    """The command, from a process that has imported what it needs."""
    train = "train", "--config", config, "--out", out, *words
    return warm.Command(*train, merged=True, draws=draws, first=first)


def finish(config, out, *words, draws=False):
    """Run the command to its end; its output."""
    output, _ = (process := start(config, out, *words, draws=draws)).communicate()
    assert process.returncode == 0, output
    return output


def servers(process):
    """The fork server of a command that was started here, if it lives: a fork, as the command."""
    return stress.children(process.pid, "python")


def without_figures(files):
    """The files of the runs alone, of those that `stress.contents` gives."""
    return {name: content for name, content in files.items() if not name.startswith("figures/")}


@pytest.mark.parametrize(
    ("how", "code", "draws"),
    [
        ("SIGKILL", -signal.SIGKILL, True),
        ("SIGKILL to one worker", 0, True),
        ("SIGTERM to one worker", 130, False),
    ],
)
def test_a_run_that_was_hit_ends_bitwise_equal(whole, tmp_path, how, code, draws):
    """Whatever the signal and to whom, every file is as if undisturbed, whatever the jobs."""
    (config, expected), out = whole, tmp_path / "out"
    process = start(config, out, "--jobs", "2", draws=draws)
    assert stress.begun(process, out)
    assert stress.interrupt(process, out, how, 0.0)
    output, _ = process.communicate()
    assert process.returncode == code, output
    if code == 0:
        assert "its process was killed (signal 9); trying again" in output
    else:
        finish(config, out, "--jobs", "1", draws=draws)
    assert stress.contents(out) == (expected if draws else without_figures(expected))


def test_a_worker_is_found_while_it_opens_and_closes_other_files(tmp_path):
    """Such as a log, when it appends to it."""
    (tmp_path / "baseline/seed-0").mkdir(parents=True)
    status = tmp_path / "baseline/seed-0/status.json"
    status.write_text(json.dumps({"pid": os.getpid(), "state": "running"}))
    ended = threading.Event()

    def at_work():
        while not ended.is_set():
            with Path(os.devnull).open(), Path(os.devnull).open():
                pass

    with status.open():
        (thread := threading.Thread(target=at_work)).start()
        try:
            found = [stress.workers(tmp_path) for _ in range(100)]
        finally:
            ended.set()
            thread.join()
    assert found == [[os.getpid()]] * 100


def test_without_the_fork_server_runs_go_on_and_a_lost_one_is_tried_again(whole, tmp_path):
    """A killed server takes no run with it, and a new one replaces it when it is needed."""
    (config, expected), out = whole, tmp_path / "out"
    process = start(config, out, "--jobs", "2")
    wait_for(lambda: len(stress.workers(out)) == 2)
    (server,), pids = servers(process), stress.workers(out)
    os.kill(pids[0], signal.SIGSTOP)  # so that it does not end its run before it is killed
    os.kill(server, signal.SIGKILL)
    wait_for(lambda: server not in servers(process))
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    os.kill(pids[0], signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "its process was lost, with the server that made it; trying again" in output
    assert stress.contents(out) == without_figures(expected)


def test_a_server_that_is_always_killed_before_it_made_a_worker_fails_the_experiment(
    whole, tmp_path
):
    """Exit 1 after three tries, with what may be the cause; the same command then goes on."""
    (config, expected), out = whole, tmp_path / "out"
    process = start(config, out, "--jobs", "1", first=warm.COLD)
    while process.poll() is None:
        for server in stress.fork_servers(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)
        time.sleep(0.01)
    output, _ = process.communicate()
    assert process.returncode == 1, output
    assert output.count("its process was lost, with the server that made it; trying again") == 2
    assert "compiling the kernels: its process ended; perhaps out of memory: " in output
    finish(config, out, "--jobs", "2")
    assert stress.contents(out) == without_figures(expected)


def test_where_nothing_can_be_forked_each_worker_is_spawned(
    small_experiment, tmp_path, monkeypatch, request
):
    """As on Windows and macOS; the files are the same, bit for bit."""
    experiment = replace(small_experiment(), seeds=(0,))
    assert train_experiment(experiment, tmp_path / "forked", 2, Listener()) == []
    request.getfixturevalue("cold")
    monkeypatch.setattr(fork_server, "can_fork", lambda: False)
    assert train_experiment(experiment, tmp_path / "spawned", 2, Listener()) == []
    for variant in ("baseline", "batchnorm"):
        spawned = contents(run_folder(tmp_path / "spawned", variant, 0))
        assert spawned == contents(run_folder(tmp_path / "forked", variant, 0))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_a_checkpoint_and_the_same_command_continues(whole, tmp_path, number):
    """Exit 130, the command that continues on stderr, and then the same bytes."""
    config, expected = whole
    for attempt in range(3):  # the signal may come when a run has just made its last step
        out = tmp_path / f"out{attempt}"
        process = start(config, out, "--jobs", "1")
        assert stress.begun(process, out)
        process.send_signal(number)
        output, _ = process.communicate()
        assert process.returncode == 130, output
        assert f"continue with: bnexp train --config {config} --out {out} --jobs 1" in output
        states = {read_status(folder).state for folder in stress.run_folders(out)}
        if "interrupted" in states:
            break
    assert "interrupted" in states
    assert "continuing at step" in finish(config, out, "--jobs", "1")
    assert stress.contents(out) == without_figures(expected)
    assert "2 of 2 runs done already" in finish(config, out)


def test_the_workers_end_with_a_killed_command(whole, tmp_path):
    """Neither they nor the server that they were forked from survive it."""
    (config, _), out = whole, tmp_path / "out"
    process = start(config, out, "--jobs", "2", "train.steps=1000000")
    wait_for(lambda: len(stress.workers(out)) == 2)
    pids = stress.workers(out) + servers(process)
    assert len(pids) == 3
    process.kill()
    process.communicate()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_second_command_on_the_same_experiment_is_refused(whole, tmp_path):
    """Exit 4, with the first one's pid."""
    (config, _), out = whole, tmp_path / "out"
    first = start(config, out, "--jobs", "1", "train.steps=1000000")
    try:
        assert stress.begun(first, out)
        second = start(config, out, "train.steps=1000000")
        output, _ = second.communicate()
    finally:
        first.kill()
        first.communicate()
    assert second.returncode == 4, output
    assert f"in use by process {first.pid} on " in output


def test_a_diverged_variant_fails_and_the_others_go_on(small_experiment, tmp_path):
    """One error for each failed run; the rest is done."""
    experiment = small_experiment()
    baseline, batchnorm = experiment.variants
    train = replace(baseline.settings.train, lr=1e30, steps=300)
    model = replace(baseline.settings.model, activation="relu")
    broken = replace(baseline, settings=replace(baseline.settings, train=train, model=model))
    changes = {"train.lr": 1e30, "train.steps": 300, "model.activation": "relu"}
    broken = replace(broken, changes={**baseline.changes, **changes})
    experiment = replace(experiment, variants=(broken, batchnorm))
    errors = train_experiment(experiment, tmp_path / "x", 2, Listener())
    assert sorted(str(error).split(" at step")[0] for error in errors) == [
        f"baseline, seed {seed}: the loss is not finite" for seed in (0, 1, 2)
    ]
    results = read_experiment(tmp_path / "x")
    assert [each.state for each in results.variants.values()] == ["failed", "done"]


def test_seed_2_of_three_is_seed_2_alone_whatever_the_jobs(small_experiment, tmp_path):
    """Bit for bit, since a run does not depend on which others are trained beside it."""
    experiment = small_experiment()
    found = []
    for jobs, seeds in ((1, (2,)), (1, (0, 1, 2)), (3, (2, 0))):
        out = tmp_path / f"out{len(found)}"
        assert train_experiment(replace(experiment, seeds=seeds), out, jobs, Listener()) == []
        found.append(contents(run_folder(out, "batchnorm", 2)))
    assert found[0] == found[1] == found[2]


def test_the_tally_ends_with_every_run_and_step(small_experiment, tmp_path):
    """Also for a command that had only a part to do."""
    listener = Listener()
    train_experiment(replace(small_experiment(), seeds=(0,)), tmp_path / "x", 2, listener)
    assert (listener.tally.done, listener.tally.runs) == (2, 2)
    train_experiment(small_experiment(), tmp_path / "x", 2, listener)
    assert (listener.tally.done, listener.tally.runs) == (6, 6)
    assert listener.tally.made == listener.tally.steps == 240
    assert listener.tally.working == {}


def test_the_tally_of_runs_that_go_on_begins_with_the_steps_that_they_have(
    small_experiment, tmp_path
):
    """What an earlier command made is no work of this one."""
    experiment, out = replace(small_experiment(), seeds=(0,)), tmp_path / "x"
    train_experiment(experiment, out, 1, Listener())
    steps = experiment.base.train.steps
    longer = [
        replace(each, settings=replace(each.settings, train=replace(each.settings.train, steps=99)))
        for each in experiment.variants
    ]
    plans = plans_of(replace(experiment, variants=tuple(longer)), out)
    tally = Jobs(plans, plans, Listener()).tally
    assert (tally.done, tally.runs, tally.made, tally.steps) == (0, 2, 2 * steps, 2 * 99)
    plans = plans_of(experiment, tmp_path / "new")
    assert Jobs(plans, plans, Listener()).tally.made == 0


def test_a_missing_data_set_is_told_before_a_worker_is_started(small_experiment, tmp_path):
    """Where the files would be, and what to do."""
    from bnexp.errors import DataError

    experiment = small_experiment()
    variants = tuple(
        replace(v, settings=replace(v.settings, data=DataConfig("mnist", str(tmp_path / "none"))))
        for v in experiment.variants
    )
    with pytest.raises(DataError, match="missing in"):
        train_experiment(replace(experiment, variants=variants), tmp_path / "x", 1, Listener())


@pytest.mark.usefixtures("cold")
def test_code_in_the_working_directory_is_not_run_by_the_workers(
    small_experiment, tmp_path, monkeypatch
):
    """A file `socket.py` there stands in for Python's own where the folder is on the path."""
    (tmp_path / "socket.py").write_text("raise SystemExit('the working directory was imported')")
    monkeypatch.chdir(tmp_path)
    experiment = replace(small_experiment(), seeds=(0,))
    assert train_experiment(experiment, tmp_path / "out", 2, Listener()) == []
