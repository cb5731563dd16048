"""What a Dask worker does: it compiles, and then does one job after another.

A job can be done twice without harm, since it continues or skips what is done.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from distributed import get_worker

from bnexp.errors import BnexpError, DataError, StorageError
from bnexp.files.provenance import provenance
from bnexp.files.run_folder import RunPlan
from bnexp.files.status import Provenance
from bnexp.files.transfer import pack, place
from bnexp.training.cluster.session import Ended, Session, data_root, met_at, watch_of
from bnexp.training.worker import Prepare, Task, outcome

PROGRESS_SECONDS = 2.0  # between two messages of a run to the command


class ClusterReporter:
    """Sends what a run tells to the command, as messages that Dask hands on."""

    def __init__(self, session: str) -> None:
        self.session, self.worker = session, get_worker()
        self.key, self.watch = self.worker.get_current_task(), watch_of(session, self.worker)
        self._next = dict[str, float]()

    def stop(self) -> bool:
        """Whether the run is to stop."""
        watch = self.watch
        return watch is None or watch.stopped.is_set() or self.key in watch.given_up

    def say(self, text: str) -> None:
        """Send a line for the user."""
        self.worker.log_event(self.session, {"say": text})

    def progress(self, plan: RunPlan, step: int, loss: float, accuracy: float) -> None:
        """Send how far a run is, unless that was done just now."""
        if step == plan.settings.train.steps or time.monotonic() >= self._next.get(plan.name, 0.0):
            self._next[plan.name] = time.monotonic() + PROGRESS_SECONDS
            told = {"run": plan.name, "progress": (step, loss, accuracy)}
            self.worker.log_event(self.session, told)


def do(task: Task | Prepare, session: Session, sent: tuple[Mapping[str, bytes], ...] = ()) -> Ended:
    """Do a job.

    Args:
        task: the job.
        session: the command's.
        sent: what the command has of each run's files, where no folder is shared.
    """
    reporter = ClusterReporter(session.name)
    if isinstance(task, Prepare):
        return Ended(*outcome(task, reporter))
    made_with: Provenance = {**_made_here(), "command": task.made_with["command"]}
    plans = tuple(_here(plan, session) for plan in task.plans)
    if session.folder is not None:
        return Ended(*outcome(Task(plans, made_with), reporter))
    try:
        for plan, files in zip(plans, sent, strict=True):
            shutil.rmtree(plan.folder, ignore_errors=True)
            place(plan.folder, files)
        kind, content = outcome(Task(plans, made_with), reporter)
        files_back = tuple(pack(plan.folder) for plan in plans)
    except BnexpError as error:
        kind, content, files_back = "error", error, ()
    finally:
        for plan in plans:
            shutil.rmtree(plan.folder, ignore_errors=True)
    if isinstance(content, StorageError | DataError):
        content = met_at(reporter.worker.address, content)
    return Ended(kind, content, files_back)


def _here(plan: RunPlan, session: Session) -> RunPlan:
    """The plan with this worker's data, and its own folder where none is shared."""
    data = replace(plan.settings.data, root=data_root(plan.settings.data.root, session))
    plan = replace(plan, settings=replace(plan.settings, data=data))
    if session.folder is not None:
        return plan
    scratch = Path(get_worker().local_directory) / f"bnexp-{session.name}"
    return replace(plan, folder=scratch / plan.variant / plan.folder.name)


@cache
def _made_here() -> Provenance:
    """What this worker computes with; it does not change while the worker lives."""
    return provenance()
