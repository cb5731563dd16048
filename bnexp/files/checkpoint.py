"""All the state of a run, saved whole or not at all; the one before is kept.

A checkpoint holds tensors, numbers and text alone, so it is read with `weights_only=True`. It is a
zip file, and each of its records has a CRC-32, which torch writes but does not check: we do.
"""

import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch  # noqa: TID253

from bnexp.errors import DamagedError
from bnexp.files.run_folder import CHECKPOINT, PREVIOUS
from bnexp.files.storage import ANEW, extent, reading, sync_folder, write_whole

FORMAT = 1


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Put the checkpoint in place; at every moment one of the two files is whole."""
    current = folder / CHECKPOINT
    pending = folder / (CHECKPOINT + ".new")
    save_tensors(pending, {"format": FORMAT, **state})
    if current.exists():
        current.replace(folder / PREVIOUS)
    pending.replace(current)
    sync_folder(folder)


def load(
    folder: Path, fits: Callable[[Mapping[str, Any]], None]
) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest checkpoint that is whole and fits; and what is wrong with newer ones, in lines.

    Args:
        folder: the run's.
        fits: raises a DamagedError for a checkpoint that the run cannot continue from.

    Returns:
        None for the checkpoint where none is whole.

    Raises:
        DamagedError: one is whole, but none fits.
    """
    damages, misfits = [], []
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            state = load_tensors(path)
        except DamagedError as error:
            damages.append(error)
            continue
        try:
            fits(state)
        except DamagedError as error:
            misfits.append(error)
        else:
            # Without the advice: there is nothing to do.
            return state, [str(error).rpartition("; ")[0] for error in damages + misfits]
    if misfits:
        raise misfits[0]
    return None, [str(error).rpartition("; ")[0] for error in damages]


def save_tensors(path: Path, content: Mapping[str, Any]) -> dict[str, int]:
    """Write with `torch.save`, whole or not at all; returns the file's `extent`."""
    buffer = BytesIO()
    torch.save(dict(content), buffer)
    write_whole(path, buffer.getvalue())
    return extent(buffer.getvalue())


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what `save_tensors` wrote.

    Raises:
        DamagedError: missing, cut short, changed, or of another kind.
        StorageError: it cannot be read.
    """
    with reading(path, ANEW):
        content = path.read_bytes()
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            if (bad := archive.testzip()) is not None:
                raise ValueError(f"record {bad}")  # noqa: TRY301
        table = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  (damaged bytes can raise anything)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise DamagedError(f"{path}: damaged ({reason}); {ANEW}") from None
    if not isinstance(table, dict):
        raise DamagedError(f"{path}: damaged (no table of tensors); {ANEW}")
    return table
