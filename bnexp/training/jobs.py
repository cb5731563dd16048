"""The jobs of an experiment: which wait, how far they are, and what became of them.

This is what every scheduler shares, whether it gives the jobs to processes here or to a cluster. A
job is one run, or on a GPU the runs of one variant, which train together. A job whose process is
killed is tried again from its last checkpoint. At the first signal every run stops after a
checkpoint, and no other begins.
"""

import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from bnexp.config import Settings
from bnexp.errors import BnexpError, InterruptedRun, RunError, StorageError
from bnexp.files.provenance import provenance
from bnexp.files.run_folder import RunPlan
from bnexp.files.signals import SIGNALS
from bnexp.training.plans import steps_made
from bnexp.training.worker import Prepare, RunProgress, Task

TRIES = 3  # of a job whose process is killed


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
    working: dict[str, RunProgress] = field(default_factory=dict)
    ended: dict[str, RunProgress] = field(default_factory=dict)


@dataclass
class Job:
    """A task, how often it was tried, and what became of it."""

    task: Task | Prepare
    tries: int = 0
    error: BnexpError | None = None


class Jobs:
    """The jobs of an experiment.

    Args:
        left: the runs that are to be made.
        plans: all runs.
        listener: is told what happens.

    Attributes:
        left: the runs that are to be made.
        waiting: the jobs that no process is at.
        signals: how many signals have come.
    """

    def __init__(
        self, left: Sequence[RunPlan], plans: Sequence[RunPlan], listener: Listener
    ) -> None:
        self.listener = listener
        self.waiting: deque[Job] = deque()
        self.signals = 0
        self._stopping = False
        self.left = list(left)
        self._all: list[Job] = []
        self._made = {plan.name: steps_made(plan) for plan in left}
        steps = sum(plan.settings.train.steps for plan in plans)
        to_make = sum(plan.settings.train.steps - self._made[plan.name] for plan in left)
        self.tally = Tally(len(plans), len(plans) - len(left), steps, steps - to_make)

    @property
    def settings(self) -> tuple[Settings, ...]:
        """The different settings of the runs that are to be made."""
        return tuple(dict.fromkeys(plan.settings for plan in self.left))

    def add(self, task: Task | Prepare) -> None:
        """Add a job to those that wait."""
        self._all.append(Job(task))
        self.waiting.append(self._all[-1])

    def add_runs(self, *, stacked: bool) -> None:
        """Add a job for each run; where a GPU trains runs together, one for each variant."""
        made_with, stacks = provenance(), dict[str, list[RunPlan]]()
        for plan in self.left:
            stacks.setdefault(plan.variant if stacked else plan.name, []).append(plan)
        for plans in stacks.values():
            self.add(Task(tuple(plans), made_with))

    def take(self) -> Job | None:
        """The next job, whose process is about to begin; None where none is to begin."""
        if not self.waiting or self.signals:
            return None
        job = self.waiting.popleft()
        job.tries += 1
        return job

    def note(self, progress: RunProgress) -> None:
        """Take note of how far a run is."""
        name = progress.plan.name
        self.tally.made += progress.step - self._made.get(name, 0)
        self._made[name] = progress.step
        self.tally.working[name] = progress

    def finish(self, job: Job, ended: str, content: object) -> None:
        """Take note of how a job ended: `done`, `ready`, `interrupted`, or with an error."""
        if isinstance(content, BnexpError):
            job.error = content
        for plan in job.task.plans:
            if (last := self.tally.working.pop(plan.name, None)) is not None:
                self.tally.ended[plan.name] = last
            self.tally.done += ended == "done"
        if ended == "interrupted" and not self.signals:
            self.told_to_stop(job)

    def told_to_stop(self, job: Job) -> None:
        """Give up a job whose process alone was told to stop."""
        job.error = InterruptedRun(f"{job.task.name}: its process was told to stop")

    def try_again(self, job: Job, lost: str, ended: str) -> None:
        """Let a job wait again whose process was lost, or give it up after so many tries.

        Args:
            job: the job.
            lost: what happened to the process, such as "its process was killed (signal 9)".
            ended: the same for the last try, with what users may do.
        """
        if self.signals:
            return
        if job.tries < TRIES:
            self.listener.say(f"{job.task.name}: {lost}; trying again")
            self.waiting.appendleft(job)
        else:
            self.give_up(job, ended)

    def give_up(self, job: Job, why: str) -> None:
        """Let a job fail whose process was lost."""
        job.error = RunError(f"{job.task.name}: {why}")

    def errors(self) -> list[BnexpError]:
        """One error for each job that failed.

        Raises:
            InterruptedRun: signals have stopped the runs.
            StorageError: files cannot be written: what one run meets, such as a full disk, the
                others meet too.
        """
        errors = [job.error for job in self._all if job.error]
        for error in errors:
            if isinstance(error, StorageError):
                raise error
        if self.signals:
            raise InterruptedRun("stopped")
        return errors

    def begin_to_stop(self) -> bool:
        """Whether the first signal has just come; the user is told once.

        Raises:
            InterruptedRun: a second one has come.
        """
        if self.signals > 1:
            raise InterruptedRun("stopped at once; what follows the last checkpoint is lost")
        begins, self._stopping = self.signals > 0 and not self._stopping, self.signals > 0
        if begins:
            self.listener.say("stopping after a checkpoint; once more to stop at once")
        return begins

    @contextmanager
    def signals_handled(self) -> Iterator[None]:
        """Count signals, and no more: what a handler raises or prints can come at any place."""

        def count(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            self.signals += 1

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, count) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
