"""Where workers come from: a process that imports what training needs once, and is then forked.

Importing torch takes two seconds in every process. A fork of a process that has imported it takes
some milliseconds, and shares its memory. Neither the command nor a worker may be the one that is
forked: a user's notebook may run threads, and a lock that a thread holds during a fork is never let
go in the copy. So the server imports, and then does nothing but fork, and wait:

    command                     fork server                    worker
       | -- is spawned ------------->|                            |
       | -- a pipe's other end ----->| -- is forked ------------->|
       |<-- its pidfd -------------- |                            |
       | -- a task ------------------------ through the pipe ---->|
       |<-- messages -------------------------------------------- |
       |<-- its exit code ---------- |<-- ends                    |

A pidfd is a descriptor that stands for one process. The number of a process may come to mean
another process; a pidfd does not, so that a kill never hits a stranger. Where the system has none,
which is everywhere but on Linux, each worker is spawned, and imports for itself.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle, send_handle
from typing import cast

from bnexp.config import Settings
from bnexp.training.processes import hear_signals, signals_held, spawn
from bnexp.training.worker import load, work


def source(settings: Sequence[Settings]) -> "Source":
    """Where the workers of runs with these settings come from, on this system."""
    threads = max(each.train.threads for each in settings)
    return ForkServer(settings, threads) if can_fork() else Spawner(threads)


def can_fork() -> bool:
    """Whether this system can fork a process that has imported libraries, and has pidfds."""
    if sys.platform != "linux" or not hasattr(signal, "pidfd_send_signal"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # a container may forbid it
        return False
    return True


class Spawner:
    """Workers that are spawned, each of which imports for itself."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def lives(self) -> bool:
        """It always does."""
        return True

    def start(self) -> tuple[BaseProcess, Connection]:
        """A new worker, and our end of its pipe."""
        return spawn(spawned_worker, threads=self.threads, name="bnexp worker")

    def close(self) -> None:
        """There is nothing to close."""


def spawned_worker(connection: Connection) -> None:
    """The process of a worker that is spawned."""
    load()
    work(connection, parent_process())


class ForkServer:
    """The fork server, seen from the command.

    Args:
        settings: of the runs. What they need is loaded before the first fork.
        threads: that a worker's libraries use.
    """

    def __init__(self, settings: Sequence[Settings], threads: int) -> None:
        # None when the server is seen to have ended.
        self.connection: Connection | None
        self.process, self.connection = spawn(
            serve, tuple(settings), threads=threads, name="bnexp fork server"
        )
        self._made: list[ForkedProcess] = []

    def lives(self) -> bool:
        """Whether it can make more workers: it ends when it is killed."""
        self.listen()
        return self.connection is not None

    def start(self) -> tuple["ForkedProcess", Connection]:
        """Ask for a new worker; it is there when the server has imported what it needs."""
        ours, theirs = get_context("fork").Pipe()
        made = ForkedProcess(self)
        if self.connection is not None:
            try:
                self.connection.send(len(self._made))
                send_handle(self.connection, theirs.fileno(), self.process.pid)
            except OSError:
                self.connection = None
        self._made.append(made)
        theirs.close()
        return made, ours

    def listen(self) -> None:
        """Take note of what the server has told: which workers it has made, and how some ended."""
        try:
            while self.connection is not None and self.connection.poll():
                number, exitcode = self.connection.recv()
                if exitcode is None:
                    self._made[number].pidfd = recv_handle(self.connection)
                else:
                    self._made[number].exitcode = exitcode
        except (EOFError, OSError, RuntimeError):  # the last: it ended before it sent the pidfd
            self.connection = None

    def close(self) -> None:
        """End the server."""
        self.process.kill()
        self.process.join()
        self.listen()
        self.connection = None


class ForkedProcess:
    """A worker that the server has made, or is asked to make.

    Attributes:
        pidfd: stands for the process; None: the server has told of none yet, or it was joined.
        exitcode: below 0: ended by this signal; None: it is alive, or the server has ended before
            it could say.
    """

    def __init__(self, server: ForkServer) -> None:
        self.server = server
        self.pidfd: int | None = None
        self.exitcode: int | None = None

    @property
    def sentinel(self) -> int | Connection:
        """Is ready when there is news of the process."""
        if self.server.connection is not None:
            return self.server.connection
        return self.server.process.sentinel if self.pidfd is None else self.pidfd

    def is_alive(self) -> bool:
        """Whether it has not ended; while the server lives, it is alive until the server tells."""
        if self.exitcode is None and self.server.lives():
            return True
        return self.exitcode is None and self.pidfd is not None and not wait([self.pidfd], 0)

    def kill(self) -> None:
        """End it at once."""
        if self.pidfd is not None:
            with suppress(ProcessLookupError):  # it has ended
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def join(self) -> None:
        """Wait for its end."""
        if self.pidfd is not None:
            wait([self.pidfd])
            os.close(self.pidfd)
            self.pidfd = None


Process = BaseProcess | ForkedProcess
Source = ForkServer | Spawner


def serve(connection: Connection, settings: Sequence[Settings]) -> None:
    """Import, then fork a worker for each pipe that comes, until the command ends: the server.

    It starts no thread: a fork copies only the thread that forks, and the locks of all.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the command decides
    hear_signals()
    load(settings)
    command, context = parent_process(), get_context("fork")
    made: dict[int, tuple[int, BaseProcess]] = {}  # by what is ready when it ends
    with suppress(EOFError, OSError):
        while True:
            for ready in wait([connection, *made]):
                if isinstance(ready, int):
                    number, process = made.pop(ready)
                    process.join()
                    connection.send((number, process.exitcode))
                    continue
                number, pipe = connection.recv(), Connection(recv_handle(connection))
                process = context.Process(target=_forked_worker, args=(pipe, command, connection))
                with signals_held():
                    process.start()
                pipe.close()
                made[process.sentinel] = number, process
                pidfd = os.pidfd_open(cast("int", process.pid))
                connection.send((number, None))
                send_handle(connection, pidfd, os.getppid())
                os.close(pidfd)
    os._exit(0)  # Python would wait for the workers, which end by themselves


def _forked_worker(pipe: Connection, command: BaseProcess | None, connection: Connection) -> None:
    """The process of a worker that is forked."""
    connection.close()  # only the server's end is to tell that the server lives
    work(pipe, command)
