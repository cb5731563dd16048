"""One run from its first step to its files: checkpoint, stop, and continue where it was stopped."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch  # noqa: TID253

from bnexp.data import datasets as data
from bnexp.errors import DamagedError, RunError
from bnexp.files import checkpoint
from bnexp.files.run_folder import MODEL, PERCENTILES, STATUS, RunFiles, Task, describe_percentiles
from bnexp.files.storage import locked, storage_errors, write_json, write_sealed
from bnexp.training.trainer import Trainer, settings_text

HEARTBEAT_SECONDS = 1.0


def run(task: Task, stop: Callable[[], bool], say: Callable[[str], None]) -> str:
    """Do a run, or what is left of it; returns its state, `done` or `interrupted`.

    Args:
        task: the run.
        stop: asked several times a second; where true, the run stops after a checkpoint.
        say: told, in a line, what a user should know.

    Raises:
        RunError: the loss is not finite.
        DataError: the data set is missing or damaged.
        StorageError: the files cannot be written, or another process writes them.
    """
    with storage_errors(task.folder):
        task.folder.mkdir(parents=True, exist_ok=True)
        # A process whose parent was killed needs a moment to notice and end.
        # What is not finite is found, and said, by `Trainer.check_finite`.
        with locked(task.folder, wait=5.0), np.errstate(all="ignore"):
            return _run_locked(task, stop, say)


def _run_locked(task: Task, stop: Callable[[], bool], say: Callable[[str], None]) -> str:
    settings = task.variant.settings
    torch.set_num_threads(settings.train.threads)
    dataset = data.load(settings.data)
    with closing(RunFiles(task.folder, settings, task.seeds)) as files:
        trainer = Trainer(task, dataset, files)
        status = _Status(task, trainer)
        try:
            _begin(trainer, status, say)
            write_json(task.folder / PERCENTILES, describe_percentiles(settings, task.seeds))
            return _loop(trainer, status, stop)
        except Exception as error:
            # This error is the one to tell, whether or not the disk still takes what follows.
            with suppress(OSError):
                if isinstance(error, RunError):  # what led there is worth a look
                    trainer.publish()
                    status.extents = files.extents()
                if status.extents:  # else the files of before are untouched
                    status.write("failed", error=str(error) or type(error).__name__)
            raise


def _begin(trainer: Trainer, status: "_Status", say: Callable[[str], None]) -> None:
    """Restore the newest checkpoint that is whole and fits its logs, or start anew.

    At every moment, `status.json` promises readers only what the logs hold.
    """
    task, files = trainer.task, trainer.files
    state, complaints = checkpoint.load(task.folder, lambda state: _check_fit(trainer, state))
    for complaint in complaints:
        say(f"{complaint}; {'using the checkpoint before' if state else 'starting again'}")
    if state is None:
        status.path.unlink(missing_ok=True)
        files.start()
    else:
        trainer.step, status.extents = state["step"], state["extents"]
        status.write("running")
        trainer.restore(state)
        say(f"{task.variant.name}: continuing at step {trainer.step}")
    status.extents = files.extents()


def _check_fit(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Check that the run can continue from this checkpoint.

    Raises:
        DamagedError: it belongs to another run, or a log does not hold what it counts on.
    """
    task = trainer.task
    other = f"{task.folder}: its checkpoint belongs to other settings; use --out DIR, or --force"
    if state.get("format") != checkpoint.FORMAT or state["step"] > trainer.settings.train.steps:
        raise DamagedError(other)
    if state["settings"] != settings_text(task):
        raise DamagedError(other)
    trainer.files.check(state["extents"])


def _loop(trainer: Trainer, status: "_Status", stop: Callable[[], bool]) -> str:
    train, files = trainer.settings.train, trainer.files
    status.write("running")
    while trainer.step < train.steps:
        trainer.advance()
        stopping = status.due() and stop()
        if stopping or trainer.step % train.checkpoint_every == 0 or trainer.step == train.steps:
            status.extents = _checkpoint(trainer)
            status.write("running")
        elif status.beat_due():
            status.write("running")
        if stopping and trainer.step < train.steps:
            status.write("interrupted")
            return "interrupted"
    # The final network's rows come after the last checkpoint, so that a longer run of the same
    # config can continue from it.
    if files.probe is not None:
        trainer.record_probe()
    trainer.record_metrics()
    trainer.publish()
    model = checkpoint.save_tensors(trainer.task.folder / MODEL, trainer.network.model())
    status.extents = {**files.extents(), MODEL: model}
    status.write("done")
    return "done"


def _checkpoint(trainer: Trainer) -> dict[str, dict[str, int]]:
    """Logs first, then the checkpoint that counts on them; returns the logs' extents."""
    trainer.check_finite()
    trainer.publish()
    checkpoint.save(trainer.task.folder, trainer.state())
    return trainer.files.extents()


class _Status:
    """Writes status.json, and knows when it is time to."""

    def __init__(self, task: Task, trainer: Trainer) -> None:
        self.path, self.trainer = task.folder / STATUS, trainer
        self.constant = {
            **task.provenance,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "backend": trainer.backend.name,
            "seeds": list(task.seeds),
            "threads": trainer.settings.train.threads,
            "parameters": trainer.network.parameter_count,
        }
        self.extents: Mapping[str, Any] = {}  # what readers may rely on
        self._began: tuple[float, int] | None = None
        self._look = self._beat = 0.0

    def due(self) -> bool:
        """Whether it is time to ask for a stop: five times a second."""
        now = time.monotonic()
        if now < self._look:
            return False
        self._look = now + 0.2
        return True

    def beat_due(self) -> bool:
        """Whether it is time for a heartbeat."""
        return self._look > self._beat

    def write(self, state: str, **more: str) -> None:
        """Write the file."""
        now, step = time.monotonic(), self.trainer.step
        if self._began is None:
            self._began = now, step
        began, first = self._began
        self._beat = now + HEARTBEAT_SECONDS
        write_sealed(
            self.path,
            {
                "state": state,
                "step": step,
                "steps": self.trainer.settings.train.steps,
                "heartbeat": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds_per_step": (now - began) / (step - first) if step > first else None,
                **self.constant,
                **more,
                "files": self.extents,
            },
        )
