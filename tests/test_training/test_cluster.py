"""Runs on a Dask cluster: real schedulers and workers, as processes on 127.0.0.1."""

import contextlib
import re
import signal

import pytest
from helpers import warm
from helpers.clusters import DaskCluster, source_copy
from helpers.experiments import Listener
from helpers.waiting import LIMIT, wait_for

from bnexp import config
from bnexp.errors import BnexpError, ConfigError, DamagedError
from bnexp.files.experiment_folder import TRAIN_LOG
from bnexp.files.locks import HOLDER, LOCK
from bnexp.files.run_folder import CHECKPOINT, PREVIOUS
from bnexp.files.status import STATUS, read_status
from bnexp.training.cluster import connection, scheduler
from bnexp.training.scheduler import Cluster, train_experiment

# One cluster serves all of these tests, in whichever process they run.
pytestmark = pytest.mark.xdist_group("cluster")

CONFIG = """
name: cluster
seeds: [0, 1]
data: {name: digits}
model: {hidden: [12, 10]}
train: {steps: 1500, batch_size: 30, checkpoint_every: 500}
record: {probe_size: 50, probe_every: 50, evaluate_every: 100}
grid:
  train.lr: [0.1, 0.2, 0.4]
  model.norm: [none, batch]
"""
OWN = {STATUS, HOLDER, LOCK, TRAIN_LOG}  # the files that say when and where something was computed


def start(folder, *words):
    """The user's command, with an output folder `out` there; others test its tables and figures."""
    config = folder / "cluster.yaml"
    train = "train", "--config", config, "--out", folder / "out", *words
    return warm.Command(*train, folder=folder, draws=False)


def finish(process, code=0):
    """Wait for the command's end; what it said."""
    _, said = process.communicate(timeout=LIMIT)
    assert process.returncode == code, said
    return said


def contents(out):
    """Every file of an experiment whose bytes must not depend on where and when it was trained."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name not in OWN
    }


def states(out):
    """The state of each run that was begun."""
    return [read_status(path.parent).state for path in out.glob("*/seed-*/status.json")]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """All files of the experiment when worker processes of this machine train it."""
    folder = tmp_path_factory.mktemp("local")
    (folder / "cluster.yaml").write_text(CONFIG)
    finish(start(folder, "--jobs", "2"))
    assert states(folder / "out") == ["done"] * 12
    return contents(folder / "out")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers; a test may end workers and add others."""
    made = DaskCluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    """A folder with the config."""
    (tmp_path / "cluster.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def train(folder):
    """Starts the command there; nothing of it survives the test."""
    started = []

    def begin(*words):
        started.append(start(folder, *words))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def at_work(cluster, worker, out):
    """Whether a worker is in the middle of a run."""
    for path in [*out.glob(f"*/*/{STATUS}"), *cluster.home(worker).glob(f"**/{STATUS}")]:
        with contextlib.suppress(DamagedError):  # it is just being sent back and removed
            status = read_status(path.parent)
            if (status.state, status.pid) == ("running", worker.pid):
                return True
    return False


def kill_at_work(cluster, out, *processes):
    """Send SIGKILL to a worker in the middle of a run: to the first that is seen there."""

    def hit():
        for worker in cluster.workers:
            worker.send_signal(signal.SIGSTOP)  # nothing changes between the look and the kill
            found = at_work(cluster, worker, out)
            worker.send_signal(signal.SIGKILL if found else signal.SIGCONT)
            if found:
                return True
        return False

    wait_for(hit, *processes)


@pytest.mark.parametrize("words", [(), ("--gather",)], ids=["shared", "gather"])
def test_a_grid_survives_the_loss_of_a_worker(local, cluster, folder, train, words):
    """One is killed midway and another added; all runs end complete, and equal to local ones."""
    cluster.have_workers(2)
    out = folder / "out"
    command = train("--scheduler", cluster.address, *words)
    wait_for(lambda: states(out).count("done") >= 4, command)
    kill_at_work(cluster, out, command)
    cluster.add_worker()
    assert "was lost; trying again" in finish(command)
    assert states(out) == ["done"] * 12
    assert contents(out) == local


@pytest.mark.parametrize("words", [(), ("--gather",)], ids=["shared", "gather"])
def test_a_signal_stops_each_run_after_a_checkpoint(cluster, folder, train, words):
    """Exit 130 and the command that continues, as on one machine."""
    cluster.have_workers(2)
    out = folder / "out"
    command = train("--scheduler", cluster.address, "train.steps=1000000", *words)
    wait_for(lambda: any(at_work(cluster, worker, out) for worker in cluster.workers), command)
    command.send_signal(signal.SIGINT)
    said = finish(command, code=130)
    assert "stopping after a checkpoint; once more to stop at once" in said
    assert "continue with: bnexp train" in said
    stopped = [path.parent for path in out.glob(f"*/*/{STATUS}")]
    assert stopped
    assert {read_status(run).state for run in stopped} == {"interrupted"}
    assert all((run / CHECKPOINT).exists() for run in stopped)


def test_a_killed_command_leaves_no_run_behind(cluster, folder, train):
    """Its workers stop what nobody waits for, and are free for others."""
    cluster.have_workers(2)
    command = train("--scheduler", cluster.address, "train.steps=1000000")
    wait_for(lambda: states(folder / "out").count("running") == 2, command)
    command.kill()
    finish(command, code=-signal.SIGKILL)
    wait_for(lambda: states(folder / "out") == ["interrupted"] * 2)


def test_a_lost_scheduler_is_told_and_the_next_command_continues(local, cluster, folder, train):
    """Exit 1 with what to do; the workers end by themselves; nothing that was done is lost."""
    workers, out = cluster.have_workers(2), folder / "out"
    command = train("--scheduler", cluster.address)
    wait_for(lambda: states(out).count("done") >= 4, command)
    cluster.scheduler.kill()
    said = finish(command, code=1)
    assert f"{cluster.address}: the scheduler was lost" in said
    assert "the same command continues" in said
    wait_for(lambda: all(worker.poll() is not None for worker in workers))
    done = states(out).count("done")
    assert 4 <= done < 12
    cluster.start_scheduler()
    cluster.have_workers(2)
    said = finish(train("--scheduler", cluster.address))
    assert f"{done} of 12 runs done already" in said
    found = contents(out)
    # A run that was stopped between two checkpoints has saved one there, and kept it as previous.
    assert {name: x for name, x in found.items() if not name.endswith(PREVIOUS)} == {
        name: x for name, x in local.items() if not name.endswith(PREVIOUS)
    }


def refusal(cluster, folder, data, **environment):
    """The error of an experiment on this data that a worker with this environment is to train."""
    cluster.end_workers()
    cluster.add_worker(**environment)
    experiment = config.load(folder / "cluster.yaml", [f"data.name={data}"])
    with pytest.raises(BnexpError) as caught:
        train_experiment(experiment, folder / "out", None, Listener(), Cluster(cluster.address))
    assert not list((folder / "out").glob("*/seed-*")), "something was trained"
    return caught.value


def test_a_worker_with_another_bnexp_is_an_error_before_anything_is_trained(cluster, folder):
    """Even where the version is the same, and only a line of its code is not."""
    error = refusal(cluster, folder, "digits", PYTHONPATH=source_copy(folder / "other"))
    assert error.exit_code == 2
    assert re.search(
        r"^tcp://127.0.0.1:\d+: bnexp is [\d.]+ \(sources \w+\), and [\d.]+ \(sources \w+\) here.\n"
        "Results would mix the two: install the same on all machines.$",
        str(error),
    )


def test_a_worker_without_the_data_set_is_an_error_before_anything_is_trained(cluster, folder):
    """With the worker, and the folder where it looked."""
    error = refusal(cluster, folder, "mnist", BNEXP_DATA=str(folder / "nothing"))
    assert error.exit_code == 3
    assert re.match(r"tcp://127.0.0.1:\d+: mnist: .* missing in ", str(error))
    assert str(folder / "nothing" / "MNIST" / "raw") in str(error)


def test_a_folder_that_is_not_shared_is_an_error_before_anything_is_trained(
    cluster, folder, monkeypatch
):
    """The worker does not find there what the command has written."""
    monkeypatch.setattr(scheduler, "SHARED", ".bnexp.elsewhere")
    error = refusal(cluster, folder, "digits")
    assert error.exit_code == 4
    assert str(error).endswith(
        f"{folder / 'out'} is not there, or is not the folder of the command.\n"
        "Let all machines share it, or use --gather, which sends the files back."
    )


def test_a_scheduler_that_does_not_answer_is_two_lines(folder, monkeypatch):
    """Exit 2, with the address, and how to start one; Dask's own words are not shown."""
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.5)
    experiment = config.load(folder / "cluster.yaml")
    for address in ("tcp://127.0.0.1:9", "nowhere://x", "127.0.0.1:9", "nowhere"):
        with pytest.raises(ConfigError) as caught:
            train_experiment(experiment, folder / "out", None, Listener(), Cluster(address))
        assert str(caught.value).startswith(f"--scheduler {address}: no answer (")
        assert str(caught.value).count("\n") == 1


def test_gather_alone_is_refused(train):
    """It says how a cluster's files come back."""
    assert "give --scheduler too" in finish(train("--gather"), code=2)
