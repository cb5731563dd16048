"""What a recorder has taken so far: held on its device, and written to the files in blocks."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bnexp.errors import ConfigError, StorageError
from bnexp.files.axes import TRAINING_MODE, Axes, LogAxes, columns
from bnexp.files.signals import handlers_held
from bnexp.files.status import State
from bnexp.recording.capture import Population, Seen, Selected, SelectedRows
from bnexp.recording.metrics import MetricsCollector
from bnexp.recording.recorded_run import ELSEWHERE, RecordedRun

COMMIT_SECONDS = 5.0  # a process that is killed loses at most so much
BLOCK_NUMBERS = 1 << 22  # held before they are appended: 16 MiB of float32


@dataclass(frozen=True)
class RecordingPlan:
    """What is to be recorded.

    Attributes:
        names: of the layers, from layer 1 on.
        percentiles: in [0, 100], ascending.
        every: steps between two rows of minibatch percentiles.
        probe_every: steps between two rows of probe percentiles; `None`: there is no probe.
        metrics_every: steps between two rows of metrics.
    """

    names: tuple[str, ...]
    percentiles: tuple[float, ...]
    every: int
    probe_every: int | None
    metrics_every: int


class Journal:
    """Holds rows and writes them.

    Args:
        run: the files.
        plan: what they are to hold.
        arithmetic: what makes the steps, in words.
        parameters: of the network, those that are trained.
    """

    def __init__(
        self, run: RecordedRun, plan: RecordingPlan, arithmetic: str, parameters: int
    ) -> None:
        self.metrics = MetricsCollector(plan.metrics_every)
        self._run, self._plan = run, plan
        self._arithmetic, self._parameters = arithmetic, parameters
        self._every: dict[Population, int | None] = {
            "minibatch": plan.every,
            "probe": plan.probe_every,
        }
        self._rows: dict[Population, SelectedRows] = {
            "minibatch": SelectedRows(),
            "probe": SelectedRows(),
        }
        self._units: dict[Population, tuple[int, ...]] = {}  # of each layer
        self._broken: StorageError | None = None
        self._committed = time.monotonic()

    def resume(self, resume: bool | int) -> int:  # noqa: FBT001  (it may be a step as well)
        """Look whether a run goes on; the steps that were made.

        Its files stay as they are until the first training pass has shown that the model is theirs.

        Raises:
            ConfigError: a run is there but is not to go on, or was recorded otherwise.
            DamagedError: it is not what was written.
        """
        run = self._run
        if resume is False:
            if run.exists:
                raise ConfigError(
                    f"{run.folder}: holds a run already; record(..., resume=True) continues it.\n"
                    f"To keep it, {ELSEWHERE}."
                )
            return 0
        if not run.exists:
            if resume is not True and resume > 0:
                raise ConfigError(f"{run.folder}: there is no run to continue at step {resume}")
            return 0
        before = run.resume(None if resume is True else int(resume), self._check_axes)
        logs: dict[Population, LogAxes | None] = {
            "minibatch": run.axes.minibatch,
            "probe": run.axes.probe,
        }
        self._units = {kind: _units(log) for kind, log in logs.items() if log is not None}
        last, measured = run.metrics_so_far()
        skip = last if last == before.step else None
        every = self._plan.metrics_every
        self.metrics = MetricsCollector(every, skip, measured=measured, pending=before.pending)
        return before.step

    def _check_axes(self, axes: Axes) -> None:
        """Check that what is recorded fits to what was recorded before."""
        plan = self._plan
        for kind, log, every in (
            ("minibatch", axes.minibatch, plan.every),
            ("probe", axes.probe, plan.probe_every),
        ):
            found = log and (log.every, log.percentiles, log.names)
            if found != (every and (every, plan.percentiles, plan.names)):
                raise ConfigError(
                    f"{self._run.folder}: its {kind} percentiles are of other layers, percentiles "
                    f"or steps than asked for now; to keep them, {ELSEWHERE}"
                )

    def is_due(self, population: Population, step: int) -> bool:
        """Whether a step has a row of this population."""
        every = self._every[population]
        return every is not None and step % every == 0

    def add(
        self,
        step: int,
        rows: Mapping[Population, list[Selected]],
        seen: Mapping[Population, Seen],
        *,
        last: bool = False,
    ) -> None:
        """Hold the rows and the metrics of a step; the first ones open the files.

        Args:
            step: how many updates have been made.
            rows: of the populations that were looked at; kept are those that are due.
            seen: what the layers of each population look like.
            last: keep the rows in any case, since they are the final network's.

        Raises:
            ConfigError: a layer had another number of units before.
        """
        units = {
            population: tuple(layer.statistics.shape[1] for layer in row)
            for population, row in rows.items()
        }
        if any(self._units.get(population, found) != found for population, found in units.items()):
            raise ConfigError(
                f"{self._run.folder}: its layers had other numbers of units; {ELSEWHERE}"
            )
        if not self._run.is_open:
            with handlers_held():
                self.guarded(lambda: self._open(seen))
        self._units |= units
        for population, row in rows.items():
            if last or self.is_due(population, step):
                self._rows[population].rows.append(row)
        self.metrics.settle(step, last=last)

    def _open(self, seen: Mapping[Population, Seen]) -> None:
        if self._run.goes_on:
            self._run.go_on(self._arithmetic)
            return
        minibatch = self._axes(seen["minibatch"], self._plan.every, "the step's minibatch")
        self._run.begin(Axes(minibatch, self._probe_axes(seen)), self._arithmetic, self._parameters)

    def _probe_axes(self, seen: Mapping[Population, Seen]) -> LogAxes | None:
        if "probe" not in seen or self._plan.probe_every is None:
            return None
        told = f"a probe of {seen['probe'].examples:,} fixed examples"
        return self._axes(seen["probe"], self._plan.probe_every, told)

    def _axes(self, seen: Seen, every: int, population: str) -> LogAxes:
        plan, units = self._plan, columns(dict(enumerate(seen.units, 1)))
        told = population + (", at every position" if seen.positions else "")
        return LogAxes(
            every, plan.percentiles, *units, seen.examples, told, TRAINING_MODE, plan.names
        )

    def counted(self, steps: int) -> None:
        """Write what is held, if it is time."""
        if time.monotonic() - self._committed >= COMMIT_SECONDS:
            self.commit(steps)
        elif sum(rows.numbers for rows in self._rows.values()) >= BLOCK_NUMBERS:
            self.append()

    def append(self) -> None:
        """Write what is held; on a GPU, this is where the host waits."""
        with handlers_held():
            taken = {kind: rows.take() if rows.rows else None for kind, rows in self._rows.items()}
            metrics = self.metrics.take()
            self.guarded(lambda: self._run.append(taken["minibatch"], taken["probe"], metrics))

    def commit(self, steps: int, state: State = "running", error: str | None = None) -> None:
        """Write what is held, put it on the disk, and promise it to readers."""
        with handlers_held():
            if self._run.is_open:
                self.append()
                pending = self.metrics.pending()
                self.guarded(lambda: self._run.commit(steps, state, error, pending))
            self._committed = time.monotonic()

    def guarded(self, write: Callable[[], None]) -> None:
        """Write; after a failure the log's end is unknown, so nothing is written any more."""
        self.raise_if_broken()
        try:
            write()
        except StorageError as error:
            self._broken = error
            self._run.fail(error)
            raise

    @staticmethod
    def check_counted(steps: int, *, repeated: bool) -> None:
        """Check that steps were counted, where there was more than one pass.

        Raises:
            ConfigError: none was, so that all passes but the first were taken for the same step.
        """
        if repeated and not steps:
            raise ConfigError(
                "record: many forward passes, but no step; call recorder.step() after each "
                "optimizer.step(), or give counted_by=optimizer"
            )

    def raise_if_broken(self) -> None:
        """Raise the error that ended the writing, if one did."""
        if self._broken is not None:
            raise self._broken


def _units(log: LogAxes) -> tuple[int, ...]:
    """How many units each layer of a log has."""
    return tuple(Counter(log.layer).values())
