"""The files of a run as bytes, on their way between machines that share no folder.

`place` puts them in a folder in the order in which training writes them: the logs first, then the
checkpoints that count on them, and last `status.json`, which promises them to readers. A run is a
function of its settings and seed, so new logs begin with the bytes of older ones. A checkpoint that
is there already therefore fits the new logs as well, and the run can be continued even if `place`
is stopped half way.
"""

from collections.abc import Mapping
from pathlib import Path

from bnexp.errors import DamagedError
from bnexp.files.atomic import ANEW, MOST_OF_TENSORS, read_whole, write_whole
from bnexp.files.axes import PERCENTILES
from bnexp.files.locks import locked, storage_errors
from bnexp.files.run_folder import CHECKPOINT, LOGS, MODEL, PREVIOUS
from bnexp.files.status import STATUS

ORDER = (*LOGS, PERCENTILES, PREVIOUS, CHECKPOINT, MODEL, STATUS)


def pack(folder: Path) -> dict[str, bytes]:
    """What training wrote into the folder of a run, by file name; nothing before it was started.

    Raises:
        StorageError: a file cannot be read.
    """
    with storage_errors(folder):
        present = [name for name in ORDER if (folder / name).is_file()]
        return {name: read_whole(folder / name, ANEW, MOST_OF_TENSORS) for name in present}


def place(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put the files of a run in place, as training would have written them there.

    Args:
        folder: the run's; made if it is not there, and held against other processes meanwhile.
        files: as `pack` returned them.

    Raises:
        DamagedError: they are not all files of a run.
        LockedError: another process works on the run.
        StorageError: they cannot be written, or bnexp did not make the folder.
    """
    if foreign := [name for name in files if name not in ORDER]:
        raise DamagedError(f"{folder}: {foreign[0]!r} is no file of a run; {ANEW}")
    with storage_errors(folder), locked(folder, wait=5.0):
        (folder / STATUS).unlink(missing_ok=True)
        for name in ORDER:
            if name in files:
                write_whole(folder / name, files[name])
            else:
                (folder / name).unlink(missing_ok=True)
