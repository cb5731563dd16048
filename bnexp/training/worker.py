"""A worker: a process that imports what training needs once, and then does one task after another.

It shares nothing with the command but a pipe, since a lock could be held by a process that is
killed. The command sends tasks and, at any time, "stop". The worker answers with messages:

    ("say", text)                   a line for the user
    ("progress", RunProgress)       how far a run is
    ("ready", whether to stack)     the end of `Prepare`: where there is a GPU, it trains stacks
    ("done" | "interrupted", None)  the end of a task
    ("error", BnexpError)           the end of a task that failed
"""

import gc
import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, ClassVar

from bnexp.config import DataConfig, Settings
from bnexp.errors import BnexpError, ConfigError, RunError
from bnexp.files.run_folder import RunPlan
from bnexp.files.status import Provenance
from bnexp.training.failures import described, loading
from bnexp.training.processes import garbage_kept, hear_signals

if TYPE_CHECKING:  # it loads torch, which the command does without
    from bnexp.data.datasets import Dataset
    from bnexp.training.run import Reporter

STOP = "stop"


@dataclass(frozen=True)
class Task:
    """What a worker does at a time: one run, or runs that train together as a stack.

    Attributes:
        plans: the runs; they differ in nothing but the seed.
        made_with: versions, commit and command, as they go to `status.json`.
    """

    plans: tuple[RunPlan, ...]
    made_with: Provenance = field(default_factory=Provenance)

    @property
    def name(self) -> str:
        """What users are told."""
        first, *others = self.plans
        return f"{first.name} and {len(others)} more seeds" if others else first.name


@dataclass(frozen=True)
class Prepare:
    """A task that trains nothing: it compiles the kernels that runs with these settings need."""

    settings: tuple[Settings, ...]
    name: ClassVar = "compiling the kernels"
    plans: ClassVar[tuple[RunPlan, ...]] = ()


@dataclass(frozen=True)
class RunProgress:
    """How far a run is: its step, and its last training loss and test accuracy (or NaN)."""

    plan: RunPlan
    step: int
    loss: float
    accuracy: float


class PipeReporter:
    """Sends what a run tells through the pipe, and looks there whether it is to stop.

    Args:
        connection: to the command.
        stopped: set by a signal to this process alone.
    """

    def __init__(self, connection: Connection, stopped: threading.Event) -> None:
        self.connection, self.stopped = connection, stopped

    def stop(self) -> bool:
        """Whether the run is to stop: nothing but that is sent while a task is under way."""
        with suppress(OSError):
            return self.stopped.is_set() or self.connection.poll()
        return True  # the command has ended

    def say(self, text: str) -> None:
        """A line for the user."""
        self.tell("say", text)

    def progress(self, plan: RunPlan, step: int, loss: float, accuracy: float) -> None:
        """How far a run is."""
        self.tell("progress", RunProgress(plan, step, loss, accuracy))

    def tell(self, kind: str, content: object = None) -> None:
        """Send a message; a command that has ended does not hear it, and this process will end."""
        with suppress(OSError):
            self.connection.send((kind, content))


def load(settings: Sequence[Settings] = ()) -> None:
    """Load what training needs, before the first task; what fails here is told of every task.

    What is loaded stays, so Python never looks for garbage there, in this process or its forks.

    Args:
        settings: of runs whose engines are loaded too; kernels only if they are compiled already.
    """
    with garbage_kept():
        if _why_not_loaded() is None:
            from bnexp.training.engine_setup import load_engines

            with suppress(ImportError, ConfigError):  # the task that needs them will say so
                load_engines(settings)
        gc.freeze()


def work(connection: Connection, command: BaseProcess | None) -> None:
    """Do tasks until the command ends: the process of a worker.

    Args:
        connection: our end of the pipe.
        command: the process at the pipe's other end.
    """
    stopped = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the command decides
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    hear_signals()
    threading.Thread(target=_end_with, args=(command,), daemon=True).start()
    reporter = PipeReporter(connection, stopped)
    try:
        with suppress(EOFError, OSError, KeyboardInterrupt):
            while (task := _next_task(connection, stopped)) is not None:
                answer(task, reporter)
    except MemoryError:  # not even enough to say so; the command sees that this process has ended
        if "--debug" in sys.argv:
            raise
        os._exit(1)


def _next_task(connection: Connection, stopped: threading.Event) -> Task | Prepare | None:
    """The next task; None when this process alone was told to end."""
    while not stopped.is_set():
        if connection.poll(0.2):
            message = connection.recv()
            if message != STOP:
                return message  # type: ignore[no-any-return]
    return None


def answer(task: Task | Prepare, reporter: PipeReporter) -> None:
    """Do a task, and tell how it ended."""
    reporter.tell(*outcome(task, reporter))


def outcome(task: Task | Prepare, reporter: "Reporter") -> tuple[str, object]:
    """Do a task; returns how it ended, as the message that tells it."""
    if (why := _why_not_loaded()) is not None:
        return "error", RunError(f"{task.name}: {described(why)}")
    try:
        if isinstance(task, Prepare):
            from bnexp.training.engine_setup import prepare

            return "ready", prepare(task.settings, reporter.say)
        from bnexp.training import run

        return run.train(task.plans, task.made_with, reporter, _kept), None
    except BnexpError as error:
        return "error", error
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        return "error", RunError(f"{task.name}: {described(error)}")


@lru_cache(maxsize=1)
def _why_not_loaded() -> ImportError | None:
    """Load what training needs; the first error where that fails, in every later call too."""
    try:
        with loading():
            importlib.import_module("bnexp.training.run")
    except ImportError as error:
        return error
    return None


@lru_cache(maxsize=1)
def _kept(config: DataConfig) -> "Dataset":
    """The data set, which this process keeps for its next run: reading it takes a while."""
    from bnexp.data import datasets

    return datasets.load(config)


def _end_with(command: BaseProcess | None) -> None:
    """Wait for the command's end, and follow it at once: the next process needs the files."""
    if command is not None:
        command.join()
        os._exit(1)
