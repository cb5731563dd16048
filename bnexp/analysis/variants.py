"""The runs of one variant, stacked over the seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis.distributions import typical_unit, units_of_layer
from bnexp.analysis.records import GradientShiftLog, MetricsLog, PercentileLog, RunningStatisticsLog
from bnexp.analysis.runs import Run, check_alike, read_run, read_settled
from bnexp.analysis.stacking import StackedRows, common_rows, first_steps
from bnexp.config import Value
from bnexp.errors import DamagedError
from bnexp.files.atomic import RETRAIN
from bnexp.files.axes import LogAxes
from bnexp.files.run_folder import (
    GRADIENT_SHIFT,
    METRICS,
    METRICS_COLUMNS,
    MINIBATCH,
    NORM_PARAMETERS,
    PROBE,
    RUNNING_STATISTICS,
    SHIFT_COLUMNS,
    STATISTICS_COLUMNS,
)

ROWS_JUDGED = 1000  # of a log of minibatches, to find the typical unit where there is no probe


@dataclass(frozen=True)
class VariantResults:
    """All runs of one variant, stacked over their seeds.

    `read_variant` has checked every log that the runs promise.

    Attributes:
        name: the variant's.
        settings: of all its runs, by dotted key, such as `model.norm`. Runs may differ in
            `train.steps` alone, while an experiment is made longer; this is the config's.
        path: the variant's folder.
        runs: one for each seed that was started.
    """

    name: str
    settings: Mapping[str, Value]
    path: Path
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that were started."""
        return tuple(run.seed for run in self.runs)

    @property
    def state(self) -> str:
        """`done` if every run is; else the state of the first that is not.

        While an experiment is made longer, some runs have made all steps of the config before, and
        so each of them is done. The variant is then `interrupted`. A model that was recorded may
        have ended at another step with each seed, as by early stopping.
        """
        first = next((run.status.state for run in self.runs if run.status.state != "done"), "done")
        if first != "done" or self.is_recorded:
            return first
        wanted = max(*self._ends, self.settings.get("train.steps", 0))
        return "done" if self.step == wanted else "interrupted"

    @property
    def step(self) -> int:
        """How many updates every run has made."""
        return min(self._ends)

    @property
    def _ends(self) -> list[int]:
        return [run.status.step for run in self.runs]

    @property
    def parameters(self) -> int | None:
        """How many parameters the network has."""
        return self.runs[0].status.parameters

    @property
    def is_recorded(self) -> bool:
        """Whether `bnexp.record` wrote it, of a model that bnexp does not know."""
        # Its layers have names. Its settings are the user's own, and may have any key.
        return any(log is not None and log.names for log in (self.minibatch, self.probe))

    @property
    def seconds_per_step(self) -> float | None:
        """The median over the runs."""
        known = [s for run in self.runs if (s := run.status.seconds_per_step) is not None]
        return float(np.median(known)) if known else None

    def typical_unit(
        self, log: PercentileLog, layer: int, seeds: slice = slice(None)
    ) -> tuple[int, int]:
        """The typical unit of a layer, as the probe tells it where there is one.

        The movement of minibatches is mostly noise, so theirs is the probe's too.

        Args:
            log: in which it is to be shown.
            layer: one that the log holds.
            seeds: the positions of those that are asked about.

        Returns:
            Its positions among these seeds, and in the layer.
        """
        judged = self.probe if self.probe is not None and len(self.probe.steps) else log
        every = -(-len(judged.steps) // ROWS_JUDGED) if judged is log else 1
        values = judged.values[::every, ..., units_of_layer(judged.layer, layer)]
        return typical_unit(values[:, seeds])

    def check(self) -> None:
        """Check every log that the runs promise, so that damage is known before anything is shown.

        Raises:
            DamagedError: a log is damaged.
        """
        for log in (
            "metrics", "minibatch", "probe", "norm_parameters", "gradient_shift",
            "running_statistics",
        ):  # fmt: skip
            getattr(self, log)  # to ask for a log is to check it

    @cached_property
    def minibatch(self) -> PercentileLog | None:
        """The minibatch percentiles; None where none are recorded."""
        return self._log(MINIBATCH, [run.axes.minibatch for run in self.runs])

    @cached_property
    def probe(self) -> PercentileLog | None:
        """The probe percentiles; None where none are recorded."""
        return self._log(PROBE, [run.axes.probe for run in self.runs])

    @cached_property
    def norm_parameters(self) -> NDArray[np.float32] | None:
        """Gamma and beta (rows, seeds, 2, units) at the probe's rows; None without a norm."""
        axes = self.runs[0].axes
        if axes.probe is None or not axes.norm_parameters:
            return None
        shape = 2, len(axes.probe.unit)
        logs = [run.array(NORM_PARAMETERS, shape) for run in self.runs]
        return np.asarray(StackedRows(logs, len(first_steps(logs, axes.probe.every, self._ends))))

    @cached_property
    def metrics(self) -> MetricsLog:
        """The metrics."""
        steps, columns = self._columns(METRICS, METRICS_COLUMNS)
        return MetricsLog(steps, self.seeds, *columns)

    @cached_property
    def running_statistics(self) -> RunningStatisticsLog | None:
        """The running statistics against the training set's; None where they are not compared."""
        if not self.runs[0].axes.running_statistics:
            return None
        steps, columns = self._columns(RUNNING_STATISTICS, STATISTICS_COLUMNS)
        return RunningStatisticsLog(steps, self.seeds, *columns)

    @cached_property
    def gradient_shift(self) -> GradientShiftLog | None:
        """The shifts of the gradients; None where none are recorded."""
        if not self.runs[0].axes.gradient_shift:
            return None
        tables = [run.table(GRADIENT_SHIFT, SHIFT_COLUMNS) for run in self.runs]
        layers = tuple(np.unique(tables[0][:, 1]).astype(int).tolist())
        rows = min(map(len, tables)) // max(len(layers), 1)
        cut = [table[: rows * len(layers)] for table in tables]
        values = np.stack([t.reshape(rows, len(layers), len(SHIFT_COLUMNS)) for t in cut], axis=2)
        steps = values[:, 0, 0, 0] if rows else np.empty(0)
        measured = (values[..., column] for column in (2, 3, 4))
        return GradientShiftLog(steps.astype(np.int64), self.seeds, layers, *measured)

    def _columns(
        self, name: str, columns: Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The steps (rows,) of a table, and its other columns (columns, rows, seeds).

        A model that was recorded may have been evaluated more often with one seed than with
        another. There is a row for each step at which all runs have one.
        """
        tables = [run.table(name, columns) for run in self.runs]
        steps, rows = common_rows([table[:, 0].astype(np.int64) for table in tables])
        stacked = np.stack([t[at] for t, at in zip(tables, rows, strict=True)], axis=1)
        return steps, np.moveaxis(stacked, 2, 0)[1:]

    def _log(self, name: str, axes: Sequence[LogAxes | None]) -> PercentileLog | None:
        first = axes[0]
        if first is None:
            return None
        if any(each != first for each in axes):
            raise DamagedError(f"{self.path}: its runs recorded different units; {RETRAIN}")
        logs = [run.array(name, first.row_shape) for run in self.runs]
        steps = first_steps(logs, first.every, self._ends)
        return PercentileLog(
            steps,
            StackedRows(logs, len(steps)),
            first.percentiles,
            self.seeds,
            np.array(first.layer, np.int64),
            np.array(first.unit, np.int64),
            first.examples,
            first.population,
            first.names,
        )


def read_variant(
    name: str,
    folders: Sequence[Path],
    check: Callable[[Run], None] = lambda _: None,
    steps: int | None = None,
) -> VariantResults:
    """Read the runs of one variant.

    Args:
        name: the variant's.
        folders: of its runs.
        check: raises a DamagedError for a run that does not belong there.
        steps: of each run, by the experiment's config; None where there is none.

    Raises:
        DamagedError: a run or one of its logs is damaged, or the runs have different settings.
    """

    def read() -> VariantResults:
        runs = tuple(read_run(folder) for folder in folders)
        for run in runs:
            check(run)
        check_alike(runs)
        settings = dict(runs[0].status.settings)
        if steps is not None and "train.steps" in settings:
            settings["train.steps"] = steps
        found = VariantResults(name, settings, runs[0].path.parent, runs)
        found.check()
        return found

    return read_settled(folders, read)
