"""Processes that need not import anything: forks of one that has imported all that bnexp needs.

To start a command, and then the server that its workers are forked from, takes four seconds of a
processor, nearly all of it for imports. A test of what happens after that need not pay it. Python's
own fork server is itself a fork of the test process, made before the first test, and imports what
is missing (`helpers.preloaded`). Here a command is a fork of it, and the command's server a fork of
the command. Both are processes as real as others. What is started otherwise than by users is the
interpreter alone. So a test of starting a command, of the processes that it starts, or of what it
imports, uses the real one.
"""

import faulthandler
import importlib
import logging
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing import forkserver, get_context, resource_tracker, util
from pathlib import Path
from unittest.mock import patch

import bnexp
from bnexp.training import processes
from bnexp.training.processes import signals_held, without_main, worker_environment

TESTS = Path(__file__).parents[1]
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(["helpers.preloaded"])

# What runs first in a command that is to start the server of its workers as users start it.
COLD = """
from bnexp.training import fork_server
from helpers import warm
warm._fork = fork_server.spawn
"""


def start_server():
    """Fork this process into the server, to be called when nothing is replaced for a test yet."""
    # The process that removes what killed commands leave, here without a warning, is not a fork.
    with patch.dict(os.environ, PYTHONWARNINGS="ignore"):
        resource_tracker.ensure_running()
    with patch.object(util, "spawnv_passfds", _fork_server):
        forkserver.ensure_running()


_spawnv_passfds = util.spawnv_passfds


def _fork_server(_path, _words, descriptors):
    """Start Python's fork server with these two descriptors; returns the number of the process.

    In place of `multiprocessing.util.spawnv_passfds`, which would start an interpreter.
    """
    if pid := os.fork():
        return pid
    util.spawnv_passfds = _spawnv_passfds  # from here on, what is spawned is an interpreter again
    try:
        _forget_pytest({0, 1, 2, *descriptors})
        select.select(descriptors, [], [])  # until a process is asked for, or the tests have ended
        forkserver.main(*descriptors, ["helpers.preloaded"])
    finally:
        os._exit(0)


def _forget_pytest(kept):
    """Undo in a fork what pytest does to its process, and close its files but those that are kept.

    Standard output and standard error end where pytest lets processes write.
    """
    for descriptor in {*map(int, os.listdir("/proc/self/fd"))} - kept:
        with suppress(OSError):  # the one that listed them
            os.close(descriptor)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, encoding="utf-8", closefd=False)
    sys.unraisablehook, threading.excepthook = sys.__unraisablehook__, threading.__excepthook__
    faulthandler.disable()
    logging.getLogger().handlers.clear()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    forkserver._forkserver.__init__()  # its lock is held, by the process that asks for the server


def _ensure_server():
    """Start the process that imports: the bnexp of this process, and the tests' helpers."""
    path = os.pathsep.join(map(str, (Path(bnexp.__file__).parents[1], TESTS)))
    # The second keeps the working directory from coming before the path.
    with patch.dict(os.environ, {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}):
        forkserver.ensure_running()


def spawn(target, *arguments, threads, name):
    """As `bnexp.training.processes.spawn`, of a process that need not import anything."""
    _ensure_server()
    with patch.object(processes, "CONTEXT", CONTEXT):
        return processes.spawn(target, *arguments, threads=threads, name=name)


def _fork(target, *arguments, threads, name):
    """As `spawn`, in a process that is itself a fork of the one that has imported."""
    context = get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_close_and_call, args=(ours, target, theirs, *arguments))
    process.name = name
    with worker_environment(threads), signals_held():
        process.start()
    theirs.close()
    return process, ours


def _close_and_call(others, target, *arguments):
    """Only the command is to hold its end of the pipe, so that its end is noticed."""
    others.close()
    target(*arguments)


def _lose(number, how):
    """Put something that cannot be written in the place of a standard stream."""
    if how == "closed":
        os.close(number)
        return
    if how == "full disk":
        end = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, end = os.pipe()
        os.close(reader)
    os.dup2(end, number)
    os.close(end)


def _command(request, streams):
    """The process of a command."""
    words, folder, environ, draws, lost, first = request
    if not draws:
        sys.modules["bnexp.cli.train"].show = lambda *_, **__: None
    os.setpgid(0, 0)
    for number, stream in enumerate(streams, 1):
        os.dup2(stream.fileno(), number)
    for stream in streams:
        stream.close()
    for number, how in lost.items():
        _lose(number, how)
    # Those that were inherited are of another kind of file. Python has none where one is closed.
    sys.stdout, sys.stderr = (
        None
        if lost.get(number) == "closed"
        else os.fdopen(number, "w", buffering, encoding="utf-8", closefd=False)
        for number, buffering in ((1, -1), (2, 1))
    )
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    _move(folder, environ)
    exec(first, {})
    _main(words)


def _move(folder, environ):
    """Into this working directory and environment."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)


def _main(words):
    """`bnexp` with these words, in this process, from which the server of its workers is forked."""
    from bnexp.cli.application import program
    from bnexp.training import fork_server

    sys.argv = ["bnexp", *words]
    fork_server.spawn = _fork
    program()


def dask(words, folder, environ, log):
    """`dask` with these words, in this process.

    Args:
        words: what follows `dask` on the command line.
        folder: the working directory.
        environ: the environment.
        log: the file that takes what it says.
    """
    import dask.config
    from dask.__main__ import main
    from distributed.config import initialize_logging

    _write_to(log)
    _move(folder, environ)
    initialize_logging(dask.config.config)  # it was imported where its log would go elsewhere
    sys.argv = ["dask", *words]
    main()


def program(path, words, folder, log):
    """A program in a file, as `python PATH WORDS...` runs it, in this process.

    Args:
        path: the file.
        words: its arguments.
        folder: the working directory.
        log: the file that takes what it says.
    """
    _write_to(log)
    os.chdir(folder)
    sys.argv = [str(path), *map(str, words)]
    runpy.run_path(str(path), run_name="__main__")


def _write_to(log):
    """Let both streams end in a file."""
    with log.open("wb") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)


def in_clone(clone, programs, log, first=""):
    """Run programs in a clone, by the bnexp that lies there; up to one that fails.

    Each is a fork of this process, which forgets the bnexp that it has imported.

    Args:
        clone: the folder, which becomes the working directory.
        programs: each is the words of a bnexp command, or the text of a script.
        log: the file that takes what they say.
        first: the text of a program that is run before, in this process.
    """
    _write_to(log)
    os.chdir(clone)
    for name in [name for name in sys.modules if name.split(".")[0] in {"bnexp", "helpers"}]:
        del sys.modules[name]
    sys.path.insert(0, str(clone))
    run_each = importlib.import_module("helpers.warm").run_each  # that of the clone's bnexp
    importlib.import_module("helpers.preloaded")
    exec(first, {})
    run_each(programs)


def run_each(programs):
    """Run programs one after the other, each in a fork of this process, up to one that fails."""
    origin = {Path(module.__file__).parent for module in (bnexp, processes)}
    assert origin == {Path("bnexp").resolve(), Path("bnexp/training").resolve()}, origin
    for program in programs:
        target = _main if isinstance(program, list) else _script
        process = get_context("fork").Process(target=target, args=(program,))
        process.start()
        process.join()
        if process.exitcode != 0:
            raise SystemExit(f"{program}: exit code {process.exitcode}")


def _script(text):
    exec(compile(text, "<script>", "exec"), {"__name__": "__main__"})


class Process:
    """A process that need not import anything; used as a `Popen`.

    Args:
        target: what it calls.
        arguments: with what.
    """

    def __init__(self, target, *arguments):
        _ensure_server()
        self._process = CONTEXT.Process(target=target, args=arguments)
        with without_main():
            self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        """Its exit code, or below 0 the signal that ended it; None while it is alive."""
        return self._process.exitcode

    def poll(self):
        """As `returncode`."""
        return self.returncode

    def wait(self, timeout=None):
        """Wait for its end; its exit code."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a process", timeout)
        return self._process.exitcode

    def send_signal(self, number):
        """Send it a signal, if it is alive."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Command(Process):
    """`bnexp` with these words, at the head of a process group of its own; used as a `Popen`.

    Args:
        words: what follows `bnexp` on the command line.
        folder: the working directory.
        merged: whether stderr goes where stdout goes.
        draws: whether `train` ends with its tables and figures, as it does for users.
        lost: of its standard streams, by number, those that cannot be written, and why: "closed",
            "full disk" or "closed pipe".
        first: the text of a program that the process runs before.
    """

    def __init__(self, *words, folder=".", merged=False, draws=True, lost=None, first=""):
        out, out_end = CONTEXT.Pipe(duplex=False)
        err, err_end = CONTEXT.Pipe(duplex=False)
        words = [str(word) for word in words]
        request = words, str(folder), dict(os.environ), draws, lost or {}, first
        super().__init__(_command, request, (out_end, out_end if merged else err_end))
        out_end.close()
        err_end.close()
        self.stdout, self.stderr = (
            os.fdopen(os.dup(each.fileno()), encoding="utf-8") for each in (out, err)
        )
        out.close()
        err.close()

    def communicate(self, timeout=None):
        """What it wrote to stdout and stderr, when nobody is left who could write there."""
        said = ["", ""]

        def take(number, stream):
            said[number] = stream.read()
            stream.close()

        streams = enumerate((self.stdout, self.stderr))
        threads = [
            threading.Thread(target=take, args=each, daemon=True)
            for each in streams
            if not each[1].closed
        ]
        for thread in threads:
            thread.start()
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in threads:
            thread.join(None if deadline is None else deadline - time.monotonic())
            if thread.is_alive():
                raise subprocess.TimeoutExpired("bnexp", timeout)
        self.wait(timeout)
        return tuple(said)
