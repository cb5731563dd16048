"""The runs of an experiment, side by side, each in a process of its own.

A process a run (`bnexp.process`), and not a pool: a run that is killed takes no other with it, and
is tried again from its checkpoint. At the first SIGINT or SIGTERM each stops after a checkpoint.
"""

import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from bnexp.config.experiment import Experiment, Settings, differences
from bnexp.data import idx
from bnexp.errors import BnexpError, ConfigError, InterruptedRun, RunError, StorageError
from bnexp.files.provenance import provenance
from bnexp.files.run_folder import (
    CONFIG,
    RUN_FILES,
    Task,
    is_done,
    read_config,
    read_status,
    write_config,
)
from bnexp.files.storage import locked, storage_errors
from bnexp.training import worker as process

TRIES = 3  # of a run whose process is killed
POLL_SECONDS = 0.5
ENDING_SECONDS = 5.0  # for a process whose parent was killed to notice, and end


class Progress(Protocol):
    """What is told while the runs are at work."""

    def say(self, text: str) -> None:
        """A line for the user."""

    def steps(self, done: int, total: int) -> None:
        """Steps done by all runs together, and how many there are."""


def execute(
    experiment: Experiment, folder: Path, jobs: int, progress: Progress
) -> list[BnexpError]:
    """Do what is left of every run; returns one error for each run that failed.

    Args:
        experiment: what to do.
        folder: where its files are, or go.
        jobs: runs at a time.
        progress: is told what happens.

    Raises:
        ConfigError: the folder holds an experiment of another config.
        DataError: a data set is missing or damaged.
        InterruptedRun: stopped by a signal.
        LockedError: another process works on the experiment.
        StorageError: the folder cannot be written, or a run in it is damaged.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            check_unchanged(experiment, folder)
            write_config(folder, experiment)
            return _Runs(experiment, folder, progress).work(jobs)


def check_unchanged(experiment: Experiment, folder: Path) -> None:
    """Check that the folder is empty, or holds this experiment, perhaps with fewer steps.

    Raises:
        ConfigError: it holds another; the text names every key that differs.
        DamagedError: its config cannot be read.
    """
    if not (folder / CONFIG).exists():
        return
    before = read_config(folder)
    old, new = ({v.name: v.settings for v in e.variants} for e in (before, experiment))
    changes = dict.fromkeys(
        change for name in new if name in old for change in _changes(old[name], new[name])
    )
    if before.seeds != experiment.seeds:
        changes[f"seeds: {list(before.seeds)}, now {list(experiment.seeds)}"] = None
    if list(old) != list(new):
        changes[f"variants: {', '.join(old)}; now {', '.join(new)}"] = None
    if changes:
        raise ConfigError(
            f"{folder}: holds results of another config ({'; '.join(changes)}).\n"
            "Use --out DIR for another folder, or --force to discard the results there."
        )


def _changes(old: Settings, new: Settings) -> Iterator[str]:
    for key, (before, now) in differences(old, new).items():
        # Where the data lies is no part of the experiment, and a longer run continues a shorter.
        if key != "data.root" and not (key == "train.steps" and now > before):
            yield f"{key}: {before}, now {now}"


def discard(experiment: Experiment, folder: Path) -> None:
    """Delete what training wrote into the folder for these variants, and nothing else.

    Raises:
        LockedError: another process works on the experiment.
        StorageError: the folder cannot be written.
    """
    if folder.is_dir():
        with storage_errors(folder), locked(folder):
            for variant in experiment.variants:
                if (folder / variant.name).is_dir():
                    with locked(folder / variant.name, wait=ENDING_SECONDS):
                        for name in RUN_FILES:
                            (folder / variant.name / name).unlink(missing_ok=True)
            (folder / CONFIG).unlink(missing_ok=True)


@dataclass
class _Run:
    """A run at work, or waiting for its turn."""

    task: Task
    tries: int = 0
    process: Any = None
    connection: Connection | None = None
    state: str = ""  # what the process said last: done, interrupted, failed
    error: BnexpError | None = None


class _Runs:
    """All runs of an experiment."""

    def __init__(self, experiment: Experiment, folder: Path, progress: Progress) -> None:
        self.folder, self.progress = folder, progress
        where = provenance()
        self.runs = [
            _Run(Task(variant, experiment.seeds, folder / variant.name, where))
            for variant in experiment.variants
        ]
        self.signals = 0
        self.stopping = False

    def work(self, jobs: int) -> list[BnexpError]:
        """Do all runs, `jobs` at a time."""
        waiting, working = deque(r for r in self.runs if not self._is_done(r)), list[_Run]()
        _load_data(run.task.variant.settings for run in waiting)
        with self._signals_handled():
            try:
                while working or (waiting and not self.signals):
                    self._heed_signals(working)
                    while waiting and len(working) < jobs and not self.signals:
                        working.append(self._start(waiting.popleft()))
                    self._listen(working)
                    for run in [r for r in working if not r.process.is_alive()]:
                        working.remove(run)
                        if self._ended(run):
                            waiting.appendleft(run)
                    self._tell_steps()
            finally:
                for run in working:
                    run.process.kill()
                    run.process.join()
        errors = [run.error for run in self.runs if run.error]
        for error in errors:
            if isinstance(error, StorageError):  # a full disk, say, is every run's: one is enough
                raise error
        if self.signals:
            raise InterruptedRun("stopped")
        return errors

    def _is_done(self, run: _Run) -> bool:
        steps = run.task.variant.settings.train.steps
        done = is_done(run.task.folder, steps)
        if done:
            self.progress.say(f"{run.task.variant.name}: done already ({steps} steps)")
        return done

    def _start(self, run: _Run) -> _Run:
        run.tries += 1
        run.process, run.connection = process.start(run.task)
        return run

    def _heed_signals(self, working: Sequence[_Run]) -> None:
        """The first signal stops the runs after a checkpoint; the second at once."""
        if self.signals > 1:
            raise InterruptedRun("stopped at once; what follows the last checkpoint is lost")
        if self.signals and not self.stopping:
            self.stopping = True
            self.progress.say("stopping after a checkpoint; once more to stop at once")
            for run in working:
                if run.connection is not None:
                    with suppress(OSError):  # it ended just now
                        run.connection.send("stop")

    def _listen(self, working: Sequence[_Run]) -> None:
        """Wait for news of the runs, for half a second at most."""
        speaking = [r.connection for r in working if r.connection is not None]
        ready = wait([*speaking, *(r.process.sentinel for r in working)], POLL_SECONDS)
        for run in working:
            while run.connection in ready and run.connection.poll():
                try:
                    kind, content = run.connection.recv()
                except (EOFError, OSError):
                    run.connection = None
                    break
                if kind == "say":
                    self.progress.say(content)
                elif kind == "state":
                    run.state = content
                else:
                    run.error = content

    def _ended(self, run: _Run) -> bool:
        """Take note of a process that ended; true where the run must be tried again."""
        self._listen([run])
        run.process.join()
        code, name = run.process.exitcode, run.task.variant.name
        if run.error or run.state == "done":
            return False
        if run.state == "interrupted":
            if not self.signals:
                run.error = InterruptedRun(f"{name}: its process was told to stop")
            return False
        if code < 0 and run.tries < TRIES and not self.signals:
            self.progress.say(f"{name}: its process was killed (signal {-code}); trying again")
            return True
        hint = "; perhaps out of memory: fewer --jobs, or fewer seeds" if code == -9 else ""
        run.error = RunError(f"{name}: its process ended with code {code}{hint}")
        return False

    def _tell_steps(self) -> None:
        done = total = 0
        for run in self.runs:
            steps = run.task.variant.settings.train.steps
            total += steps
            with suppress(StorageError):
                done += min(int(read_status(run.task.folder).get("step", 0)), steps)
        self.progress.steps(done, total)

    @contextmanager
    def _signals_handled(self) -> Iterator[None]:
        """Count signals, and no more: what a handler raises or prints can come at any place."""

        def count(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            self.signals += 1

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, count) for number in process.SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _load_data(settings: Iterable[Settings]) -> None:
    """Once, before all runs: what is missing is downloaded, or said, a single time."""
    for name, root in {(each.data.name, each.data.root) for each in settings}:
        if name in idx.CLASSES:
            idx.load(name, root)
