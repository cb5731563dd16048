"""`bnexp train` as the user runs it: full disks, readers beside it, signals at any time."""

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import warm
from helpers.experiments import Listener, contents
from helpers.waiting import wait_for

from bnexp import config
from bnexp.analysis.results import read_experiment
from bnexp.analysis.variants import read_variant
from bnexp.cli import application
from bnexp.errors import DamagedError, StorageError
from bnexp.files import checkpoint
from bnexp.files.experiment_folder import CONFIG as CONFIG_FILE
from bnexp.files.run_folder import MINIBATCH, PROBE, run_folder
from bnexp.files.status import Status, read_status
from bnexp.training import run as training
from bnexp.training import worker
from bnexp.training.scheduler import train_experiment

CONFIG = """
name: small
seeds: [0]
data: {name: digits}
model: {hidden: [8, 6], weight_std: 0.3}
train: {steps: 1000000, batch_size: 20, lr: 0.5, checkpoint_every: 100}
record: {layers: all, probe_size: 50, probe_every: 50, evaluate_every: 100}
variants:
  baseline: {}
"""


# A process hears Ctrl-C then. One that a shell starts in the background does not.
IN_A_TERMINAL = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


class Command:
    """`bnexp train` in a folder of its own, at the head of a process group of its own.

    It begins in a process that has imported what it needs. In a `cold` one, the workers do not.
    """

    def __init__(self, folder, *words, limit=None, cold=False):
        self.out = folder / "out"
        self.run = run_folder(self.out, "baseline", 0)
        (folder / "small.yaml").write_text(CONFIG)
        train = "train", "--config", "small.yaml", "--out", "out", *words
        first = IN_A_TERMINAL + warm.COLD * cold
        self.process = warm.Command(*train, folder=folder, first=first)
        if limit:  # the processes that it starts have the same
            resource.prlimit(self.process.pid, limit[0], limit[1:] * 2)

    @property
    def status(self):
        """What status.json of the first run says; nothing before it is there."""
        try:
            return read_status(self.run)
        except DamagedError:
            return Status("running", 0, 0, "", 0, {})

    def wait_for_step(self, step):
        """Wait until the run says it made so many."""
        wait_for(lambda: self.status.step >= step, self.process)

    def end(self):
        """Exit code and the lines on stderr, when no process is left that could write there."""
        _, said = self.process.communicate(timeout=120)
        lines = [line for line in said.splitlines() if " steps" not in line]
        return self.process.returncode, lines


@pytest.fixture
def command(tmp_path):
    """Starts the command; nothing of it survives the test."""
    started = []

    def start(*words, **more):
        started.append(Command(tmp_path, *words, **more))
        return started[-1]

    yield start
    for each in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(each.process.pid, signal.SIGKILL)
        each.process.communicate()


@contextlib.contextmanager
def disk(folder, options):
    """A disk of its own there, for root; says whether that is allowed."""
    mount = [shutil.which("mount") or "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run([shutil.which("umount"), "--lazy", folder], check=True)


def rows(out):
    """The minibatch percentiles of the first run, as bytes."""
    return np.array(read_experiment(out).variants["baseline"].minibatch.values[:]).tobytes()


def test_a_full_disk_is_exit_4_and_the_same_command_continues(command, tmp_path):
    """Two lines; what was written is read; with room it ends as if there had always been."""
    out = tmp_path / "out"
    out.mkdir()
    with disk(out, "size=120000") as mounted:
        limit = None if mounted else (resource.RLIMIT_FSIZE, 40_000)
        code, lines = command("train.steps=600", limit=limit).end()
        assert (code, len(lines)) == (4, 2), lines
        assert re.search(r"No space left on device|File too large", lines[0])
        assert lines[1] == "Make room or fix the folder, then run the same command again."
        part = rows(out)
        shutil.copytree(out, tmp_path / "room")
    shutil.copytree(tmp_path / "room", out, dirs_exist_ok=True)
    listener, experiment = Listener(), config.load(out / CONFIG_FILE)
    assert train_experiment(experiment, out, 1, listener) == []
    assert re.fullmatch(r"baseline, seed 0: continuing at step [1-5]00", listener.said[0])
    assert part
    assert rows(out).startswith(part)
    assert train_experiment(experiment, tmp_path / "whole", 1, listener) == []
    whole = run_folder(tmp_path / "whole", "baseline", 0)
    assert contents(run_folder(out, "baseline", 0)) == contents(whole)


def test_a_read_only_folder_is_two_lines(small_experiment, tmp_path):
    """Which file, why, and what to do; nothing has been trained by then."""
    tmp_path.chmod(0o500)  # which root does not heed
    with disk(tmp_path, "ro"), pytest.raises(StorageError) as caught:
        train_experiment(small_experiment(), tmp_path, 1, Listener())
    tmp_path.chmod(0o700)
    assert str(caught.value).startswith(f"{tmp_path / '.bnexp.lock'}: ")
    assert re.search(r"Read-only file system|Permission denied", str(caught.value))
    assert str(caught.value).count("\n") == 1


def test_a_folder_that_is_removed_during_a_run_is_exit_4(command):
    """Two lines, and no process is left."""
    running = command()
    running.wait_for_step(100)
    while running.out.exists():
        shutil.rmtree(running.out, ignore_errors=True)
    code, lines = running.end()
    assert (code, len(lines)) == (4, 2), lines
    assert "No such file or directory" in lines[0]


def test_a_reader_never_sees_half_a_row(command):
    """Of 300 reads while a run writes, none fails, and each is the start of the finished log."""
    running, seen = command("record.every=10"), []
    running.wait_for_step(100)
    for _ in range(300):
        run = read_variant("baseline", [running.run])
        logs = [run.minibatch.values[:], run.probe.values[:], run.metrics.test_loss]
        logs += [np.load(running.run / name, "r") for name in (MINIBATCH, PROBE)]
        seen.append([(len(log), zlib.crc32(log.tobytes())) for log in logs])
    assert running.process.poll() is None
    assert seen[0][0] < seen[-1][0]
    running.process.send_signal(signal.SIGTERM)
    assert running.end()[0] == 130
    run = read_variant("baseline", [running.run])
    final = [run.minibatch.values[:], run.probe.values[:], run.metrics.test_loss]
    for number, found in enumerate(zip(*seen, strict=True)):
        for length, crc in set(found):
            assert zlib.crc32(final[number % 3][:length].tobytes()) == crc


def test_a_second_ctrl_c_stops_at_once_and_keeps_the_last_checkpoint(command):
    """Exit 130 with the command that continues, no traceback, and no process is left."""
    running = command()
    running.wait_for_step(300)
    os.kill(running.status.pid, signal.SIGSTOP)  # so that it cannot stop by itself
    before = running.status
    running.process.send_signal(signal.SIGINT)
    assert running.process.stderr.readline().startswith("stopping after a checkpoint")
    running.process.send_signal(signal.SIGINT)
    code, lines = running.end()
    assert code == 130
    assert lines == [
        "bnexp: stopped at once; what follows the last checkpoint is lost",
        "continue with: bnexp train --config small.yaml --out out",
    ]
    assert running.status == before
    found, _ = checkpoint.load(running.run, lambda _: None)
    assert found.step >= before.step // 100 * 100
    assert rows(running.out)


def test_ctrl_c_while_a_run_is_starting_shows_no_traceback(command):
    """A terminal sends it to every process, and the run's own still imports what it needs."""
    running = command(cold=True)
    # At once: the command has perhaps not yet told the new process what to do.
    process = running.process
    wait_for(lambda: re.search(r"spawn_main", children(process.pid)), process, pause=0)
    os.killpg(running.process.pid, signal.SIGINT)
    code, lines = running.end()
    assert code == 130
    assert lines[-2:] == [
        "bnexp: stopped",
        "continue with: bnexp train --config small.yaml --out out",
    ]
    # Where no task was under way yet, there is nothing to wait for.
    assert lines[:-2] in ([], ["stopping after a checkpoint; once more to stop at once"])


STOPPED_WHILE_DRAWING = """
import signal
from bnexp.figures import experiment_figures
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal
experiment_figures.save_figures = lambda *_, raise_signal=signal.raise_signal: raise_signal({})
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_figures_are_drawn_is_exit_130(tmp_path, number):
    """All runs are done; the command that draws is told, and no traceback is shown."""
    (tmp_path / "small.yaml").write_text(CONFIG)
    words = ["train", "--config", "small.yaml", "--out", "out", "train.steps=20"]
    first = STOPPED_WHILE_DRAWING.format(int(number))
    stopped = warm.Command(*words, folder=tmp_path, first=first)
    _, said = stopped.communicate()
    assert stopped.returncode == 130, said
    assert said.splitlines()[-1] == f"continue with: bnexp {' '.join(words)}"
    assert "Traceback" not in said
    assert read_status(run_folder(tmp_path / "out", "baseline", 0)).state == "done"


SIGNAL_AFTER_THE_LAST_WORD = """
import signal, sys
from bnexp import cli
number = int(sys.argv.pop())
class Late:  # what Python would destroy while it ends, with signals given back to the system
    def __del__(self, raise_signal=signal.raise_signal):
        raise_signal(number)
late = Late()
cli.program()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("word", "code"), [("quickstart", 0), ("nothing", 2)])
def test_a_signal_after_the_last_word_does_not_change_the_exit_code(number, word, code):
    """The process ends at once, and does not take down what it has loaded until then."""
    words = ["configs", word, str(int(number))]
    ended = subprocess.run(
        [sys.executable, "-c", SIGNAL_AFTER_THE_LAST_WORD, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_signal_between_the_last_word_and_the_end_is_exit_130(monkeypatch):
    """It is not the traceback that Python makes of it."""
    monkeypatch.setattr(application, "main", lambda: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(os, "_exit", sys.exit)
    kept = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(SystemExit) as end:
            application.program()
    finally:
        for each, handler in kept.items():
            signal.signal(each, handler)
    assert end.value.code == 130


def children(pid):
    """The command lines of the processes that a process has started."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return " ".join(Path(f"/proc/{each}/cmdline").read_text() for each in pids)


def test_sigterm_to_a_runs_own_process_does_not_make_it_look_finished(command):
    """It stops after a checkpoint, and the command ends with 130 and what to do."""
    running = command()
    running.wait_for_step(300)
    os.kill(running.status.pid, signal.SIGTERM)
    code, lines = running.end()
    assert code == 130
    assert lines[-2:] == [
        "bnexp: baseline, seed 0: its process was told to stop",
        "continue with: bnexp train --config small.yaml --out out",
    ]
    assert running.status.state == "interrupted"
    found, _ = checkpoint.load(running.run, lambda _: None)
    assert found.step == running.status.step


def test_of_two_commands_at_one_moment_one_is_refused(command):
    """With the other's host and pid, and with --restart no less; the other goes on."""
    both = command("--restart"), command("--restart")
    while all(each.process.poll() is None for each in both):
        time.sleep(0.01)
    refused, other = sorted(both, key=lambda each: each.process.poll() is None)
    code, lines = refused.end()
    assert code == 4
    assert lines[0].startswith(f"bnexp: out: in use by process {other.process.pid} on ")
    assert len(lines) == 1
    other.wait_for_step(100)


def no_memory_of_torch(*_):
    """What torch raises when the system has no more memory."""
    torch.empty(1 << 50, dtype=torch.uint8)


def no_memory_of_numpy(*_):
    """What NumPy raises then."""
    np.empty(1 << 50, np.uint8)


def no_memory_for_a_library(*_):
    """What an import raises then."""
    raise ImportError("libtorch_cpu.so: failed to map segment from shared object")


def mistake(*_):
    """An error of ours."""
    raise ValueError("a\nb")


class Parent:
    """The parent's end of a worker's pipe: keeps what it is sent."""

    def __init__(self):
        self.heard = []

    def send(self, message):
        """Keep a message."""
        self.heard.append(message)


@pytest.mark.parametrize(
    ("fail", "text"),
    [
        (
            no_memory_of_torch,
            "out of memory; use fewer --jobs, fewer units, or a smaller minibatch",
        ),
        (
            no_memory_of_numpy,
            "out of memory; use fewer --jobs, fewer units, or a smaller minibatch",
        ),
        (no_memory_for_a_library, "its process could not load its libraries (libtorch_cpu.so: "),
        (mistake, "internal error (ValueError: a b); --debug shows where"),
    ],
)
def test_an_error_in_a_worker_is_one_line(small_plan, monkeypatch, fail, text):
    """Out of memory says what to change; with --debug there is the traceback."""
    monkeypatch.setattr(training, "train", fail)
    parent, task = Parent(), worker.Task((small_plan(),))
    reporter = worker.PipeReporter(parent, None)
    worker.answer(task, reporter)
    ((kind, error),) = parent.heard
    assert kind == "error"
    assert str(error).startswith(f"variant, seed 0: {text}")
    assert error.exit_code == 1
    monkeypatch.setattr(sys, "argv", ["bnexp", "--debug"])
    with pytest.raises(Exception, match=r"allocate|map segment|a\nb"):
        worker.answer(task, reporter)
