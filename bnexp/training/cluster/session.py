"""A command's session with a Dask worker: whether the worker fits, and when its jobs are to stop.

Dask sends a function by its name, so each worker runs the code that is installed there. `check`
therefore comes first: a worker takes part if its code and its libraries are those of the command,
and if it finds the data and the experiment's folder.
"""

import os
import os.path
import socket
import threading
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from distributed import Worker, WorkerPlugin, get_worker
from distributed.utils import sync

import bnexp
from bnexp.data import idx
from bnexp.errors import BnexpError, ConfigError, StorageError
from bnexp.files.atomic import read_whole, write_whole
from bnexp.files.locks import storage_errors
from bnexp.files.provenance import version_of

SHARED = ".bnexp.cluster"  # in the experiment's folder; holds the session's name meanwhile
DECISIVE = ("torch", "numpy", "numba", "llvmlite")  # the libraries that the bits depend on

Versions = dict[str, str | None]


@dataclass(frozen=True)
class Session:
    """What a command tells each worker.

    Attributes:
        name: of this command, unlike that of any other; also the topic of the workers' messages.
        folder: the experiment's, which all workers share; None: each run's files are sent back.
        versions: of the command's own code and libraries.
        data: the name and the root of each data set.
        directory: that of the command, where the folder is shared; else the worker's own.
    """

    name: str
    folder: Path | None
    versions: Versions
    data: tuple[tuple[str, str], ...]
    directory: str


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        kind: `done`, `ready`, `interrupted` or `error`.
        content: what comes with it, such as the error.
        files: of each run of the task, where no folder is shared.
    """

    kind: str
    content: object = None
    files: tuple[Mapping[str, bytes], ...] = ()


def versions() -> Versions:
    """What decides the bits of a run: bnexp's code, and the libraries that it computes with."""
    own = f"{bnexp.__version__} (sources {_sources():08x})"
    return {"bnexp": own, **{name: version_of(name) for name in DECISIVE}}


@cache
def _sources() -> int:
    """A checksum of bnexp's own code: two copies of one version may have been edited."""
    root, found = Path(bnexp.__file__).parent, 0
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        found = zlib.crc32(path.relative_to(root).as_posix().encode() + path.read_bytes(), found)
    return found


def check(session: Session) -> Ended:
    """Check that this worker may take part; the content is its host.

    Errors are a ConfigError where the code or a library is another, a DataError where a data set is
    missing or damaged, and a StorageError where the folder is another or cannot be written.
    """
    worker = get_worker()
    try:
        _check_versions(session.versions)
        for name, root in session.data:
            if name in idx.CLASSES:
                idx.load(name, data_root(root, session))
        if session.folder is not None:
            _check_folder(session.folder, session.name)
    except BnexpError as error:
        return Ended("error", met_at(worker.address, error))
    sync(worker.loop, worker.plugin_add, plugin=Watch(), name=session.name)
    return Ended("done", socket.gethostname())


def _check_versions(wanted: Versions) -> None:
    if differing := [
        f"{name} is {found or 'missing'}, and {wanted.get(name) or 'missing'} here"
        for name, found in versions().items()
        if found != wanted.get(name)
    ]:
        raise ConfigError(
            f"{'; '.join(differing)}.\nResults would mix the two: install the same on all machines."
        )


def _check_folder(folder: Path, name: str) -> None:
    """Check that this is the folder that the command writes, and that it can be written."""
    try:
        shared = read_whole(folder / SHARED, "").decode() == name
    except StorageError:
        shared = False
    if not shared:
        raise StorageError(
            f"{folder} is not there, or is not the folder of the command.\n"
            "Let all machines share it, or use --gather, which sends the files back."
        )
    with storage_errors(folder):
        trial = folder / f"{SHARED}.{uuid.uuid4().hex}"
        write_whole(trial, b"")
        trial.unlink()


def met_at(address: str, error: BnexpError) -> BnexpError:
    """The error, with the worker that met it."""
    return type(error)(f"{address}: {error}")


def data_root(root: str, session: Session) -> str:
    """Where this worker's data lie: where its environment says, or else where the config says."""
    home = os.path.expanduser(root)  # noqa: PTH111  (unlike Path's, it takes any ~user)
    return os.environ.get("BNEXP_DATA") or str(Path(session.directory, home))


class Watch(WorkerPlugin):
    """Knows when the jobs of a session are to stop.

    Dask calls `transition` when it gives up a task, as it does when the command is killed, and
    `teardown` when the worker is closed, as it is when it is told to end or loses the scheduler.
    """

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.given_up: set[object] = set()

    def transition(self, key: object, start: str, finish: str, **_: object) -> None:
        """Note a task that Dask has given up: one that ends by itself goes on to "memory"."""
        if (start, finish) == ("executing", "released"):
            self.given_up.add(key)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002
        """Stop all jobs."""
        self.stopped.set()


def watch_of(session: str, worker: Worker) -> Watch | None:
    """The session's watch in a worker; None where it has left."""
    found = worker.plugins.get(session)
    return found if isinstance(found, Watch) else None


async def stop(session: str, dask_worker: Worker) -> None:
    """Let the jobs of a session stop after a checkpoint; Dask calls it beside them."""
    if (watch := watch_of(session, dask_worker)) is not None:
        watch.stopped.set()


async def leave(session: str, dask_worker: Worker) -> None:
    """Forget a session."""
    if session in dask_worker.plugins:
        await dask_worker.plugin_remove(name=session)
