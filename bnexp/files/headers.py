"""The first bytes of a log, and the lines of a table: how they are written, and checked."""

import math
import os
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np

from bnexp.errors import DamagedError
from bnexp.files.atomic import RETRAIN, open_regular, read_up_to, reading


@lru_cache(maxsize=256)  # the logs of many runs have the same few headers
def npy_header(rows: int, row_shape: tuple[int, ...]) -> bytes:
    """The header of an .npy file of float32 rows.

    numpy pads it so that the number of rows can grow in place: its length does not depend on it.
    """
    buffer = BytesIO()
    description = {"descr": "<f4", "fortran_order": False, "shape": (rows, *row_shape)}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


def csv_header(columns: Sequence[str]) -> bytes:
    """The first line of a CSV log."""
    return ",".join(columns).encode() + b"\n"


def csv_row(values: Sequence[float]) -> bytes:
    """A line of a CSV log: an empty cell for NaN; every other number can be read back exactly."""
    cells = ("" if math.isnan(v) else repr(v if isinstance(v, int) else float(v)) for v in values)
    return (",".join(cells) + "\n").encode()


def check_header(path: Path, found: bytes, header: bytes) -> None:
    """Check that what a file begins with is this header.

    Raises:
        DamagedError: it begins otherwise.
    """
    if found != header:
        raise DamagedError(f"{path}: damaged (its header is not the one written); {RETRAIN}")


def check_npy_header(path: Path, row_shape: tuple[int, ...], *, whole: bool = False) -> int:
    """Check the header of an array of such rows byte by byte; returns the number of rows in it.

    A single wrong bit could change the number format or the shape, and with it every value.

    Args:
        path: the file.
        row_shape: the shape of one row.
        whole: check that the file holds as many rows as the header counts. While it is written it
            may hold more, and never fewer.

    Raises:
        DamagedError: it is no header that `npy_header` makes for this shape.
    """
    length = len(npy_header(0, row_shape))
    with reading(path, RETRAIN), open_regular(path) as file:
        found = read_up_to(file, length)
        held = os.fstat(file.fileno()).st_size - length
    # The text holds "'shape': (ROWS, ..."; the header is right if it is the one of that number.
    digits = found.partition(b"'shape': (")[2].partition(b",")[0]
    rows = int(digits) if digits.isdigit() and len(digits) < 19 else 0
    short = whole and 4 * rows * math.prod(row_shape) > held
    if short or found != npy_header(rows, row_shape):
        raise DamagedError(f"{path}: damaged (its header is not the one written); {RETRAIN}")
    return rows
