"""Files that survive a crash: appended ones, ones replaced whole, and the lock of a folder."""

import json
import os
import socket
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from bnexp.errors import DamagedError, LockedError, StorageError

CHECKSUM = "crc32"
ANEW = "train again to write it anew"
RETRAIN = "delete that run's folder and train again"
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
        self._file: Any = None

    def start(self) -> None:
        """Begin an empty file."""
        self._open("wb")
        self.publish()

    def check(self, size: int, crc32: int) -> None:
        """Check that `resume` can continue after the first `size` bytes.

        Raises:
            DamagedError: the file is shorter, or holds other bytes.
        """
        check(self.path, len(self.header), size, crc32)

    def resume(self, size: int, crc32: int) -> None:
        """Continue after the first `size` bytes; anything behind them is cut off."""
        self.size, self.crc32 = size, crc32
        self._open("r+b")
        # The header first: a reader in between finds more bytes than the header promises, not less.
        self._write_header()
        self._cut_off()

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._write(data)
        self.size += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)

    def publish(self) -> None:
        """Put what was appended on the disk, and then into the header, for readers."""
        os.fsync(self._file.fileno())
        self._write_header()

    def _cut_off(self) -> None:
        self._file.truncate(len(self.header) + self.size)

    def _open(self, mode: str) -> None:
        # Unbuffered: a full disk is met by the write that needs the room, never by `close`.
        self._file = self.path.open(mode, buffering=0)

    def _write_header(self) -> None:
        self._file.seek(0)
        self._write(self.header)
        os.fsync(self._file.fileno())
        self._file.seek(len(self.header) + self.size)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:  # an unbuffered write may take a part
            rest = rest[self._file.write(rest) :]

    def extent(self) -> dict[str, int]:
        """What identifies the content so far, as `extent` does."""
        return {"bytes": self.size, "crc32": self.crc32}

    def close(self) -> None:
        """Close the file; what was not published may be incomplete."""
        if self._file is not None:
            with suppress(OSError):  # it was for `publish` to fail
                self._file.close()


class AppendedArray(AppendedFile):
    """An .npy file of float32 rows that can be read at any time (`numpy.load`).

    Args:
        path: the file.
        row_shape: the shape of one row.
    """

    def __init__(self, path: Path, row_shape: Sequence[int]) -> None:
        self.row_shape = tuple(row_shape)
        self.row_bytes = 4 * int(np.prod(self.row_shape))
        super().__init__(path, npy_header(0, self.row_shape))

    def publish(self) -> None:  # noqa: D102
        self._file.truncate(len(self.header) + self.size)
        super().publish()

    def _cut_off(self) -> None:
        # Not before `publish`, when new rows lie there: a reader that has mapped old ones into its
        # memory would be killed by the system when it looks at them (SIGBUS).
        pass

    def _write_header(self) -> None:
        self.header = npy_header(self.size // self.row_bytes, self.row_shape)
        super()._write_header()


def npy_header(rows: int, row_shape: Sequence[int]) -> bytes:
    """The header of an .npy file of float32 rows.

    numpy pads it so that the number of rows can grow in place: its length does not depend on it.
    """
    buffer = BytesIO()
    description = {"descr": "<f4", "fortran_order": False, "shape": (rows, *row_shape)}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


@contextmanager
def reading(path: Path, advice: str) -> Iterator[None]:
    """Turn the system's errors about a file of a run into one line for users.

    Raises:
        DamagedError: the file is missing.
        StorageError: it cannot be read.
    """
    try:
        yield
    except FileNotFoundError:
        raise DamagedError(f"{path}: missing; {advice}") from None
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror})") from error


def extent(data: bytes) -> dict[str, int]:
    """Length and CRC-32, which identify it."""
    return {"bytes": len(data), "crc32": zlib.crc32(data)}


def check(path: Path, skip: int, size: int, crc32: int) -> None:
    """Check that `size` bytes after the first `skip` have this CRC-32.

    Raises:
        DamagedError: they are not there, or are others.
        StorageError: they cannot be read.
    """
    found, left = 0, size
    with reading(path, RETRAIN), path.open("rb") as file:
        file.seek(skip)
        while left and (chunk := file.read(min(left, _CHUNK))):
            found, left = zlib.crc32(chunk, found), left - len(chunk)
    if left or found != crc32:
        what = f"{left} bytes short" if left else "its bytes are not those written"
        raise DamagedError(f"{path}: damaged ({what}); {RETRAIN}")


def write_whole(path: Path, data: bytes) -> None:
    """Put the file in place whole or not at all: a temporary file, fsync, an atomic rename."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):  # a full disk needs the room
            temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401  (whatever JSON can hold)
    """Write JSON, whole or not at all."""
    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all, with a checksum of its content."""
    write_json(path, {CHECKSUM: _checksum(content), **content})


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, and check its checksum where it has one.

    Raises:
        DamagedError: missing, no JSON object, or not what was written.
        StorageError: it cannot be read.
    """
    with reading(path, ANEW):
        text = path.read_bytes()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: damaged ({error}); {ANEW}") from None
    if not isinstance(content, dict):
        raise DamagedError(f"{path}: damaged (no JSON object); {ANEW}")
    if CHECKSUM in content and content[CHECKSUM] != _checksum(content):
        raise DamagedError(f"{path}: damaged (its bytes are not those written); {ANEW}")
    return content


def _checksum(content: Mapping[str, Any]) -> int:
    rest = {key: value for key, value in content.items() if key != CHECKSUM}
    return zlib.crc32(json.dumps(rest).encode())


def sync_folder(folder: Path) -> None:
    """Put the folder's renames on the disk, where the system can (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(folder: Path, wait: float = 0.5) -> Iterator[None]:
    """Hold the folder against other processes; a dead process's lock is free by itself.

    Args:
        folder: must exist.
        wait: seconds to wait for another process to let go, or to have written who it is.

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
        except StorageError:
            who = "another process"
        raise LockedError(f"{folder}: in use by {who}; wait for it, or use --out DIR") from None
    try:
        # At once, and not `write_whole`: another process may be waiting to know.
        holder.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
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
        path = error.filename2 or error.filename or where  # the second is where a rename leads
        reason = error.strerror or str(error)
        if not isinstance(error, FileNotFoundError):
            reason += "; what was written so far stays readable"
        raise StorageError(
            f"{path}: {reason}.\nMake room or fix the folder, then run the same command again."
        ) from error
