"""The folder of a run: its files, as training writes them, and what says what they hold.

A run is one variant with one seed. Its folder describes itself: `status.json` says how far the run
is and which bytes of each log are whole, and `percentiles.json` says what the rows and columns of
the logs are. A reader needs nothing else. Rows are counted in steps: row r of a log holds step
r * every, taken before that step's update. The last row of the probe, of gamma and beta, and of the
metrics is the final network's.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnexp.config import Settings, Value, flatten
from bnexp.errors import DamagedError
from bnexp.files.atomic import RETRAIN, Extent
from bnexp.files.axes import PERCENTILES, Axes, write_axes
from bnexp.files.headers import csv_header, csv_row
from bnexp.files.logs import AppendedArray, AppendedFile
from bnexp.files.status import STATUS

MINIBATCH, PROBE = "batch_percentiles.npy", "probe_percentiles.npy"
NORM_PARAMETERS = "norm_parameters.npy"
METRICS, GRADIENT_SHIFT = "metrics.csv", "gradient_shift.csv"
RUNNING_STATISTICS = "running_statistics.csv"
CHECKPOINT, PREVIOUS, MODEL = "checkpoint.pt", "checkpoint.previous.pt", "model.pt"
LOGS = (MINIBATCH, PROBE, NORM_PARAMETERS, METRICS, GRADIENT_SHIFT, RUNNING_STATISTICS)
RUN_FILES = (*LOGS, PERCENTILES, STATUS, CHECKPOINT, PREVIOUS, MODEL)


class MetricsRow(NamedTuple):
    """One evaluation, a line of `metrics.csv`; NaN where a number does not exist."""

    step: int
    train_loss: float  # mean over the steps since the row before; NaN in row 0
    test_accuracy: float  # share of the test set, in evaluation mode
    test_loss: float  # mean cross-entropy of the test set, in evaluation mode
    bias_norm: float  # Euclidean, of all hidden biases together; NaN without them
    bias_gradient_norm: float  # the same of their gradient on this step's minibatch


class GradientShiftRow(NamedTuple):
    """A line of `gradient_shift.csv`: of a layer at one step; see `networks/gradient_shift.py`."""

    step: int
    layer: int  # counted from 1; the output layer is the last
    distance: float
    relative_distance: float  # NaN where G is zero
    cosine: float  # NaN where G or G' is zero


class RunningStatisticsRow(NamedTuple):
    """A line of `running_statistics.csv`; gaps are over all normalized units of the network.

    E[x] and Var[x] are the population statistics of `networks/running_statistics.py`.
    """

    step: int
    mean_gap: float  # root mean square of (running mean - E[x]) / sqrt(Var[x])
    variance_gap: float  # root mean square of (running variance - Var[x]) / Var[x]
    running_accuracy: float  # on the test set, by the running statistics
    population_accuracy: float  # by the population statistics
    minibatch_accuracy: float  # by those of each minibatch of the test set, as in training


METRICS_COLUMNS = MetricsRow._fields
SHIFT_COLUMNS = GradientShiftRow._fields
STATISTICS_COLUMNS = RunningStatisticsRow._fields


@dataclass(frozen=True)
class RunPlan:
    """A run to be made.

    Attributes:
        variant: the name of its variant.
        seed: its seed.
        settings: all that it depends on, beside the seed.
        folder: where its files go.
    """

    variant: str
    seed: int
    settings: Settings
    folder: Path

    @property
    def name(self) -> str:
        """What users are told: `batchnorm, seed 3`."""
        return f"{self.variant}, seed {self.seed}"


def run_folder(experiment: Path, variant: str, seed: int) -> Path:
    """Where the files of a run are."""
    return experiment / variant / f"seed-{seed}"


def binding_settings(settings: Settings) -> dict[str, Value]:
    """What the results of a run are bound to: all settings but where the data lie."""
    flat = flatten(settings)
    del flat["data.root"]
    return flat


def changed_settings(stated: Mapping[str, Value], settings: Settings) -> dict[str, str]:
    """What a run was made with otherwise: `key: before, now after`, by key.

    Args:
        stated: the settings of the run, as its status has them.
        settings: those that it is asked to have.
    """
    return {
        key: f"{key}: {stated.get(key)}, now {value}"
        for key, value in binding_settings(settings).items()
        if stated.get(key) != value
    }


class RunLogs:
    """The growing files of a run, opened for writing.

    Args:
        folder: the run's folder; must exist.
        axes: what they hold.
    """

    def __init__(self, folder: Path, axes: Axes) -> None:
        self.folder, self.axes, self._described = folder, axes, Extent(0, 0)
        self.minibatch = self.probe = self.norm_parameters = None
        self.gradient_shift = self.running_statistics = None
        if axes.minibatch is not None:
            self.minibatch = AppendedArray(folder / MINIBATCH, axes.minibatch.row_shape)
        if axes.probe is not None:
            self.probe = AppendedArray(folder / PROBE, axes.probe.row_shape)
            if axes.norm_parameters:
                shape = (2, len(axes.probe.unit))
                self.norm_parameters = AppendedArray(folder / NORM_PARAMETERS, shape)
        self.metrics = AppendedFile(folder / METRICS, csv_header(METRICS_COLUMNS))
        if axes.gradient_shift:
            self.gradient_shift = AppendedFile(folder / GRADIENT_SHIFT, csv_header(SHIFT_COLUMNS))
        if axes.running_statistics:
            header = csv_header(STATISTICS_COLUMNS)
            self.running_statistics = AppendedFile(folder / RUNNING_STATISTICS, header)

    def __iter__(self) -> Iterator[AppendedFile]:
        logs: tuple[AppendedFile | None, ...] = (
            self.minibatch,
            self.probe,
            self.norm_parameters,
            self.metrics,
            self.gradient_shift,
            self.running_statistics,
        )
        return (log for log in logs if log is not None)

    def describe(self) -> None:
        """Write `percentiles.json`."""
        self._described = write_axes(self.folder, self.axes)

    def start(self) -> None:
        """Begin all logs anew, with their description; no status promises the old ones any more."""
        (self.folder / STATUS).unlink(missing_ok=True)
        self.describe()
        for log in self:
            log.start()

    def check(self, extents: Mapping[str, Extent]) -> None:
        """Check that `resume` can continue behind these extents.

        Raises:
            DamagedError: a log does not hold that any more.
        """
        for log in self:
            if log.path.name not in extents:
                raise DamagedError(f"{log.path}: not in the checkpoint; {RETRAIN}")
            log.check(extents[log.path.name])

    def resume(self, extents: Mapping[str, Extent]) -> None:
        """Continue all logs behind these extents; anything behind them is cut off."""
        for log in self:
            log.resume(extents[log.path.name])

    def extents(self) -> dict[str, Extent]:
        """What identifies the rows of each log so far, by file name."""
        return {log.path.name: log.extent() for log in self}

    def promised(self, extents: Mapping[str, Extent] | None = None) -> dict[str, Extent]:
        """What a status may promise: these extents, or the rows so far, and their description."""
        return {**(self.extents() if extents is None else extents), PERCENTILES: self._described}

    def append(
        self,
        minibatch: NDArray[np.float32] | None,
        probe: NDArray[np.float32] | None,
        norm_parameters: NDArray[np.float32] | None,
        metrics: Iterable[Sequence[float]],
    ) -> None:
        """Append rows of the logs that there are; readers see them after the next commit.

        Args:
            minibatch: (rows, percentiles, units); `None` where there are none.
            probe: the same of the probe.
            norm_parameters: (rows, 2, units); `None` where there are none.
            metrics: the columns of each row.
        """
        for log, rows in (
            (self.minibatch, minibatch),
            (self.probe, probe),
            (self.norm_parameters, norm_parameters),
        ):
            if log is not None and rows is not None and len(rows):
                log.append_rows(rows)
        for row in metrics:
            self.metrics.append(csv_row(row))

    def commit(self) -> None:
        """Put everything appended on the disk and make it visible to readers."""
        for log in self:
            log.commit()

    def close(self) -> None:
        """Close all logs."""
        for log in self:
            log.close()
