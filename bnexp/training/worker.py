"""The process of one run: how it is started, what it reports, and how it ends.

It shares nothing with its parent but a pipe: a lock could be held by a process that is killed.
"""

import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from bnexp.errors import BnexpError, RunError
from bnexp.files.run_folder import Task

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def start(task: Task) -> tuple[BaseProcess, Connection]:
    """Start the process of a run.

    Through the connection come ("say", a line for the user), ("error", a BnexpError) and ("state",
    what `train.run` returned); anything sent through it stops the run after a checkpoint.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(task, theirs), name=task.variant.name)
    with environment(task.variant.settings.train.threads), _signals_held():
        process.start()
    theirs.close()
    return process, ours


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back, where the system can; a process started here holds them until it is ready.

    A terminal sends Ctrl-C to all processes, and one that is still importing would show where.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let the signals through after its own start
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(task: Task, connection: Connection) -> None:
    """The process of one run: reports through `connection`, and ends with its parent."""
    stopped = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(kind: str, content: object) -> None:
        with suppress(OSError):  # the parent has ended, and this process will
            connection.send((kind, content))

    try:
        from bnexp.training import run as train  # noqa: PLC0415

        state = train.run(
            task,
            stop=lambda: stopped.is_set() or connection.poll(),
            say=lambda text: tell("say", text),
        )
        tell("state", state)
    except BnexpError as error:
        tell("error", error)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        tell("error", RunError(f"{task.variant.name}: {_unexpected(error)}"))


def _unexpected(error: Exception) -> str:
    """A line for an error that is no user's."""
    text = " ".join(str(error).split())[:200]
    # torch has no class of its own for the memory of the CPU, nor the loader of libraries.
    if isinstance(error, MemoryError) or re.search(
        "out of memory|allocate memory|failed to map segment", text
    ):
        return "out of memory; use fewer seeds, fewer units, or fewer --jobs"
    return f"internal error ({type(error).__name__}: {text}); --debug shows where"


def _end_with_parent() -> None:
    """Wait for the parent's end, and follow it at once: the next process needs the files."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def environment(threads: int) -> Iterator[None]:
    """The environment that a run's process must start with, since a BLAS reads it when loaded.

    The number of threads alone. Which kernels run is the library's choice, or the user's (such as
    OPENBLAS_CORETYPE); `status.json` has it in `backend`, since it changes the last bits.
    """
    wanted = {f"{library}_NUM_THREADS": str(threads) for library in ("OPENBLAS", "MKL", "OMP")}
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
