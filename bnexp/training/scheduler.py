"""All runs of an experiment, spread over worker processes.

A task is one run, or on a GPU the runs of one variant, which train together. Each worker trains one
task at a time. A worker that is killed takes no other with it: its task is tried again from its
checkpoint by a new worker. At the first SIGINT or SIGTERM every run stops after a checkpoint.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Protocol

from bnexp.config import Experiment
from bnexp.errors import BnexpError, InterruptedRun, RunError, StorageError
from bnexp.files.experiment_folder import refuse_first_edition, write_config
from bnexp.files.locks import locked, storage_errors
from bnexp.files.provenance import provenance
from bnexp.files.run_folder import RunPlan
from bnexp.training import worker
from bnexp.training.growth import check_growth
from bnexp.training.plans import is_done, plans_of
from bnexp.training.readiness import check_machine
from bnexp.training.worker import Prepare, Progress, Task

TRIES = 3  # of a task whose worker is killed
POLL_SECONDS = 0.2


class Listener(Protocol):
    """What is told while the runs are at work."""

    def say(self, text: str) -> None:
        """Take a line for the user."""

    def update(self, tally: "Tally") -> None:
        """Take note of how far all runs are."""


@dataclass
class Tally:
    """How far all runs of an experiment are.

    Attributes:
        runs: how many there are.
        done: how many of them are done.
        steps: to make in all.
        made: steps made so far.
        working: the runs under way, each with its last step, loss and accuracy, by name.
        ended: the same of the runs that have ended, whether they are done or not.
    """

    runs: int
    done: int
    steps: int
    made: int
    working: dict[str, Progress] = field(default_factory=dict)
    ended: dict[str, Progress] = field(default_factory=dict)


def train_experiment(
    experiment: Experiment, folder: Path, jobs: int | None, listener: Listener
) -> list[BnexpError]:
    """Make what is left of every run; returns one error for each task that failed.

    Args:
        experiment: what to train.
        folder: where its files are, or go.
        jobs: workers at a time; None: as many as there are cores.
        listener: is told what happens.

    Raises:
        ConfigError: the folder holds an experiment of another config, or this machine lacks what
            the config asks for.
        DataError: a data set is missing or damaged.
        InterruptedRun: stopped by a signal.
        LockedError: another process works on the experiment.
        StorageError: the folder cannot be written, or a run in it is damaged.
    """
    with storage_errors(folder):
        refuse_first_edition(folder)
        # Before the first file is written; and again below, where no other command can interfere.
        check_growth(experiment, folder)
        check_machine(plan for plan in plans_of(experiment, folder) if not is_done(plan))
        with locked(folder):
            check_growth(experiment, folder)
            plans = plans_of(experiment, folder)
            waiting = [plan for plan in plans if not is_done(plan)]
            write_config(folder, experiment)
            _say_done(plans, waiting, listener)
            if not waiting:
                return []
            jobs = min(jobs or os.cpu_count() or 1, len(waiting))
            return _Scheduler(waiting, plans, jobs, listener).work()


def _say_done(plans: Sequence[RunPlan], waiting: Sequence[RunPlan], listener: Listener) -> None:
    done = len(plans) - len(waiting)
    if done:
        listener.say(f"{done} of {len(plans)} runs done already")


@dataclass
class _Job:
    """A task, how often it was tried, and what became of it."""

    task: Task | Prepare
    tries: int = 0
    error: BnexpError | None = None


@dataclass
class _Worker:
    """A worker process, and the task it is at."""

    process: BaseProcess
    connection: Connection | None
    job: _Job | None = None


class _Scheduler:
    """The tasks of an experiment, and the workers that do them."""

    def __init__(
        self, left: Sequence[RunPlan], plans: Sequence[RunPlan], jobs: int, listener: Listener
    ) -> None:
        self.jobs, self.listener = jobs, listener
        self.left = list(left)
        # The first job compiles, and finds out whether there is a GPU; the others follow from it.
        self.all = [_Job(Prepare(tuple(dict.fromkeys(plan.settings for plan in left))))]
        self.waiting = deque(self.all)
        self.workers: list[_Worker] = []
        self.tally = Tally(
            runs=len(plans),
            done=len(plans) - len(left),
            steps=sum(plan.settings.train.steps for plan in plans),
            made=sum(plan.settings.train.steps for plan in plans if plan not in left),
        )
        self.made = dict.fromkeys(left, 0)
        self.threads = max(plan.settings.train.threads for plan in left)
        self.signals = 0
        self.stopping = False

    def work(self) -> list[BnexpError]:
        """Do all tasks."""
        with self._signals_handled():
            try:
                self._start_workers()
                while self._busy() or (self.waiting and not self.signals):
                    self._heed_signals()
                    self._give_tasks()
                    self._listen()
                    self._bury_the_dead()
                    self.listener.update(self.tally)
            finally:
                for each in self.workers:
                    each.process.kill()
                    each.process.join()
        errors = [job.error for job in self.all if job.error]
        for error in errors:
            if isinstance(error, StorageError):  # a full disk, say, is every run's: one is enough
                raise error
        if self.signals:
            raise InterruptedRun("stopped")
        return errors

    def _busy(self) -> list[_Worker]:
        return [each for each in self.workers if each.job is not None]

    def _start_workers(self) -> None:
        while len(self.workers) < self.jobs:
            self.workers.append(_Worker(*worker.start(self.threads)))

    def _send(self, each: _Worker, message: object) -> None:
        if each.connection is not None:
            with suppress(OSError):  # it ended just now, which `_bury_the_dead` will find
                each.connection.send(message)

    def _give_tasks(self) -> None:
        """The next tasks to the workers that have none."""
        for each in self.workers:
            if each.job is None and self.waiting and not self.signals:
                each.job = self.waiting.popleft()
                each.job.tries += 1
                self._send(each, each.job.task)

    def _heed_signals(self) -> None:
        """The first signal stops the runs after a checkpoint; the second at once."""
        if self.signals > 1:
            raise InterruptedRun("stopped at once; what follows the last checkpoint is lost")
        if self.signals and not self.stopping:
            self.stopping = True
            self.listener.say("stopping after a checkpoint; once more to stop at once")
            for each in self._busy():
                self._send(each, worker.STOP)

    def _listen(self) -> None:
        """Wait for news of the workers, for a fifth of a second at most."""
        speaking = [each.connection for each in self.workers if each.connection is not None]
        wait([*speaking, *(each.process.sentinel for each in self.workers)], POLL_SECONDS)
        for each in self.workers:
            self._hear(each)

    def _hear(self, each: _Worker) -> None:
        try:
            while each.connection is not None and each.connection.poll():
                kind, content = each.connection.recv()
                self._understand(each, kind, content)
        except (EOFError, OSError):
            each.connection = None

    def _understand(self, each: _Worker, kind: str, content: object) -> None:
        if kind == "say":
            self.listener.say(str(content))
        elif isinstance(content, Progress):
            self._note(content)
        elif each.job is not None:
            job, each.job = each.job, None
            self._finish(job, kind, content)

    def _note(self, progress: Progress) -> None:
        self.tally.made += progress.step - self.made.get(progress.plan, 0)
        self.made[progress.plan] = progress.step
        self.tally.working[progress.plan.name] = progress

    def _finish(self, job: _Job, ended: str, content: object) -> None:
        """A job ended: note how, and make the tasks if it was the first one."""
        if isinstance(content, BnexpError):
            job.error = content
        if isinstance(job.task, Prepare):
            if not job.error:
                self._make_tasks(stacked=bool(content))
            return
        for plan in job.task.plans:
            if (last := self.tally.working.pop(plan.name, None)) is not None:
                self.tally.ended[plan.name] = last
            self.tally.done += ended == "done"
        if ended == "interrupted" and not self.signals:
            job.error = InterruptedRun(f"{job.task.name}: its process was told to stop")

    def _make_tasks(self, *, stacked: bool) -> None:
        """A task for each run; where a GPU trains runs together, one for each variant."""
        made_with, stacks = provenance(), dict[object, list[RunPlan]]()
        for plan in self.left:
            stacks.setdefault(plan.variant if stacked else plan, []).append(plan)
        jobs = [_Job(Task(tuple(plans), made_with)) for plans in stacks.values()]
        self.all += jobs
        self.waiting.extend(jobs)

    def _bury_the_dead(self) -> None:
        """A worker that has ended is replaced, and its task tried again or given up."""
        for each in [each for each in self.workers if not each.process.is_alive()]:
            self._hear(each)
            each.process.join()
            self.workers.remove(each)
            if each.job is not None:
                self._try_again(each.job, each.process.exitcode or 0)
            if self.waiting and not self.signals:
                self.workers.append(_Worker(*worker.start(self.threads)))

    def _try_again(self, job: _Job, code: int) -> None:
        name = job.task.name
        if code < 0 and job.tries < TRIES and not self.signals:
            self.listener.say(f"{name}: its process was killed (signal {-code}); trying again")
            self.waiting.appendleft(job)
            return
        if self.signals and code < 0:
            return
        if code == 0:  # told to stop just before it could take the task
            job.error = InterruptedRun(f"{name}: its process was told to stop")
            return
        hint = "; perhaps out of memory: use fewer --jobs" if code == -signal.SIGKILL else ""
        job.error = RunError(f"{name}: its process ended with code {code}{hint}")

    @contextmanager
    def _signals_handled(self) -> Iterator[None]:
        """Count signals, and no more: what a handler raises or prints can come at any place."""

        def count(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            self.signals += 1

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, count) for number in worker.SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
