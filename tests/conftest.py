"""What several test modules share: small experiments on digits."""

import atexit
import gc
import getpass
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

# One thread in each test process: several would only wait for each other on networks this small.
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import pytest
import typer
from filelock import FileLock
from helpers.experiments import small_settings

from bnexp.config import (
    Experiment,
    Variant,
)

MEMORY = Path("/dev/shm")  # noqa: S108  (pytest makes folders of its own there)
ROOM = 4 << 30  # bytes, many times what the tests write


def pytest_configure(config):
    """The tests write into memory where there is room, since the disk takes a fifth of their time.

    `pytest --basetemp DIR`, or PYTEST_DEBUG_TEMPROOT, lets them write elsewhere.

    Until all is imported, no garbage is looked for. And a process that was handed tests and has
    told of the last one ends at once: to take apart all that it imported would take two seconds.
    """
    gc.disable()
    if hasattr(config, "workerinput"):
        atexit.register(end_at_once, os.getpid())  # what is registered later is done before
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def end_at_once(pid):
    """End this process, unless it is a fork of the one with that number."""
    if os.getpid() == pid:
        os._exit(0)


def hands_out(session):
    """Whether this process only hands out the tests to others, which run them."""
    config = session.config
    return config.getoption("numprocesses", None) and not hasattr(config, "workerinput")


def pytest_sessionstart(session):
    """The kernels are compiled before the first test, since a command that compiles says so.

    Each of them is compiled by one process, for which the others wait. The second process begins
    with the last one, so that two are compiled at a time. The process that only hands out the tests
    compiles none.
    """
    if hands_out(session):
        return
    from bnexp.networks.engine import numba_available

    if numba_available():
        from bnexp.networks.kernels.warm_up import calls

        backwards = os.environ.get("PYTEST_XDIST_WORKER") == "gw1"
        for function, arguments in calls("float32")[:: -1 if backwards else 1]:
            name = f"bnexp-tests-{getpass.getuser()}-{function.__name__}.lock"
            with FileLock(Path(tempfile.gettempdir(), name)):
                function(*arguments)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    """Where tests of networks were collected, all is imported that these will need in any case.

    Then it is imported once, for the tests and for the processes that they start. It stays until
    the end, so garbage is no longer looked for in it.
    """
    forks = not hands_out(session) and Path("/proc/self/fd").is_dir()
    if forks and "torch" in sys.modules:
        from helpers import preloaded  # noqa: F401
    gc.freeze()
    atexit.register(gc.unfreeze)  # or libraries call it a leak when Python ends
    gc.enable()
    if forks:
        from helpers import warm

        warm.start_server()


@pytest.fixture(scope="session", autouse=True)
def _warm_workers():
    """Servers of workers are forked from a process that has imported what they need."""
    from helpers import warm

    from bnexp.training import fork_server

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fork_server, "spawn", warm.spawn)
        yield


@pytest.fixture(scope="session", autouse=True)
def _nothing_done_in_vain():
    """Nothing here waits for the disk; `helpers.disks` has an fsync of its own, and cuts the power.

    And a command in this process takes the parser that the one before has made.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture
def cold(monkeypatch):
    """Servers and workers are started as users start them."""
    from bnexp.training import fork_server, processes

    monkeypatch.setattr(fork_server, "spawn", processes.spawn)


@pytest.fixture
def small_plan(tmp_path):
    """Makes the plan of a run with small settings in a folder of its own."""
    from bnexp.files.run_folder import RunPlan

    def make(folder="run", seed=0, **changes):
        return RunPlan("variant", seed, small_settings(**changes), tmp_path / folder)

    return make


@pytest.fixture
def small_experiment():
    """Makes an experiment of a plain and a BN net, 3 seeds."""

    def make(**changes):
        base = small_settings(**changes)
        variants = []
        for name, norm in (("baseline", "none"), ("batchnorm", "batch")):
            model = {"model.norm": norm}
            variants.append(
                Variant(name, model, replace(base, model=replace(base.model, norm=norm)))
            )
        return Experiment("small", (0, 1, 2), base, tuple(variants))

    return make


@pytest.fixture
def quick(monkeypatch):
    """The data set is loaded once, and a stop may come at any step."""
    from bnexp.data import datasets
    from bnexp.training import run

    digits = datasets.load(datasets.DataConfig("digits", "unused"))
    digits = replace(digits, test_x=digits.test_x[:40], test_y=digits.test_y[:40])
    monkeypatch.setattr(datasets, "load", lambda _: digits)
    monkeypatch.setattr(run, "BLOCK_SECONDS", 0.0)


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made, but not rendered: each file of one holds the same word."""
    from bnexp.figures.drawing import NotebookFigure

    monkeypatch.setattr(NotebookFigure, "savefig", lambda _, file, **__: file.write(b"a picture"))


@pytest.fixture
def bnexp(monkeypatch, capfd):
    """Runs a command in this process; returns exit code, stdout and stderr."""
    from bnexp.cli import main

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["bnexp", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, *capfd.readouterr()

    return run
