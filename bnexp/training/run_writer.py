"""The files of one run while it is trained: what is written when, and in which order.

Whenever the run can be stopped, it can be continued: at a checkpoint the logs are committed first,
then the checkpoint that counts on them is put in place, and then `status.json` tells readers of the
new rows. At every moment `status.json` promises only what the logs hold, and one of the two
checkpoints is whole and fits the logs.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from bnexp.errors import DamagedError
from bnexp.files import checkpoint
from bnexp.files.axes import axes_of
from bnexp.files.checkpoint import Checkpoint
from bnexp.files.headers import csv_row
from bnexp.files.run_folder import (
    MODEL,
    RunLogs,
    RunningStatisticsRow,
    RunPlan,
    binding_settings,
    changed_settings,
)
from bnexp.files.status import Provenance, Status, changes, frozen
from bnexp.files.status_writer import StatusWriter
from bnexp.networks.engine import Engine, Rows

HEARTBEAT_SECONDS = 1.0


class RunWriter:
    """Writes the files of a run.

    Args:
        plan: the run; its folder must be locked.
        made_with: versions, commit and command, as they go to `status.json`.
    """

    def __init__(self, plan: RunPlan, made_with: Provenance) -> None:
        self.plan, self.logs = plan, RunLogs(plan.folder, axes_of(plan.settings))
        self.last_loss = self.last_accuracy = float("nan")
        settings, steps = binding_settings(plan.settings), plan.settings.train.steps
        status = Status("running", 0, steps, plan.variant, plan.seed, settings, made_with=made_with)
        self._status = StatusWriter(plan.folder, status)

    def newest_checkpoint(self, say: Callable[[str], None]) -> Checkpoint | None:
        """The newest checkpoint that is whole and that the run can continue from, or None.

        Args:
            say: is told, in a line, what is wrong with newer ones.

        Raises:
            DamagedError: one is whole, but none is of this run, or a log does not hold its rows.
        """
        found, complaints = checkpoint.load(self.plan.folder, self._check_fit)
        for complaint in complaints:
            say(f"{complaint}; {'using the checkpoint before' if found else 'starting again'}")
        return found

    def _check_fit(self, found: Checkpoint) -> None:
        """Check that the run can continue from this checkpoint.

        Raises:
            DamagedError: it belongs to another run, or a log does not hold what it counts on.
        """
        other = f"{self.plan.folder}: its checkpoint belongs to "
        advice = "use --out DIR, or --restart"
        bound = {key: frozen(value) for key, value in json.loads(found.settings).items()}
        changed = changed_settings(bound, self.plan.settings)
        changed.pop("train.steps")  # a checkpoint is good for any number of them
        if bound.get("seed") != self.plan.seed:
            changed = {"seed": f"seed: {bound.get('seed')}, now {self.plan.seed}"} | changed
        if changed:
            told = next(iter(changed.values()))
            raise DamagedError(f"{other}other settings ({told}); {advice}")
        if found.step > self.plan.settings.train.steps:
            told = f"train.steps: {self.plan.settings.train.steps} is below its {found.step}"
            raise DamagedError(f"{other}a longer run ({told}); {advice}")
        self.logs.check(found.extents)

    def begin(self, before: Checkpoint | None, engine: Engine) -> str:
        """Open the files: anew, or behind what the checkpoint counts on.

        Returns:
            What computes the steps from here on, if it is something else than before; else "".
        """
        known = () if before is None else before.history
        self._status.change(history=known)
        self._status.note(engine.step, engine.name, engine.description)
        if before is None:
            self.logs.start()
        else:
            # First the promise is taken back to the checkpoint, then the logs.
            self.logs.describe()
            files = self.logs.promised(before.extents)
            self._status.write("running", step=before.step, files=files)
            self.logs.resume(before.extents)
        self._status.begin(engine.step)
        self._status.write("running", step=engine.step, files=self.logs.promised())
        history = self._status.content.history
        return next(reversed(changes(history[-2:])), "") if len(history) > len(known) else ""

    def append(self, rows: Rows) -> None:
        """Append what a block of steps recorded."""
        self.logs.append(rows.minibatch, rows.probe, rows.norm_parameters, rows.metrics)
        for row in rows.metrics:
            self.last_loss, self.last_accuracy = row.train_loss, row.test_accuracy
        for shift in rows.gradient_shift:
            if self.logs.gradient_shift is not None:
                self.logs.gradient_shift.append(csv_row(shift))

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
        history, extents = self._status.content.history, self.logs.extents()
        settings = settings_text(self.plan)
        made = Checkpoint(engine.step, engine.name, settings, history, extents, state)
        checkpoint.save(self.plan.folder, made)
        self._status.write("running", step=engine.step, files=self.logs.promised())

    def beat(self, step: int) -> bool:
        """Write a heartbeat, if it is time for one; says whether it was."""
        if time.monotonic() < self._status.written + HEARTBEAT_SECONDS:
            return False
        self._status.write("running", step=step)
        return True

    def interrupt(self) -> None:
        """Say that the run was stopped after its last checkpoint."""
        self._status.write("interrupted")

    def finish(self, rows: Rows, state_dict: Mapping[str, NDArray[Any]]) -> None:
        """Write the final network, its rows, and that the run is done.

        The rows come after the last checkpoint, so that a longer run of the same settings can
        continue from it.
        """
        self.append(rows)
        self.logs.commit()
        model = checkpoint.save_tensors(self.plan.folder / MODEL, checkpoint.tensors(state_dict))
        self._status.write("done", files={**self.logs.promised(), MODEL: model})

    def fail(self, error: Exception, step: int | None = None) -> None:
        """Say why the run failed; what was recorded until then can be read, and is worth a look.

        The error is what users are told, whether or not the disk still takes what is written here.
        A run that has ended before stays as it is, such as one of a stack in which another failed.

        Args:
            error: why.
            step: the first of which nothing was recorded, where the network itself failed.
        """
        if self._status.content.state in {"done", "failed"}:
            return
        with suppress(OSError):
            if step is not None:
                self.logs.commit()
                self._status.change(step=step, files=self.logs.promised())
            if self._status.content.files:  # else the files of before are untouched
                self._status.write("failed", error=str(error) or type(error).__name__)

    def count_parameters(self, state_dict: Mapping[str, NDArray[Any]]) -> None:
        """Note how many parameters the network has."""
        count = sum(x.size for key, x in state_dict.items() if key.endswith((".weight", ".bias")))
        self._status.change(parameters=count)

    def close(self) -> None:
        """Close the files."""
        self.logs.close()


def settings_text(plan: RunPlan) -> str:
    """What a checkpoint is good for: variant settings and seed, for any number of steps."""
    settings = binding_settings(plan.settings)
    del settings["train.steps"]
    return json.dumps({"seed": plan.seed, **settings}, sort_keys=True)
