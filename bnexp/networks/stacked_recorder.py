"""What a stack of runs records in a block of steps, kept on the device until the block ends."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bnexp.config import Settings, probe_examples
from bnexp.files.run_folder import GradientShiftRow, MetricsRow
from bnexp.networks.engine import Failure, Rows, empty_rows
from bnexp.recording.percentiles import Percentiles


class StackedRecorder:
    """Collects rows of R runs; `take` copies them to the host at once and divides them by run.

    A GPU works on while Python goes ahead, so a loss that is not finite is found out later. `fail`
    then removes what was recorded at that step and after it.
    """

    def __init__(self, settings: Settings, runs: int) -> None:
        self.settings, self.runs = settings, runs
        record = settings.record
        self._batch = Percentiles(record.percentiles, settings.train.batch_size)
        self._probe = Percentiles(record.percentiles, probe_examples(settings))
        self._failures: dict[int, Failure] = {}  # by run
        self._clear()

    def _clear(self) -> None:
        self._batch_rows: list[tuple[int, Tensor]] = []  # each (R, order statistics, units)
        self._probe_rows: list[tuple[int, Tensor]] = []
        self._norm_rows: list[tuple[int, Tensor]] = []  # each (R, 2, units)
        self._metrics: list[Sequence[MetricsRow]] = []  # each has a row of every run
        self._shifts: list[Sequence[Sequence[GradientShiftRow]]] = []

    def add_batch(self, step: int, layers: Sequence[Tensor]) -> None:
        """A row of minibatch percentiles, from pre-activations (R, B, units) of some layers."""
        self._batch_rows.append((step, self._batch.select_torch(torch.cat([*layers], 2))))

    def add_probe(self, step: int, layers: Sequence[Tensor]) -> None:
        """A row of probe percentiles, from pre-activations (R, examples, units) of all layers."""
        self._probe_rows.append((step, self._probe.select_torch(torch.cat([*layers], 2))))

    def add_norm_parameters(self, step: int, gamma_and_beta: Tensor) -> None:
        """A row of gamma and beta (R, 2, units)."""
        self._norm_rows.append((step, gamma_and_beta))

    def add_metrics(self, rows: Sequence[MetricsRow]) -> None:
        """A row of metrics of every run."""
        self._metrics.append(rows)

    def add_gradient_shift(self, rows: Sequence[Sequence[GradientShiftRow]]) -> None:
        """The gradient shift of every run."""
        self._shifts.append(rows)

    def fail(self, run: int, failure: Failure) -> None:
        """A run has failed: nothing of it counts from that step on."""
        self._failures.setdefault(run, failure)

    def take(self) -> list[Rows]:
        """The rows of each run, which are then forgotten."""
        batch_steps, batch = _stack(self._batch_rows)
        probe_steps, probe = _stack(self._probe_rows)
        norm_steps, norm = _stack(self._norm_rows)
        taken = []
        for run in range(self.runs):
            failure = self._failures.get(run)
            end = np.inf if failure is None else failure.step
            rows = empty_rows(self.settings, failure)
            if len(batch):
                rows.minibatch = self._batch.interpolate(batch[batch_steps < end, run])
            if len(probe):
                rows.probe = self._probe.interpolate(probe[probe_steps < end, run])
            if len(norm):
                rows.norm_parameters = norm[norm_steps < end, run].astype(np.float32)
            rows.metrics = [row[run] for row in self._metrics if row[run].step < end]
            shifts: Iterable[GradientShiftRow] = (r for rows in self._shifts for r in rows[run])
            rows.gradient_shift = [row for row in shifts if row.step < end]
            taken.append(rows)
        self._clear()
        return taken


def _stack(rows: Sequence[tuple[int, Tensor]]) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """The steps (n,) of some rows, and the rows (n, R, ...) on the host, copied at once."""
    steps = np.array([step for step, _ in rows], np.int64)
    if not rows:
        return steps, np.empty(0)
    return steps, torch.stack([row for _, row in rows]).cpu().numpy()
