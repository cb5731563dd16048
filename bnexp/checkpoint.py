"""All the state of a run, saved whole or not at all; the one before is kept.

A checkpoint holds tensors, numbers and text alone, so it is read with `weights_only=True`. It is a
zip file, and each of its records has a CRC-32, which torch writes but does not check: we do.
"""

import pickle
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch  # noqa: TID253

from bnexp.errors import DamagedError
from bnexp.runlog import CHECKPOINT, PREVIOUS
from bnexp.storage import sync_folder, write_whole

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


def load(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest checkpoint that is whole, or None; and a line for each that is damaged."""
    complaints = []
    for name in (CHECKPOINT, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            state = load_tensors(path)
            if state.get("format") != FORMAT:
                raise DamagedError(f"{path}: damaged (no checkpoint of this version)")  # noqa: TRY301
        except DamagedError as error:
            complaints.append(str(error))
        else:
            return state, complaints
    return None, complaints


def save_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write with `torch.save`, whole or not at all."""
    buffer = BytesIO()
    torch.save(dict(content), buffer)
    write_whole(path, buffer.getvalue())


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what `save_tensors` wrote.

    Raises:
        DamagedError: missing, cut short, changed, or of another kind.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
        if bad is not None:
            raise DamagedError(f"{path}: damaged (record {bad})")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        NotImplementedError,
        EOFError,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
    ) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise DamagedError(f"{path}: damaged ({reason})") from None
    if not isinstance(content, dict):
        raise DamagedError(f"{path}: damaged (no table of tensors)")
    return content
