"""Runs are never lost and never silently wrong: kills, full disks, damaged files, signals."""

import contextlib
import errno
import itertools
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bnexp.analysis import results as reader
from bnexp.analysis import summary
from bnexp.config import experiment as config
from bnexp.data import datasets as data
from bnexp.errors import BnexpError, DamagedError, RunError, StorageError
from bnexp.files import checkpoint
from bnexp.files import run_folder as runlog
from bnexp.files.run_folder import Task
from bnexp.networks import backend
from bnexp.training import run as train
from bnexp.training import scheduler as execute
from bnexp.training import worker as process

SMALL = {
    "model": {"hidden": (3, 2)},
    "train": {"steps": 10, "checkpoint_every": 6},
    "record": {"probe_size": 20, "probe_every": 4, "evaluate_every": 3},
}


CASES = 500  # of damaged files


@pytest.fixture
def quick(monkeypatch):
    """The data set is loaded once, nothing waits for the disk, and a stop may come at any step."""
    digits = data.load(data.DataConfig("digits", "unused"))
    digits = replace(digits, test_x=digits.test_x[:40], test_y=digits.test_y[:40])
    monkeypatch.setattr(data, "load", lambda _: digits)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(train._Status, "due", lambda _: True)
    monkeypatch.setattr(backend, "blas", lambda: "")  # takes longer than a run to find out


def go(task, say=lambda _: None, steps=None):
    """Do a run to its end, or stop it after so many steps."""
    left = itertools.repeat(False) if steps is None else iter([False] * (steps - 1) + [True])
    return train.run(task, lambda: next(left), say)


def contents(folder):
    """Every byte that must not depend on what happened on the way."""
    content = {
        name: (folder / name).read_bytes()
        for name in (runlog.BATCH, runlog.PROBE, runlog.METRICS, runlog.PERCENTILES)
    }
    state = checkpoint.load_tensors(folder / runlog.CHECKPOINT)
    tensors = {**checkpoint.load_tensors(folder / runlog.MODEL), **state["arrays"]}
    return content | {key: value.numpy().tobytes() for key, value in tensors.items()}


def rows(task):
    """The rows a reader finds in each log, as bytes; nothing where the run is not begun."""
    if not (task.folder / runlog.STATUS).exists():
        return b"", b"", b""
    run = reader.read_variant(task.folder, task.variant)
    metrics = np.column_stack([run.metrics.steps, run.metrics.test_loss, run.metrics.train_loss])
    return run.batch.values.tobytes(), run.probe.values.tobytes(), metrics.tobytes()


# A fault at every single call that changes the disk


class Killed(BaseException):
    """Stands for the end of the process."""


class PowerCut(Killed):
    """Stands for the end of the process, and of all that the system had not put on the disk yet."""


def no_room():
    """What the system says of a full disk."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Disk:
    """The disk, on which a call fails, counted from 0; `calls` is how many there were.

    Args:
        patch: a monkeypatch.
        fatal: the call that fails; None: none does.
        error: makes what is raised. A `Killed` process does nothing more; on a disk that is full,
            every later write fails as well, and one that fails may have written a part.
    """

    def __init__(self, patch, fatal, error):
        self.calls, self.fatal, self.error = 0, fatal, error
        self.synced = {}  # content by inode
        opened = Path.open

        def open_(path, mode="r", *args, **kwargs):
            if mode.startswith("r") and "+" not in mode:
                return opened(path, mode, *args, **kwargs)
            self.called(takes_room=True)
            return File(opened(path, mode, *args, **kwargs), self)

        def fsync(descriptor):
            self.called(takes_room=True)
            path = Path(f"/proc/self/fd/{descriptor}")
            if error is PowerCut and path.is_file():
                self.synced[path.stat().st_ino] = path.read_bytes()

        patch.setattr(Path, "open", open_)
        patch.setattr(os, "fsync", fsync)
        for name in ("replace", "unlink", "mkdir"):
            patch.setattr(Path, name, self.counted(getattr(Path, name), takes_room=name == "mkdir"))

    def counted(self, original, *, takes_room=False):
        """The function, which may fail."""

        def call(*args, **kwargs):
            self.called(takes_room=takes_room)
            return original(*args, **kwargs)

        return call

    def called(self, *, takes_room):
        """Fail if this is the call, or comes after it."""
        number, self.calls = self.calls, self.calls + 1
        if self.fatal is not None and number >= self.fatal:
            error = self.error()
            if number == self.fatal or takes_room or isinstance(error, Killed):
                raise error

    def lose(self, folder):
        """Leave of each file what was put on the disk, as a power cut may."""
        for path in folder.iterdir():
            path.write_bytes(self.synced.get(path.stat().st_ino, b""))


class File:
    """A file on such a disk."""

    def __init__(self, file, disk):
        self.file, self.disk = file, disk
        self.truncate = disk.counted(file.truncate)

    def write(self, content):
        """Write all, or a part before failing."""
        try:
            self.disk.called(takes_room=True)
        except OSError:
            self.file.write(content[: len(content) // 2])
            raise
        return self.file.write(content)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


def fresh(task):
    """Nothing is there yet."""


def extended(task):
    """A shorter run is done."""
    settings = task.variant.settings
    shorter = replace(settings, train=replace(settings.train, steps=5))
    assert go(replace(task, variant=replace(task.variant, settings=shorter))) == "done"


def without_checkpoints(task):
    """The run was stopped late, and no checkpoint is whole: it must start again."""
    go(task, steps=8)
    for name in (runlog.CHECKPOINT, runlog.PREVIOUS):
        (task.folder / name).write_bytes(b"damaged")


def says_it_is_done(task):
    """Whether the status says that all steps are made."""
    if not (task.folder / runlog.STATUS).exists():
        return False
    status = runlog.read_status(task.folder)
    return (status["state"], status["steps"]) == ("done", task.variant.settings.train.steps)


@pytest.mark.parametrize(
    ("before", "error"),
    [
        (fresh, Killed),
        (fresh, PowerCut),
        (fresh, no_room),
        (extended, Killed),
        (extended, PowerCut),
        (extended, no_room),
        (without_checkpoints, Killed),
    ],
)
@pytest.mark.usefixtures("quick")
def test_a_fault_at_any_write_costs_nothing(small_task, monkeypatch, before, error):
    """Killed, without power or out of room at each call in turn: readable, and the same end."""
    whole, start = small_task("whole", **SMALL), small_task("start", **SMALL)
    go(whole)
    start.folder.mkdir()
    before(start)
    expected, allowed = contents(whole.folder), list(zip(rows(whole), rows(start), strict=True))
    for fatal in itertools.count():
        task = small_task(f"run{fatal}", **SMALL)
        shutil.copytree(start.folder, task.folder)
        with monkeypatch.context() as patch:
            disk = Disk(patch, fatal, error)
            disk.synced |= {p.stat().st_ino: p.read_bytes() for p in task.folder.iterdir()}
            try:
                go(task)
            except StorageError as told:
                assert "No space left on device" in str(told)  # noqa: PT017
                assert str(told).count("\n") == 1  # noqa: PT017
            except Killed:
                pass
        if disk.calls <= fatal:
            break
        if error is PowerCut:
            disk.lose(task.folder)
        if says_it_is_done(task):
            assert contents(task.folder) == expected, f"fault at call {fatal}"
        for found, logs in zip(rows(task), allowed, strict=True):
            assert any(log.startswith(found) for log in logs), f"fault at call {fatal}"
        go(task)
        assert contents(task.folder) == expected, f"fault at call {fatal}"
        shutil.rmtree(task.folder)
    assert fatal > 60


@pytest.mark.usefixtures("quick")
def test_a_full_disk_does_not_hide_why_a_run_failed(small_task, monkeypatch):
    """Whatever cannot be written after a run has diverged, that it diverged is what is told."""
    changes = {**SMALL, "model": {"hidden": (3, 2), "norm": "none", "activation": "relu"}}
    changes["train"] = {"steps": 300, "lr": 1e30, "checkpoint_every": 1000}
    told = []
    for fatal in itertools.count():
        task = small_task(f"run{fatal}", **changes)
        with monkeypatch.context() as patch:
            disk = Disk(patch, fatal, no_room)
            with pytest.raises(BnexpError) as caught:
                go(task)
        if disk.calls <= fatal:
            break
        told.append(caught.type)
        rows(task)  # can be read
    changed = told.index(RunError)
    assert set(told[:changed]) == {StorageError}
    assert set(told[changed:]) == {RunError}
    assert len(told) - changed > 5


# What a run continues from


@pytest.mark.usefixtures("quick")
def test_a_log_damaged_at_its_end_costs_one_checkpoint(small_task):
    """The checkpoint before does not count on that end; which file it was is said."""
    whole, task, said = small_task("whole", **SMALL), small_task("damaged", **SMALL), []
    go(whole)
    go(task, steps=8)
    for name in (runlog.BATCH, runlog.METRICS):
        path = task.folder / name
        path.write_bytes(path.read_bytes()[:-1])
    assert go(task, said.append) == "done"
    assert said == [
        f"{task.folder / runlog.BATCH}: damaged (1 bytes short); using the checkpoint before",
        "variant: continuing at step 6",
    ]
    assert contents(task.folder) == contents(whole.folder)


@pytest.mark.usefixtures("quick")
def test_a_run_whose_data_moved_continues(small_task):
    """Where the data lies is no part of the run."""
    moved = {**SMALL, "data": {"root": "elsewhere"}}
    go(small_task("whole", **SMALL))
    go(small_task("moved", **SMALL), steps=8)
    go(small_task("moved", **moved))
    assert contents(small_task("moved").folder) == contents(small_task("whole").folder)


@pytest.mark.usefixtures("quick")
def test_a_run_is_not_continued_with_fewer_steps_than_it_made(small_task):
    """Its rows would be those of another run; the text says what to do."""
    go(small_task(**SMALL), steps=8)
    fewer = {**SMALL, "train": {"steps": 7}}
    with pytest.raises(DamagedError, match="other settings; use --out DIR, or --force"):
        go(small_task(**fewer))


# Damaged files


def damaged(content, rng):
    """The content cut short or longer, with a piece missing or empty, or a few bytes changed."""
    kind = rng.choice(["truncate", "extend", "cut", "zero", "change", "change", "change"])
    start = rng.randrange(len(content) or 1)
    end = min(len(content), start + rng.randint(1, 600))
    if kind == "truncate":
        return content[:start]
    if kind == "extend":
        return content + rng.randbytes(rng.randint(1, 40))
    if kind == "cut":
        return content[:start] + content[end:]
    if kind == "zero":
        return content[:start] + bytes(end - start) + content[end:]
    changed = bytearray(content)
    for place in rng.sample(range(len(content)), rng.randint(1, 3)):
        changed[place] = rng.choice([changed[place] ^ (1 << rng.randrange(8)), rng.randrange(256)])
    return bytes(changed)


def reading(folder):
    """Everything that analysis and figures take from an experiment's files."""
    files = reader.read_experiment(folder)
    found = {"experiment": files.experiment, "table": summary.compare([files])}
    for name, run in files.variants.items():
        found[f"{name}/status"] = run.status
        for kind, log in (("batch", run.batch), ("probe", run.probe), ("metrics", run.metrics)):
            for key, value in vars(log).items():
                plain = value.tobytes() if isinstance(value, np.ndarray) else value
                found[f"{name}/{kind}/{key}"] = plain
        if run.status["state"] == "done":
            for key, value in checkpoint.load_tensors(run.path / runlog.MODEL).items():
                found[f"{name}/{key}"] = value.numpy().tobytes()
    return found


def carry_on(experiment, folder):
    """What `bnexp train` does, in this process; then what a reader finds, and other programs."""
    execute.check_unchanged(experiment, folder)
    runlog.write_config(folder, experiment)
    runs, trained = execute._Runs(experiment, folder, Listener()), {}
    for run in runs.runs:
        if not runs._is_done(run):
            assert go(run.task) == "done"
            trained[run.task.folder.name] = contents(run.task.folder)
    return reading(folder), trained


def lasting(found):
    """What of it is the same when the run is done again."""
    volatile = ("table", "baseline/status", "batchnorm/status")
    return {key: value for key, value in found.items() if key not in volatile}


class Listener:
    """Keeps what a user would be told."""

    def __init__(self):
        self.said = []

    def say(self, text):
        """A line."""
        self.said.append(text)

    def steps(self, done, total):
        """Progress."""


def attempt(action, *args):
    """What it returns, or None for an error that users can be shown."""
    try:
        return action(*args)
    except BnexpError as error:
        assert error.exit_code in {3, 4}  # noqa: PT017
        assert len(str(error).splitlines()) <= 2  # noqa: PT017
        return None


@pytest.fixture
def experiments(quick, small_experiment, tmp_path, monkeypatch):  # noqa: ARG001
    """An experiment, and its folder when it is done, and when it was stopped on the way."""
    monkeypatch.setattr(execute, "provenance", dict)
    known, load = {}, config.load  # by content: most are the same, and YAML takes its time

    def load_once(path):
        content = path.read_bytes()
        if content not in known:
            known[content] = load(path)
        return known[content]

    monkeypatch.setattr(config, "load", load_once)
    experiment = small_experiment(**SMALL)
    for folder, steps in (("done", None), ("stopped", 8)):
        (tmp_path / folder).mkdir()
        runlog.write_config(tmp_path / folder, experiment)
        for variant in experiment.variants:
            go(Task(variant, experiment.seeds, tmp_path / folder / variant.name, {}), steps=steps)
    return experiment, tmp_path / "done", tmp_path / "stopped"


@pytest.mark.parametrize("number", range(2))
def test_a_damaged_file_is_named_or_makes_no_difference(experiments, tmp_path, number):
    """Of 500 damages to any file, none passes as another result, in reading or continuing.

    Nothing but a damaged log or config is refused: the rest is written anew.
    """
    experiment, done, stopped = experiments
    rng, refused = random.Random(number), 0
    whole = {name: contents(done / name) for name in ("baseline", "batchnorm")}
    before = {folder: reading(folder) for folder in (done, stopped)}
    paths = {
        folder: sorted(p for p in folder.rglob("*.*") if not p.name.startswith("."))
        for folder in (done, stopped)
    }
    for case in range(CASES // 2):
        original = (done, stopped)[case % 2]
        path = rng.choice(paths[original])
        folder = tmp_path / f"case{case}"
        shutil.copytree(original, folder)
        target = folder / path.relative_to(original)
        target.write_bytes(damaged(path.read_bytes(), rng))
        found = attempt(reading, folder)
        assert found in (None, before[original]), f"case {case}: {target}"
        if found is not None and original == done:
            continue
        ended = attempt(carry_on, experiment, folder)
        if ended is None:
            assert target.name in {runlog.CONFIG, runlog.BATCH, runlog.PROBE, runlog.METRICS}
        else:
            assert lasting(ended[0]) == lasting(before[done]), f"case {case}: {target}"
            assert ended[1].items() <= whole.items(), f"case {case}: {target}"
        refused += found is None
    assert refused > CASES / 8


# The command, as the user runs it

CONFIG = """
name: small
seeds: [0, 1]
data: {name: digits}
model: {hidden: [8, 6], weight_std: 0.3}
train: {steps: 1000000, batch_size: 20, lr: 0.5, checkpoint_every: 100}
record: {layers: all, probe_size: 50, probe_every: 50, evaluate_every: 100}
variants:
  baseline: {}
"""


class Command:
    """`bnexp train` in a folder of its own, at the head of a process group of its own."""

    def __init__(self, folder, *words, limit=None):
        self.out = folder / "out"
        (folder / "small.yaml").write_text(CONFIG)
        command = [sys.executable, "-m", "bnexp", "train", "--config", "small.yaml", "--out", "out"]
        self.process = subprocess.Popen(
            [*command, *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        if limit:  # the processes that it starts have the same
            resource.prlimit(self.process.pid, limit[0], limit[1:] * 2)

    @property
    def status(self):
        """What status.json says; nothing before it is there."""
        try:
            return runlog.read_status(self.out / "baseline")
        except DamagedError:
            return {"state": "", "step": 0}

    def wait_for(self, condition):
        """Wait until it holds; two minutes at most."""
        deadline = time.monotonic() + 120
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "nothing happened for two minutes"
            time.sleep(0.01)

    def wait_for_step(self, step):
        """Wait until the run says it made so many."""
        self.wait_for(lambda: self.status["step"] >= step)

    def end(self):
        """Exit code and the lines on stderr, when no process is left that could write there."""
        _, said = self.process.communicate(timeout=120)
        lines = [line for line in said.splitlines() if not line.endswith(" steps")]
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


def test_a_full_disk_is_exit_4_and_the_same_command_continues(command, tmp_path):
    """Two lines; what was written is read; with room it ends as if there had always been."""
    out, key = tmp_path / "out", "baseline/batch/values"
    out.mkdir()
    with disk(out, "size=150000") as mounted:
        limit = None if mounted else (resource.RLIMIT_FSIZE, 40_000)
        code, lines = command("train.steps=600", limit=limit).end()
        assert (code, len(lines)) == (4, 2), lines
        assert re.search(r"No space left on device|File too large", lines[0])
        assert lines[1] == "Make room or fix the folder, then run the same command again."
        part = reading(out)[key]
        shutil.copytree(out, tmp_path / "room")
    shutil.copytree(tmp_path / "room", out, dirs_exist_ok=True)
    listener, experiment = Listener(), config.load(out / runlog.CONFIG)
    assert execute.execute(experiment, out, 1, listener) == []
    assert re.fullmatch(r"baseline: continuing at step [1-5]00", listener.said[0])
    assert part
    assert reading(out)[key].startswith(part)
    assert execute.execute(experiment, tmp_path / "whole", 1, listener) == []
    assert contents(out / "baseline") == contents(tmp_path / "whole" / "baseline")


def test_a_read_only_folder_is_two_lines(small_experiment, tmp_path):
    """Which file, why, and what to do; nothing has been trained by then."""
    tmp_path.chmod(0o500)  # which root does not heed
    with disk(tmp_path, "ro"), pytest.raises(StorageError) as caught:
        execute.execute(small_experiment(), tmp_path, 1, Listener())
    tmp_path.chmod(0o700)
    assert str(caught.value).startswith(f"{tmp_path / '.lock'}: ")
    assert re.search(r"Read-only file system|Permission denied", str(caught.value))
    assert str(caught.value).count("\n") == 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "name", [*runlog.RUN_FILES, ".lock", ".holder.json", "status.json.tmp", "checkpoint.pt.new"]
)
def test_a_folder_in_a_files_place_is_told_by_its_name(small_task, name):
    """In two lines; without it the run ends as it should."""
    task = small_task(**{**SMALL, "record": {**SMALL["record"], "ics_every": 5}})
    (task.folder / name).mkdir(parents=True)
    with pytest.raises(StorageError, match=re.escape(name)) as caught:
        go(task)
    assert len(str(caught.value).splitlines()) <= 2
    (task.folder / name).rmdir()
    assert go(task) == "done"


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
    """Of 1,000 reads while a run writes, none fails, and each is the start of the finished log."""
    running, seen = command("record.every=10"), []
    running.wait_for_step(100)
    folder = running.out / "baseline"
    variant = reader.read_experiment(running.out).experiment.variants[0]
    for _ in range(1000):
        run = reader.read_variant(folder, variant)
        logs = [run.batch.values, run.probe.values, run.metrics.test_loss]
        logs += [np.load(folder / name, "r") for name in (runlog.BATCH, runlog.PROBE)]
        seen.append([(len(log), zlib.crc32(log.tobytes())) for log in logs])
    assert running.process.poll() is None
    assert seen[0][0] < seen[-1][0]
    running.process.send_signal(signal.SIGTERM)
    assert running.end()[0] == 130
    run = reader.read_variant(folder, variant)
    final = [run.batch.values, run.probe.values, run.metrics.test_loss]
    for number, found in enumerate(zip(*seen, strict=True)):
        for length, crc in set(found):
            assert zlib.crc32(final[number % 3][:length].tobytes()) == crc


def test_a_second_ctrl_c_stops_at_once_and_keeps_the_last_checkpoint(command):
    """Exit 130 with the command that continues, no traceback, and no process is left."""
    running = command()
    running.wait_for_step(300)
    os.kill(running.status["pid"], signal.SIGSTOP)  # so that it cannot stop by itself
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
    state, _ = checkpoint.load(running.out / "baseline", lambda _: None)
    assert state["step"] >= before["step"] // 100 * 100
    assert reading(running.out)["baseline/batch/steps"]


def test_ctrl_c_while_a_run_is_starting_shows_no_traceback(command):
    """A terminal sends it to every process, and the run's own still imports what it needs."""
    running = command()
    running.wait_for(lambda: re.search(r"spawn_main", children(running.process.pid)))
    os.killpg(running.process.pid, signal.SIGINT)
    code, lines = running.end()
    assert code == 130
    assert lines == [
        "stopping after a checkpoint; once more to stop at once",
        "bnexp: stopped",
        "continue with: bnexp train --config small.yaml --out out",
    ]


STOPPED_WHILE_DRAWING = """
import signal, sys
from bnexp import cli
from bnexp.figures import fitting as present
number = int(sys.argv.pop())
present.present = lambda _: signal.raise_signal(number)
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_figures_are_drawn_is_exit_130(tmp_path, number):
    """All runs are done; the command that draws is told, and no traceback is shown."""
    (tmp_path / "small.yaml").write_text(CONFIG)
    words = ["train", "--config", "small.yaml", "--out", "out", "train.steps=20"]
    stopped = subprocess.run(
        [sys.executable, "-c", STOPPED_WHILE_DRAWING, *words, str(int(number))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert stopped.returncode == 130, stopped.stderr
    assert stopped.stderr.splitlines()[-1] == f"continue with: bnexp {' '.join(words)}"
    assert "Traceback" not in stopped.stderr
    assert runlog.read_status(tmp_path / "out" / "baseline")["state"] == "done"


def children(pid):
    """The command lines of the processes that a process has started."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return " ".join(Path(f"/proc/{each}/cmdline").read_text() for each in pids)


def test_sigterm_to_a_runs_own_process_does_not_make_it_look_finished(command):
    """It stops after a checkpoint, and the command ends with 130 and what to do."""
    running = command()
    running.wait_for_step(300)
    os.kill(running.status["pid"], signal.SIGTERM)
    code, lines = running.end()
    assert code == 130
    assert lines[-2:] == [
        "bnexp: baseline: its process was told to stop",
        "continue with: bnexp train --config small.yaml --out out",
    ]
    assert running.status["state"] == "interrupted"
    state, _ = checkpoint.load(running.out / "baseline", lambda _: None)
    assert state["step"] == running.status["step"]


def test_of_two_commands_at_one_moment_one_is_refused(command):
    """With the other's host and pid, and with --force no less; the other goes on."""
    both = command("--force"), command("--force")
    while all(each.process.poll() is None for each in both):
        time.sleep(0.01)
    refused, other = sorted(both, key=lambda each: each.process.poll() is None)
    code, lines = refused.end()
    assert code == 4
    assert lines[0].startswith(f"bnexp: out: in use by process {other.process.pid} on ")
    assert len(lines) == 1
    other.wait_for_step(100)


def no_memory_of_torch():
    """What torch raises when the system has no more memory."""
    torch.empty(1 << 50, dtype=torch.uint8)


def no_memory_of_numpy():
    """What NumPy raises then."""
    np.empty(1 << 50, np.uint8)


def no_memory_for_a_library():
    """What an import raises then."""
    raise ImportError("libtorch_cpu.so: failed to map segment from shared object")


def mistake():
    """An error of ours."""
    raise ValueError("a\nb")


@pytest.mark.parametrize(
    ("fail", "text"),
    [
        (no_memory_of_torch, "out of memory; use fewer seeds, fewer units, or fewer --jobs"),
        (no_memory_of_numpy, "out of memory; use fewer seeds, fewer units, or fewer --jobs"),
        (no_memory_for_a_library, "out of memory; use fewer seeds, fewer units, or fewer --jobs"),
        (mistake, "internal error (ValueError: a b); --debug shows where"),
    ],
)
def test_an_error_in_a_runs_process_is_one_line(small_task, monkeypatch, fail, text):
    """Out of memory says what to change; with --debug there is the traceback."""

    class Parent:
        def send(self, message):
            assert str(message[1]) == f"variant: {text}"
            told.append(message[1].exit_code)

    told = []
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(train, "run", lambda *_, **__: fail())
    process._run(small_task(), Parent())
    assert told == [1]
    monkeypatch.setattr(sys, "argv", ["bnexp", "--debug"])
    with pytest.raises(Exception, match=r"allocate|map segment|a\nb"):
        process._run(small_task(), Parent())
