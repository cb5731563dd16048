"""All the state of a run, saved whole or not at all; the checkpoint before is kept.

A checkpoint holds tensors, numbers and text alone, so it is read with `weights_only=True`. It is a
zip file, and each of its records has a CRC-32. torch writes these but does not check them: we do.
"""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bnexp.errors import DamagedError
from bnexp.files.atomic import (
    ANEW,
    MOST_OF_TENSORS,
    Extent,
    extent,
    read_whole,
    sync_folder,
    write_whole,
)
from bnexp.files.run_folder import CHECKPOINT, PREVIOUS
from bnexp.files.status import HistoryEntry

FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A run after some updates.

    Attributes:
        step: how many have been made.
        engine: what made them: `kernels` or `torch`.
        settings: what the run is bound to, by dotted key, and its seed, as JSON.
        history: see `Status`.
        extents: of each log, by file name.
        arrays: all that the rest of the run depends on, as `Engine.state` gives it.
    """

    step: int
    engine: str
    settings: str
    history: Sequence[HistoryEntry]
    extents: Mapping[str, Extent]
    arrays: Mapping[str, NDArray[Any]]


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Put a checkpoint in place; at every moment one of the two files is whole."""
    current = folder / CHECKPOINT
    pending = folder / (CHECKPOINT + ".new")
    content = {
        "format": FORMAT,
        **vars(checkpoint),
        "history": json.dumps(checkpoint.history),
        "extents": {name: asdict(each) for name, each in checkpoint.extents.items()},
        "arrays": tensors(checkpoint.arrays),
    }
    save_tensors(pending, content)
    if current.exists():
        current.replace(folder / PREVIOUS)
    pending.replace(current)
    sync_folder(folder)


def load(folder: Path, fits: Callable[[Checkpoint], None]) -> tuple[Checkpoint | None, list[str]]:
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
            content = load_tensors(path)
        except DamagedError as error:
            damages.append(error)
            continue
        try:
            found = _checkpoint(folder, content)
            fits(found)
        except DamagedError as error:
            misfits.append(error)
        else:
            return found, [_without_advice(error) for error in damages + misfits]
    if misfits:
        raise misfits[0]
    return None, [_without_advice(error) for error in damages]


def _checkpoint(folder: Path, content: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of what its file holds.

    Raises:
        DamagedError: another version of bnexp wrote it.
    """
    if content.get("format") != FORMAT:
        advice = "use --out DIR, or --restart"
        told = f"its checkpoint belongs to another version of bnexp; {advice}"
        raise DamagedError(f"{folder}: {told}")
    return Checkpoint(
        content["step"],
        content["engine"],
        content["settings"],
        tuple(json.loads(content["history"])),
        {name: Extent(**each) for name, each in content["extents"].items()},
        {name: tensor.numpy() for name, tensor in content["arrays"].items()},
    )


def _without_advice(error: DamagedError) -> str:
    """What is wrong, without what to do: the run goes on by itself."""
    return str(error).rpartition("; ")[0]


def save_tensors(path: Path, content: Mapping[str, Any]) -> Extent:
    """Write with `torch.save`, whole or not at all; returns the file's extent."""
    buffer = BytesIO()
    torch.save(dict(content), buffer)
    write_whole(path, buffer.getvalue())
    return extent(buffer.getvalue())


def load_tensors(path: Path, promised: Extent | None = None) -> dict[str, Any]:
    """Read what `save_tensors` wrote.

    Args:
        path: the file.
        promised: its extent, where the run's status tells of it; then no other run's file is taken
            for this one's.

    Raises:
        DamagedError: missing, cut short, changed, or of another kind.
        StorageError: it cannot be read.
    """
    content = read_whole(path, ANEW, MOST_OF_TENSORS)
    if promised not in {None, extent(content)}:
        raise DamagedError(f"{path}: damaged (its bytes are not those written); {ANEW}")
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


def tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """The arrays as tensors of their own memory."""
    return {key: torch.from_numpy(np.array(array)) for key, array in arrays.items()}
