"""Starting processes: with the environment they need, and undisturbed until they are ready."""

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import ModuleType

from bnexp.files.signals import SIGNALS, handlers_held

CONTEXT = multiprocessing.get_context("spawn")  # how `spawn` starts a process


def spawn(
    target: Callable[..., None], *arguments: object, threads: int, name: str
) -> tuple[BaseProcess, Connection]:
    """Start a Python anew, which calls a function of a module.

    Args:
        target: is called with its end of a pipe, and the arguments.
        arguments: must be picklable.
        threads: that its libraries use.
        name: of the process, as Python shows it.

    Returns:
        The process, and our end of the pipe.
    """
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=target, args=(theirs, *arguments), name=name)
    with worker_environment(threads), signals_held(), without_main():
        process.start()
    theirs.close()
    return process, ours


def hear_signals() -> None:
    """Let signals through, which a process that was started here holds back until it is ready."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def worker_environment(threads: int) -> Iterator[None]:
    """The environment that a worker must start with.

    A BLAS reads the number of its threads when it is loaded. And no code in the working directory
    is run: a file `socket.py` there would otherwise stand in for Python's own.
    """
    libraries = ("OPENBLAS", "MKL", "OMP", "NUMEXPR", "VECLIB_MAXIMUM")
    wanted = {f"{library}_NUM_THREADS": str(threads) for library in libraries}
    wanted["PYTHONSAFEPATH"] = "1"
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


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Let Python look for no garbage where nearly all that is made is needed.

    Importing torch and the kernels makes objects by the million, and so does compiling them. To
    look through these again and again takes a sixth of the time of the one and a tenth of that of
    the other. What a compilation leaves behind meanwhile takes 80 MB.
    """
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked:
            gc.enable()


@contextmanager
def without_main() -> Iterator[None]:
    """Hide the program that is running; a process started here does not import it.

    Spawned processes import the program's main module, to find functions there. Ours stand in
    modules of their own. The import would run a user's script a second time, up to its own call of
    bnexp.train.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold signals back, where the system can; a process started here holds them until it is ready.

    A terminal sends Ctrl-C to all processes, and one that is still importing would show where. The
    mask is for the new process, which inherits it. In this one, a signal that the main thread does
    not take may be taken by another thread, and Python still handles it in the main thread. So the
    handlers wait as well.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let the signals through after its own start
    with handlers_held():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
