"""One run, read from its folder.

A run's folder describes itself: `status.json` says which bytes of each log are whole, with their
CRC-32, and `percentiles.json` says what the rows and columns are.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bnexp.config import Value
from bnexp.errors import DamagedError, StorageError
from bnexp.files.atomic import ANEW, RETRAIN, Extent
from bnexp.files.axes import PERCENTILES, Axes, read_axes
from bnexp.files.logs import read_array, read_last_row, read_table
from bnexp.files.status import STATUS, Status, read_status

READ_TRIES = 3  # of a run that is changed while it is read
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One run: one variant with one seed."""

    path: Path
    status: Status
    axes: Axes

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.status.seed

    def array(self, name: str, row_shape: tuple[int, ...]) -> NDArray[np.float32]:
        """One of its arrays (rows, *row_shape), checked."""
        return read_array(self.path / name, row_shape, self.promised(name))

    def table(self, name: str, columns: Sequence[str]) -> NDArray[np.float64]:
        """One of its tables (rows, columns), checked."""
        return read_table(self.path / name, columns, self.promised(name))

    def last_row(self, name: str, columns: Sequence[str]) -> list[float] | None:
        """The last row of one of its tables, which is checked; None where it has none."""
        return read_last_row(self.path / name, columns, self.promised(name))

    def promised(self, name: str) -> Extent:
        """What identifies a file's content.

        Raises:
            DamagedError: the status does not tell of this file.
        """
        try:
            return self.status.files[name]
        except KeyError:
            raise DamagedError(f"{self.path / STATUS}: says nothing of {name}; {ANEW}") from None


def read_run(folder: Path) -> Run:
    """Read what a run's folder says of itself.

    Raises:
        DamagedError: its status, or the description of its logs, is missing or damaged.
    """
    status = read_status(folder)
    return Run(folder, status, read_axes(folder, status.files.get(PERCENTILES)))


def read_settled(folders: Sequence[Path], read: Callable[[], T]) -> T:
    """What `read` returns, at a time when no command is changing the runs that it reads.

    A run that is continued from an older checkpoint, or begun anew, takes its promises back before
    it cuts its logs. A reader in between knows the old promises still. It reads again.

    Raises:
        DamagedError: a run is damaged, and stays so.
    """
    with suppress(DamagedError):
        return read()  # nearly always, no command changes anything
    for _ in range(READ_TRIES):
        before = [_told(folder) for folder in folders]
        try:
            return read()
        except DamagedError:
            if before == [_told(folder) for folder in folders]:
                raise
    return read()


def _told(folder: Path) -> Status | None:
    try:
        return read_status(folder)
    except StorageError:
        return None


def check_alike(runs: Sequence[Run]) -> None:
    """Check that runs are of one variant: that they differ in nothing but seed and steps.

    Raises:
        DamagedError: they differ in something else.
    """
    first = _without_steps(runs[0].status)
    for run in runs:
        other = _without_steps(run.status)
        if differing := [key for key in first | other if first.get(key) != other.get(key)]:
            raise DamagedError(
                f"{run.path}: {', '.join(differing)} is not that of {runs[0].path.name}; {RETRAIN}"
            )


def _without_steps(status: Status) -> dict[str, Value]:
    return {k: v for k, v in status.settings.items() if k != "train.steps"} | {
        "variant": status.variant
    }
