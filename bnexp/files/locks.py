"""The lock of a folder, which is also the mark that bnexp wrote it; errors about files in words."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bnexp.errors import LockedError, StorageError
from bnexp.files.atomic import open_regular, sync_folder, write_all
from bnexp.files.sealed import read_json

LOCK, HOLDER = ".bnexp.lock", ".bnexp.holder.json"
ELSEWHERE = "use --out DIR"


def is_ours(folder: Path) -> bool:
    """Whether bnexp made this folder: it bears the lock's file, and is no link."""
    lock = folder / LOCK
    return not folder.is_symlink() and lock.is_file() and not lock.is_symlink()


def claim(folder: Path, elsewhere: str = ELSEWHERE) -> None:
    """Make a folder, or check that an existing one is empty or was made by bnexp.

    bnexp writes into no other folder, so that it never replaces a file of somebody else.

    Args:
        folder: made if it is not there.
        elsewhere: what errors tell the user to do.

    Raises:
        StorageError: the folder is a link, or holds files that bnexp did not write.
        OSError: it cannot be made or read.
    """
    for each in (folder, folder.parent):
        # Above the experiment's folder, the user may have put a link; inside it, bnexp has not.
        if each.is_symlink() and (each == folder or is_ours(each.parent)):
            raise StorageError(f"{each}: a link; bnexp does not write through links")
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in made:
        sync_folder(each.parent)
    # The mark is looked for after the files, since another command may leave it at this moment.
    names = sorted(path.name for path in folder.iterdir())
    if names and not is_ours(folder):
        raise StorageError(
            f"{folder}: holds files that this version of bnexp did not write, such as "
            f"{names[0]!r}.\nTo keep them, {elsewhere}; or move them away."
        )


@contextmanager
def locked(folder: Path, wait: float = 0.5, elsewhere: str = ELSEWHERE) -> Iterator[None]:
    """Claim the folder and hold it against other processes.

    A dead process's lock is free by itself.

    Args:
        folder: made if it is not there.
        wait: seconds to wait for another process to let go, or to have written who it is.
        elsewhere: what errors tell the user to do.

    Raises:
        LockedError: another process holds it; the text names its host and pid.
        StorageError: the folder holds files that bnexp did not write.
    """
    claim(folder, elsewhere)
    lock = FileLock(folder / LOCK, timeout=wait)
    try:
        lock.acquire()
    except Timeout:
        try:
            other = read_json(folder / HOLDER)
            who = f"process {other.get('pid')} on {other.get('host')}"
        except StorageError:
            who = "another process"
        raise LockedError(f"{folder}: in use by {who}; wait for it, or {elsewhere}") from None
    try:
        # At once, and not `write_whole`: another process may be waiting to know.
        with open_regular(folder / HOLDER, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as file:
            write_all(file, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode())
        yield
    finally:
        lock.release()


@contextmanager
def storage_errors(where: Path) -> Iterator[None]:
    """Turn the system's errors about files into words for users.

    Raises:
        StorageError: for any OSError inside.
    """
    try:
        yield
    except OSError as error:
        path = error.filename2 or error.filename or where  # the second is where a rename leads
        if isinstance(error, FileExistsError):  # as a rule, one that a folder should be made at
            raise StorageError(
                f"{path}: a file, where a folder is needed.\n"
                "Move it away, or choose another --out, then run the same command again."
            ) from error
        reason = error.strerror or str(error)
        if not isinstance(error, FileNotFoundError):
            reason += "; what was written so far stays readable"
        raise StorageError(
            f"{path}: {reason}.\nMake room or fix the folder, then run the same command again."
        ) from error
