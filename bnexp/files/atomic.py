"""Files that are replaced whole, and reading with bounds.

A crash must leave either the old content or the new one. `write_whole` therefore writes a temporary
file, forces it onto the disk, renames it over the old one, and then forces the folder's entry onto
the disk too, since a power cut could otherwise undo the rename:

    write NAME.tmp -> fsync NAME.tmp -> rename NAME.tmp to NAME -> fsync the folder

Every file is opened without following a link and only if it is a regular file. A link could lead
out of the experiment's folder, and a FIFO or a device in a file's place would make a reader wait
for ever.
"""

import errno
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bnexp.errors import DamagedError, StorageError

ANEW = "train again to write it anew"
RETRAIN = "delete that run's folder and train again"
MOST_BYTES = 1 << 24  # of a file that is read whole; the largest status or summary is far smaller
MOST_OF_TENSORS = 1 << 36  # the same of a network, a checkpoint or a log
_CHUNK = 1 << 22  # bytes read at a time
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_BINARY = getattr(os, "O_BINARY", 0)  # Windows would translate line ends


@dataclass(frozen=True)
class Extent:
    """What identifies the content of a file.

    Attributes:
        bytes: its length; of a log, the length of what follows the header.
        crc32: the CRC-32 of these bytes.
    """

    bytes: int
    crc32: int


def extent(data: bytes) -> Extent:
    """The extent of these bytes."""
    return Extent(len(data), zlib.crc32(data))


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


def open_regular(path: Path, flags: int = os.O_RDONLY) -> BinaryIO:
    """Open a regular file without a buffer, and without following a link at its end.

    Args:
        path: the file.
        flags: as `os.open` takes them. With `O_CREAT` the file is made where there is none.

    Raises:
        StorageError: something else than a regular file stands there.
        OSError: as `os.open` raises it.
    """
    # A FIFO is opened without waiting for its other end, and then refused.
    waiting = getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags | _NO_FOLLOW | _BINARY | waiting, 0o666)
    except OSError as error:
        if path.is_symlink():
            raise StorageError(f"{path}: a link; bnexp does not follow links here") from error
        raise
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise StorageError(f"{path}: not a regular file; move it away")
    writing = flags & (os.O_WRONLY | os.O_RDWR)
    return os.fdopen(descriptor, "r+b" if writing else "rb", buffering=0)


def open_new(path: Path) -> BinaryIO:
    """Make an empty regular file, in place of the one that may be there, and open it.

    The old file is not emptied: it goes on for whoever has it open, or holds it by another name.

    Raises:
        StorageError: a link, or something else than a file, stands there.
        OSError: it cannot be made.
    """
    with suppress(FileNotFoundError):
        open_regular(path).close()
        path.unlink()
    return open_regular(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)


def read_whole(path: Path, advice: str, limit: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file of at most `limit` bytes.

    Raises:
        DamagedError: the file is missing, or larger.
        StorageError: it cannot be read, or is no regular file.
    """
    with reading(path, advice), open_regular(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > limit:
            raise DamagedError(f"{path}: damaged ({size:,} bytes, above {limit:,}); {advice}")
        return read_up_to(file, limit)


def read_up_to(file: BinaryIO, size: int) -> bytes:
    """The next `size` bytes, or what there is: an unbuffered read may give only a part."""
    parts, left = [], size
    while left and (part := file.read(min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def read_extent(path: Path, skip: int, size: int) -> Extent:
    """The extent of the first `size` bytes behind a header of `skip` bytes; of fewer at its end.

    Raises:
        DamagedError: the file is missing.
        StorageError: it cannot be read.
    """
    crc32, left = 0, size
    with reading(path, RETRAIN), open_regular(path) as file:
        file.seek(skip)
        while left and (chunk := file.read(min(left, _CHUNK))):
            crc32, left = zlib.crc32(chunk, crc32), left - len(chunk)
    return Extent(size - left, crc32)


def check_content(path: Path, skip: int, promised: Extent) -> None:
    """Check that the bytes after the first `skip` are those that were promised.

    Raises:
        DamagedError: they are not there, or are others.
        StorageError: they cannot be read.
    """
    check_extent(path, read_extent(path, skip, promised.bytes), promised)


def check_extent(path: Path, found: Extent, promised: Extent) -> None:
    """Check that what was read, of what was promised, is that.

    Raises:
        DamagedError: it is shorter, or something else.
    """
    if found != promised:
        short = promised.bytes - found.bytes
        what = f"{short} bytes short" if short else "its bytes are not those written"
        raise DamagedError(f"{path}: damaged ({what}); {RETRAIN}")


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all bytes; an unbuffered write may take only a part at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which is put in place whole at the end, or not at all.

    Raises:
        OSError: it cannot be written; the old content stays.
        StorageError: a link or something else than a file stands in its place.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open_new(temporary) as file:
            yield file
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except FileNotFoundError as error:
        error.filename = os.fspath(path.parent)  # users know no temporary file
        raise
    except (Exception, KeyboardInterrupt):
        with suppress(OSError):  # a full disk needs the room
            temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Put the file in place whole or not at all; see `replacing`."""
    with replacing(path) as file:
        write_all(file, data)


def sync_folder(folder: Path) -> None:
    """Put the folder's renames on the disk, where the system can (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
