"""The files of one run while it is trained: what is written when, and in which order.

Whenever the run can be stopped, it can be continued: at a checkpoint the logs are committed first,
then the checkpoint that counts on them is put in place, and then `status.json` tells readers of the
new rows. At every moment `status.json` promises only what the logs hold, and one of the two
checkpoints is whole and fits the logs.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from numpy.typing import NDArray

from bnexp.config import Value
from bnexp.errors import DamagedError, RunError
from bnexp.files import checkpoint
from bnexp.files.atomic import Extent
from bnexp.files.axes import PERCENTILES, axes_of, write_axes
from bnexp.files.headers import csv_row
from bnexp.files.run_folder import MODEL, RunLogs, RunningStatisticsRow, RunPlan, binding_settings
from bnexp.files.status import STATUS, State, Status, changes, write_status
from bnexp.networks.engine import Engine, Rows

HEARTBEAT_SECONDS = 1.0


class RunWriter:
    """Writes the files of a run.

    Args:
        plan: the run; its folder must be locked.
        made_with: versions, commit and command, as they go to `status.json`.
    """

    def __init__(self, plan: RunPlan, made_with: Mapping[str, Value]) -> None:
        self.plan, axes = plan, axes_of(plan.settings)
        self.axes, self.logs = axes, RunLogs(plan.folder, axes)
        self.last_loss = self.last_accuracy = float("nan")
        self._history: list[dict[str, Value]] = []
        self._began: tuple[float, int] | None = None
        self._axes_extent = Extent(0, 0)
        self._beat = 0.0
        self._status = Status(
            state="running",
            step=0,
            steps=plan.settings.train.steps,
            variant=plan.variant,
            seed=plan.seed,
            settings=binding_settings(plan.settings),
            host=socket.gethostname(),
            pid=os.getpid(),
            made_with=made_with,
        )

    def newest_checkpoint(self, say: Callable[[str], None]) -> Mapping[str, Any] | None:
        """The newest checkpoint that is whole and that the run can continue from, or None.

        Args:
            say: is told, in a line, what is wrong with newer ones.

        Raises:
            DamagedError: one is whole, but none is of this run, or a log does not hold its rows.
        """
        state, complaints = checkpoint.load(self.plan.folder, self._check_fit)
        for complaint in complaints:
            say(f"{complaint}; {'using the checkpoint before' if state else 'starting again'}")
        return state

    def _check_fit(self, state: Mapping[str, Any]) -> None:
        """Check that the run can continue from this checkpoint.

        Raises:
            DamagedError: it belongs to another run, or a log does not hold what it counts on.
        """
        other = f"{self.plan.folder}: its checkpoint belongs to "
        advice = "use --out DIR, or --restart"
        if state.get("format") != checkpoint.FORMAT:
            raise DamagedError(f"{other}another version of bnexp; {advice}")
        bound = json.loads(state["settings"])
        wanted = json.loads(settings_text(self.plan))
        for key in wanted:
            if bound.get(key) != wanted[key]:
                told = f"{key}: {bound.get(key)}, now {wanted[key]}"
                raise DamagedError(f"{other}other settings ({told}); {advice}")
        if state["step"] > self.plan.settings.train.steps:
            told = f"train.steps: {self.plan.settings.train.steps} is below its {state['step']}"
            raise DamagedError(f"{other}a longer run ({told}); {advice}")
        self.logs.check(_extents(state))

    def begin(self, state: Mapping[str, Any] | None, engine: Engine) -> str:
        """Open the files: anew, or behind what the checkpoint counts on.

        Returns:
            What computes the steps from here on, if it is something else than before; else "".
        """
        made = 0
        if state is None:
            (self.plan.folder / STATUS).unlink(missing_ok=True)
        self._axes_extent = write_axes(self.plan.folder, self.axes)
        if state is None:
            self.logs.start()
        else:
            self._history = json.loads(state["history"])
            made = len(self._history)
            # First the promise is taken back to the checkpoint, then the logs.
            files = {**_extents(state), PERCENTILES: self._axes_extent}
            self._status = replace(self._status, step=state["step"], files=files)
            self._note_engine(engine)
            self._write("running")
            self.logs.resume(_extents(state))
        self._note_engine(engine)
        self._status = replace(self._status, step=engine.step, files=self._files())
        self._began = time.monotonic(), engine.step
        self._write("running")
        return next(reversed(changes(self._history[-2:])), "") if len(self._history) > made else ""

    def _note_engine(self, engine: Engine) -> None:
        """Add to the history what computes the steps from here on, if it is something else."""
        made_with = {key: x for key, x in self._status.made_with.items() if key != "command"}
        computes = {"engine": engine.name, "arithmetic": engine.description, **made_with}
        last = self._history[-1] if self._history else {}
        if {**last, "from_step": 0} != {**computes, "from_step": 0}:
            self._history.append({"from_step": engine.step, **computes})
        self._status = replace(self._status, history=tuple(self._history))

    def _files(self) -> dict[str, Extent]:
        """What readers may rely on, before the network is there."""
        return {**self.logs.extents(), PERCENTILES: self._axes_extent}

    def append(self, rows: Rows) -> None:
        """Append what a block of steps recorded."""
        logs = self.logs
        for log, recorded in (
            (logs.minibatch, rows.batch),
            (logs.probe, rows.probe),
            (logs.norm_parameters, rows.norm_parameters),
        ):
            if log is not None and len(recorded):
                log.append_rows(recorded)
        for row in rows.metrics:
            logs.metrics.append(csv_row(row))
            self.last_loss, self.last_accuracy = row.train_loss, row.test_accuracy
        for shift in rows.gradient_shift:
            if logs.gradient_shift is not None:
                logs.gradient_shift.append(csv_row(shift))

    def append_running_statistics(self, row: RunningStatisticsRow | None) -> None:
        """Append a comparison of the running statistics; `None` where there is nothing to say."""
        if self.logs.running_statistics is not None and row is not None:
            self.logs.running_statistics.append(csv_row(row))

    def commit(self, engine: Engine, state: Mapping[str, NDArray[Any]]) -> None:
        """Save a checkpoint: logs first, then the checkpoint that counts on them, then the status.

        Args:
            engine: has just made the steps.
            state: all that the rest of this run depends on.
        """
        self.logs.commit()
        extents = self.logs.extents()
        content = {
            "step": engine.step,
            "engine": engine.name,
            "settings": settings_text(self.plan),
            "history": json.dumps(self._history),
            "extents": {name: asdict(each) for name, each in extents.items()},
            "arrays": checkpoint.tensors(state),
        }
        checkpoint.save(self.plan.folder, content)
        self._status = replace(self._status, step=engine.step, files=self._files())
        self._write("running")

    def beat(self, step: int) -> bool:
        """Write a heartbeat, if it is time for one; says whether it was."""
        if time.monotonic() < self._beat:
            return False
        self._status = replace(self._status, step=step)
        self._write("running")
        return True

    def interrupt(self) -> None:
        """Say that the run was stopped after its last checkpoint."""
        self._write("interrupted")

    def finish(self, rows: Rows, state_dict: Mapping[str, NDArray[Any]]) -> None:
        """Write the final network, its rows, and that the run is done.

        The rows come after the last checkpoint, so that a longer run of the same settings can
        continue from it.
        """
        self.append(rows)
        self.logs.commit()
        model = checkpoint.save_tensors(self.plan.folder / MODEL, checkpoint.tensors(state_dict))
        self._status = replace(self._status, files={**self._files(), MODEL: model})
        self._write("done")

    def fail(self, error: Exception) -> None:
        """Say why the run failed; what was recorded until then can be read, and is worth a look.

        The error is what users are told, whether or not the disk still takes what is written here.
        """
        with suppress(OSError):
            if isinstance(error, RunError):
                self.logs.commit()
                self._status = replace(self._status, files=self._files())
            if self._status.files:  # else the files of before are untouched
                self._status = replace(self._status, error=str(error) or type(error).__name__)
                self._write("failed")

    def count_parameters(self, state_dict: Mapping[str, NDArray[Any]]) -> None:
        """Note how many parameters the network has."""
        count = sum(x.size for key, x in state_dict.items() if key.endswith((".weight", ".bias")))
        self._status = replace(self._status, parameters=count)

    def close(self) -> None:
        """Close the files."""
        self.logs.close()

    def _write(self, state: State) -> None:
        seconds = None
        if self._began is not None and self._status.step > self._began[1]:
            began, first = self._began
            seconds = (time.monotonic() - began) / (self._status.step - first)
        self._status = replace(self._status, state=state, seconds_per_step=seconds)
        write_status(self.plan.folder, self._status)
        self._beat = time.monotonic() + HEARTBEAT_SECONDS


def settings_text(plan: RunPlan) -> str:
    """What a checkpoint is good for: variant settings and seed, for any number of steps."""
    settings = binding_settings(plan.settings)
    del settings["train.steps"]
    return json.dumps({"seed": plan.seed, **settings}, sort_keys=True)


def _extents(state: Mapping[str, Any]) -> dict[str, Extent]:
    return {name: Extent(**each) for name, each in state["extents"].items()}
