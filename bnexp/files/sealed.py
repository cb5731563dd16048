"""JSON files that are replaced whole, and carry a checksum of their content."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnexp.errors import DamagedError
from bnexp.files.atomic import ANEW, MOST_BYTES, Extent, extent, read_whole, write_whole

CHECKSUM = "crc32"


def write_json(path: Path, content: Mapping[str, Any]) -> Extent:
    """Write a JSON object, whole or not at all; returns the file's extent."""
    data = (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
    write_whole(path, data)
    return extent(data)


def write_sealed(path: Path, content: Mapping[str, Any]) -> Extent:
    """Write a JSON object, whole or not at all, with a checksum of its content.

    Returns:
        The file's extent.
    """
    return write_json(path, {CHECKSUM: _checksum(content), **content})


def read_sealed(
    path: Path, promised: Extent | None = None, advice: str = ANEW, limit: int = MOST_BYTES
) -> dict[str, Any]:
    """Read a JSON object that `write_sealed` wrote; its checksum is left out.

    Args:
        path: the file.
        promised: its extent, where another file tells of it; it stands for the checksum then.
        advice: what errors tell the user to do.
        limit: bytes that it may have.

    Raises:
        DamagedError: missing, no JSON object, without a checksum, or not what was written.
        StorageError: it cannot be read.
    """
    text = read_whole(path, advice, limit)
    content = _parsed(path, text, advice)
    if CHECKSUM not in content:
        raise DamagedError(f"{path}: damaged (it has no checksum); {advice}")
    found = content.pop(CHECKSUM)
    whole = found == _checksum(content) if promised is None else promised == extent(text)
    if not whole:
        raise DamagedError(f"{path}: damaged (its bytes are not those written); {advice}")
    return content


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DamagedError: missing, or no JSON object.
        StorageError: it cannot be read.
    """
    return _parsed(path, read_whole(path, ANEW), ANEW)


def _parsed(path: Path, text: bytes, advice: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: damaged ({error}); {advice}") from None
    if not isinstance(content, dict):
        raise DamagedError(f"{path}: damaged (no JSON object); {advice}")
    return content


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content).encode())
