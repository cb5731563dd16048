"""Files that survive a crash: appended ones, ones replaced whole, and the lock of a folder."""

import json
import os
import socket
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from bnexp.errors import DamagedError, LockedError, StorageError

_CHUNK = 1 << 22  # bytes read at a time


class AppendedFile:
    """A file that only grows, whose first so many bytes are known by length and CRC-32.

    What lies beyond the last `publish` may be lost in a crash, and is cut off on resuming.

    Args:
        path: the file.
        header: the first bytes of the empty file; `publish` may rewrite them in place.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        self.path, self.header = path, header
        self.size, self.crc32 = 0, 0  # of what follows the header
        self._file = path.open("r+b" if path.exists() else "w+b")

    def start(self) -> None:
        """Begin an empty file."""
        self._file.truncate(0)
        self._file.write(self.header)
        self.publish()

    def resume(self, size: int, crc32: int) -> None:
        """Continue after the first `size` bytes; anything behind them is cut off.

        Raises:
            DamagedError: the file is shorter, or holds other bytes.
        """
        check(self.path, len(self.header), size, crc32)
        self.size, self.crc32 = size, crc32
        # The header first: a reader in between finds more bytes than the header promises, not less.
        self._write_header()
        self._file.truncate(len(self.header) + size)
        self._file.seek(0, os.SEEK_END)

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes at the end."""
        self._file.write(data)
        self.size += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)

    def publish(self) -> None:
        """Put what was appended on the disk, and then into the header, for readers."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._write_header()
        self._file.seek(0, os.SEEK_END)

    def _write_header(self) -> None:
        if self.header:
            self._file.seek(0)
            self._file.write(self.header)
            self._file.flush()
            os.fsync(self._file.fileno())

    def extent(self) -> dict[str, int]:
        """What identifies the content so far."""
        return {"bytes": self.size, "crc32": self.crc32}

    def close(self) -> None:
        """Close the file; what was not published may be incomplete."""
        self._file.close()


class AppendedArray(AppendedFile):
    """An .npy file of float32 rows that can be read at any time (`numpy.load`).

    numpy pads the header so that the length of the first axis can grow in place.

    Args:
        path: the file.
        row_shape: the shape of one row.
    """

    def __init__(self, path: Path, row_shape: Sequence[int]) -> None:
        self.row_shape = tuple(row_shape)
        self.row_bytes = 4 * int(np.prod(self.row_shape))
        super().__init__(path, self._npy_header(0))

    def _npy_header(self, rows: int) -> bytes:
        buffer = BytesIO()
        description = {"descr": "<f4", "fortran_order": False, "shape": (rows, *self.row_shape)}
        np.lib.format.write_array_header_1_0(buffer, description)
        return buffer.getvalue()

    def _write_header(self) -> None:
        self.header = self._npy_header(self.size // self.row_bytes)
        super()._write_header()


def check(path: Path, skip: int, size: int, crc32: int) -> None:
    """Check that `size` bytes after the first `skip` have this CRC-32.

    Raises:
        DamagedError: they are not there, or are others.
    """
    found, left = 0, size
    try:
        with path.open("rb") as file:
            file.seek(skip)
            while left and (chunk := file.read(min(left, _CHUNK))):
                found, left = zlib.crc32(chunk, found), left - len(chunk)
    except FileNotFoundError:
        raise DamagedError(f"{path}: missing; train with --force to start again") from None
    if left or found != crc32:
        what = f"{left} bytes short" if left else "its bytes are not those written"
        raise DamagedError(f"{path}: damaged ({what}); train with --force to start again")


def write_whole(path: Path, data: bytes) -> None:
    """Put the file in place whole or not at all: a temporary file, fsync, an atomic rename."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:  # a full disk needs the room
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401  (whatever JSON can hold)
    """Write JSON, whole or not at all."""
    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DamagedError: missing, or no JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DamagedError(f"{path}: missing; train with --force to start again") from None
    except ValueError as error:
        raise DamagedError(f"{path}: damaged ({error}); train again to write it anew") from None
    if not isinstance(content, dict):
        raise DamagedError(f"{path}: damaged (no JSON object); train again to write it anew")
    return content


def sync_folder(folder: Path) -> None:
    """Put the folder's renames on the disk, where the system can (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold the folder against other processes; a dead process's lock is free by itself.

    Args:
        folder: must exist.
        wait: seconds to wait for another process to let go.

    Raises:
        LockedError: another process holds it; the text names its host and pid.
    """
    holder = folder / ".holder.json"
    lock = FileLock(folder / ".lock", timeout=wait)
    try:
        lock.acquire()
    except Timeout:
        try:
            other = read_json(holder)
            who = f"process {other.get('pid')} on {other.get('host')}"
        except DamagedError:
            who = "another process"
        raise LockedError(f"{folder}: in use by {who}; wait for it, or use --out DIR") from None
    try:
        write_json(holder, {"host": socket.gethostname(), "pid": os.getpid()})
        yield
    finally:
        lock.release()


@contextmanager
def storage_errors(where: Path) -> Iterator[None]:
    """Turn the system's errors about files into one line for users.

    Raises:
        StorageError: for any OSError inside.
    """
    try:
        yield
    except OSError as error:
        path = error.filename or where
        reason = error.strerror or str(error)
        raise StorageError(
            f"{path}: {reason}; what was written so far stays readable.\n"
            "Make room or fix the folder, then run the same command again."
        ) from error
