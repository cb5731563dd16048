"""Logs: files that only grow, and that can be read at any time, also after a crash.

A log is a header and then rows. The writer keeps the length and the CRC-32 of all rows so far, its
*extent*. The crash-safe append works like this:

1. `append` writes rows behind the end that the header tells of. Readers do not count them yet.
2. `commit` forces these rows onto the disk and only then rewrites the header in place, so that the
   number of rows in it never exceeds the rows on the disk.
3. The run's `status.json` is then replaced with the new extents. A reader takes as many bytes as
   the status promises, and checks them with the CRC-32 that stands there.
4. After a crash, `resume` continues behind the extent that the checkpoint counts on. Rows behind it
   are written again. They are the same rows, since a run is a function of its settings and seed.

`read_array`, `read_table` and `read_last_row` are the only ways in which anything reads a log. They
check the header byte by byte, and the rows by their CRC-32, so that no damage can pass as another
result.
"""

import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from bnexp.errors import DamagedError
from bnexp.files.atomic import (
    RETRAIN,
    Extent,
    check_content,
    check_extent,
    extent,
    open_new,
    open_regular,
    read_extent,
    read_up_to,
    reading,
    write_all,
)
from bnexp.files.headers import check_header, check_npy_header, csv_header, npy_header


class AppendedFile:
    """A file that only grows, whose rows so far are known by their extent.

    What lies behind the last `commit` may be lost in a crash, and is cut off on resuming.

    Args:
        path: the file.
        header: the first bytes of the empty file.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        self.path, self.header = path, header
        self.size, self.crc32 = 0, 0  # of what follows the header
        self._file: BinaryIO | None = None
        self._is_committed = False  # whether the disk has all of it, and nothing behind it

    def start(self) -> None:
        """Begin an empty file; a reader that has the one before open keeps it."""
        self._file = open_new(self.path)
        self._write_header()
        self._is_committed = True

    def check(self, promised: Extent) -> None:
        """Check that `resume` can continue behind this extent.

        Raises:
            DamagedError: the file is shorter, or holds other bytes.
        """
        with reading(self.path, RETRAIN), open_regular(self.path) as file:
            check_header(self.path, read_up_to(file, len(self.header)), self.header)
        check_content(self.path, len(self.header), promised)

    def resume(self, promised: Extent) -> None:
        """Continue behind this extent; anything behind it is cut off."""
        self.size, self.crc32, self._is_committed = promised.bytes, promised.crc32, False
        self._file = open_regular(self.path, os.O_RDWR)
        # The header first: a reader in between finds more bytes than the header promises, not less.
        self._write_header()
        self._cut_off()

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._is_committed = False
        write_all(self._opened(), data)
        self.size += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)

    def commit(self) -> None:
        """Put what was appended on the disk."""
        if not self._is_committed:
            os.fsync(self._opened().fileno())
            self._is_committed = True

    def extent(self) -> Extent:
        """What identifies the rows so far."""
        return Extent(self.size, self.crc32)

    def close(self) -> None:
        """Close the file; what was not committed may be incomplete."""
        if self._file is not None:
            with suppress(OSError):  # it was for `commit` to fail
                self._file.close()

    def _cut_off(self) -> None:
        self._opened().truncate(len(self.header) + self.size)

    def _write_header(self) -> None:
        file = self._opened()
        file.seek(0)
        write_all(file, self.header)
        os.fsync(file.fileno())
        file.seek(len(self.header) + self.size)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise ValueError(f"{self.path}: not opened; call start or resume first")
        return self._file


class AppendedArray(AppendedFile):
    """An .npy file of float32 rows that `numpy.load` can read at any time.

    Args:
        path: the file.
        row_shape: the shape of one row.
    """

    def __init__(self, path: Path, row_shape: Sequence[int]) -> None:
        self.row_shape = tuple(row_shape)
        self.row_bytes = 4 * int(np.prod(self.row_shape))
        super().__init__(path, npy_header(0, self.row_shape))

    def append_rows(self, rows: NDArray[np.float32]) -> None:
        """Add rows (n, *row_shape).

        Raises:
            ValueError: they are of another shape, and would be read as other rows.
        """
        if rows.shape[1:] != self.row_shape:
            raise ValueError(f"{self.path}: rows {rows.shape[1:]} among rows {self.row_shape}")
        self.append(np.ascontiguousarray(rows, "<f4").tobytes())

    def check(self, promised: Extent) -> None:  # noqa: D102
        check_npy_header(self.path, self.row_shape)
        check_content(self.path, len(self.header), promised)

    def commit(self) -> None:
        """Put what was appended on the disk, and then into the header, for readers."""
        if not self._is_committed:
            self._opened().truncate(len(self.header) + self.size)
            super().commit()
            self._write_header()

    def _cut_off(self) -> None:
        # Not on resuming but in `commit`, when new rows lie there: a reader that has mapped old
        # ones into its memory would be killed by the system when it looks at them (SIGBUS).
        pass

    def _write_header(self) -> None:
        self.header = npy_header(self.size // self.row_bytes, self.row_shape)
        super()._write_header()


def prefix_extent(path: Path, skip: int, size: int) -> Extent:
    """The extent of the first `size` bytes behind a header of `skip` bytes.

    Raises:
        DamagedError: the file is missing, or shorter.
        StorageError: it cannot be read.
    """
    found = read_extent(path, skip, size)
    check_extent(path, found, Extent(size, found.crc32))
    return found


def read_array(path: Path, row_shape: tuple[int, ...], promised: Extent) -> NDArray[np.float32]:
    """The promised rows (rows, *row_shape) of a log, memory-mapped, and checked.

    Raises:
        DamagedError: the file is missing, or holds anything else than what was written.
        StorageError: it cannot be read.
    """
    row_bytes, header = 4 * int(np.prod(row_shape)), npy_header(0, row_shape)
    rows, rest = divmod(promised.bytes, row_bytes)
    if rest or check_npy_header(path, row_shape, whole=True) < rows:
        raise DamagedError(f"{path}: damaged (no whole number of rows); {RETRAIN}")
    check_content(path, len(header), promised)
    if not rows:
        return np.empty((0, *row_shape), np.float32)  # an empty file cannot be mapped
    with reading(path, RETRAIN):
        # As text: of a path, NumPy would ask the system for every folder above.
        return np.memmap(os.fspath(path), "<f4", "r", len(header), (rows, *row_shape))


def read_table(path: Path, columns: Sequence[str], promised: Extent) -> NDArray[np.float64]:
    """The promised lines of a CSV log as (rows, columns), and checked; NaN for an empty cell.

    Raises:
        DamagedError: the file is missing, or holds anything else than what was written.
        StorageError: it cannot be read.
    """
    rows = [_numbers(line) for line in _lines(path, columns, promised)]
    return np.array(rows, np.float64).reshape(len(rows), len(columns))


def read_last_row(path: Path, columns: Sequence[str], promised: Extent) -> list[float] | None:
    """The last row that `read_table` would give, after the same checks; None where there is none.

    Raises:
        DamagedError: the file is missing, or holds anything else than what was written.
        StorageError: it cannot be read.
    """
    lines = _lines(path, columns, promised)
    return _numbers(lines[-1]) if lines else None


def _lines(path: Path, columns: Sequence[str], promised: Extent) -> list[str]:
    header = csv_header(columns)
    with reading(path, RETRAIN), open_regular(path) as file:
        check_header(path, read_up_to(file, len(header)), header)
        content = read_up_to(file, promised.bytes)
    check_extent(path, extent(content), promised)
    return content.decode().splitlines()


def _numbers(line: str) -> list[float]:
    return [float(cell or "nan") for cell in line.split(",")]
