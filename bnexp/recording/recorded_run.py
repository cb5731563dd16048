"""The folder of a recorded run: begun, continued behind any step, committed, and ended.

There is no checkpoint here: the network is the user's. What `status.json` promises is the state of
the recording, so a run continues at the last commit, or at any step before it. Whatever lies behind
that step is cut off and recorded again.
"""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp.config import Value
from bnexp.errors import ConfigError, StorageError
from bnexp.files.atomic import Extent
from bnexp.files.axes import PERCENTILES, Axes, read_axes
from bnexp.files.headers import csv_header
from bnexp.files.locks import storage_errors
from bnexp.files.logs import prefix_extent, read_table
from bnexp.files.provenance import provenance
from bnexp.files.run_folder import (
    METRICS,
    METRICS_COLUMNS,
    RunLogs,
)
from bnexp.files.status import RECORD, STATUS, Provenance, State, Status, read_status
from bnexp.files.status_writer import StatusWriter

ELSEWHERE = "give another folder, variant or seed"


class RecordedRun:
    """Writes the files of a run that somebody else trains.

    Args:
        folder: the run's; must be locked.
        variant: its name.
        seed: the run's.
        settings: what its results are bound to, by dotted key.
        total: how many steps it will have; `None` if nobody knows.
    """

    def __init__(
        self,
        folder: Path,
        variant: str,
        seed: int,
        settings: Mapping[str, Value],
        total: int | None,
    ) -> None:
        self.folder, self._total, self._logs = folder, total, RunLogs(folder, Axes(None, None))
        self._before: Status | None = None  # of a run that goes on, where it goes on
        made_with: Provenance = {**provenance(), "command": _command()}
        status = Status("running", 0, total or 0, variant, seed, settings, made_with=made_with)
        self._status = StatusWriter(folder, status)

    @property
    def axes(self) -> Axes:
        """What the rows and columns of its logs are."""
        return self._logs.axes

    @property
    def exists(self) -> bool:
        """Whether a run was recorded there before."""
        return (self.folder / STATUS).exists()

    @property
    def is_open(self) -> bool:
        """Whether rows can be appended: the files are written by this recording."""
        return bool(self._status.content.files)

    def begin(self, axes: Axes, arithmetic: str, parameters: int) -> None:
        """Open the files anew."""
        with storage_errors(self.folder):
            self._logs = RunLogs(self.folder, axes)
            self._logs.start()
            self._status.begin(0)
            self._status.note(0, RECORD, arithmetic)
            self._write("running", 0, self._logs.promised(), parameters=parameters)

    def resume(self, step: int | None, check: Callable[[Axes], None]) -> Status:
        """Check that the run can go on behind a step; returns what it was there.

        The files stay as they are until `go_on`, since the model may turn out to be another one.

        Args:
            step: how many updates the network has made; `None`: as many as were committed.
            check: raises an error for axes that are not those of what is to be recorded.

        Raises:
            ConfigError: another run lies there, or one that is not as far as this step.
            DamagedError: the files are not what was written.
        """
        with storage_errors(self.folder):
            status = read_status(self.folder)
            axes = read_axes(self.folder, status.files.get(PERCENTILES))
            mine = self._status.content
            if (status.settings, status.variant) != (mine.settings, mine.variant):
                raise ConfigError(
                    f"{self.folder}: holds a run with other settings; to keep it, {ELSEWHERE}"
                )
            check(axes)
            step = status.step if step is None else step
            if step > status.step:
                raise ConfigError(
                    f"{self.folder}: cannot continue at step {step}, since {status.step} steps "
                    f"were committed.\nUse resume={status.step} or less; `recorder.commit()` "
                    "before each of your checkpoints keeps them together."
                )
            self._logs = RunLogs(self.folder, axes)
            self._logs.check(status.files)
            self._before = replace(
                status,
                step=step,
                files=self._extents_at(step, status.files),
                # The sum of the losses is known at the last commit alone.
                pending=status.pending if step == status.step else {},
            )
        return self._before

    def go_on(self, arithmetic: str) -> None:
        """Open the files behind the step of `resume`.

        Args:
            arithmetic: what makes the steps from here on.
        """
        before = self._before
        if before is None:
            raise ValueError(f"{self.folder}: nothing to go on with; call resume first")
        with storage_errors(self.folder):
            self._logs.describe()  # by the same bytes
            self._status.begin(before.step)
            self._status.change(
                history=before.history, parameters=before.parameters, pending=before.pending
            )
            self._status.note(before.step, RECORD, arithmetic)
            # First the promise is taken back to this step, then the logs.
            self._write("running", before.step, self._logs.promised(before.files))
            self._logs.resume(before.files)

    def _extents_at(self, step: int, promised: Mapping[str, Extent]) -> dict[str, Extent]:
        """What identifies the rows of the steps before `step` in each log."""
        extents = {}
        logs = self._logs
        for log, axes in ((logs.minibatch, self.axes.minibatch), (logs.probe, self.axes.probe)):
            if log is not None and axes is not None:
                size = -(-step // axes.every) * log.row_bytes
                extents[log.path.name] = prefix_extent(log.path, len(log.header), size)
        # A row of metrics is written after the update that it counts, so the step's own stays.
        path, skip = self.folder / METRICS, len(csv_header(METRICS_COLUMNS))
        table = read_table(path, METRICS_COLUMNS, promised[METRICS])
        lines = path.read_bytes().splitlines(keepends=True)[1 : 1 + len(table)]
        kept = [line for line in lines if int(line.split(b",")[0]) <= step]
        extents[METRICS] = prefix_extent(path, skip, sum(map(len, kept)))
        return extents

    @property
    def goes_on(self) -> bool:
        """Whether there is a run that `resume` found."""
        return self._before is not None

    def metrics_so_far(self) -> tuple[int, bool]:
        """The step of the last row of metrics, or -1; and whether anything but losses is there."""
        if self._before is None:
            return -1, False
        extent = self._before.files[METRICS]
        table = read_table(self.folder / METRICS, METRICS_COLUMNS, extent)
        last = int(table[-1, 0]) if len(table) else -1
        return last, bool(np.isfinite(table[:, 2:4]).any())

    def append(
        self,
        minibatch: NDArray[np.float32] | None,
        probe: NDArray[np.float32] | None,
        metrics: Sequence[Sequence[float]],
    ) -> None:
        """Append rows; readers see them after the next commit.

        Args:
            minibatch: (rows, percentiles, units); `None` where there are none.
            probe: the same of the probe.
            metrics: the columns of each row.
        """
        with storage_errors(self.folder):
            self._logs.append(minibatch, probe, None, metrics)

    def commit(
        self,
        step: int,
        state: State = "running",
        error: str | None = None,
        pending: Mapping[str, str] | None = None,
    ) -> None:
        """Put everything appended on the disk, and promise it to readers.

        Args:
            step: how many updates have been made.
            state: of the run.
            error: why it failed.
            pending: the numbers that wait for their row of metrics.
        """
        with storage_errors(self.folder):
            self._logs.commit()
            self._write(state, step, self._logs.promised(), error=error, pending=pending or {})

    def fail(self, error: BaseException) -> None:
        """Say why the recording ended, if the disk still takes it; what was committed stays."""
        with suppress(OSError, StorageError):
            if self.is_open:
                self._status.write("failed", error=_one_line(error))

    def close(self) -> None:
        """Close the files."""
        self._logs.close()

    def _write(
        self, state: State, step: int, files: Mapping[str, Extent], **attributes: Any
    ) -> None:
        """Write the status; a run may take more steps than was said."""
        steps = max(self._total or 0, step)
        self._status.write(state, step=step, steps=steps, files=files, **attributes)


def _one_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _command() -> str:
    """The program that records, without this machine's path to it."""
    return shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])
