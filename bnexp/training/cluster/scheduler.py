"""The command's side of a cluster: each worker is given one job for each of its threads.

It gets the next job when it is done with one. So a cluster of any size has no more to remember than
what is under way, and a job whose worker is lost is tried again in the same way, and with the same
words, as on one machine. The states of a worker:

    checking -> checked -> preparing -> ready
             -> refused (the user is told; before anything is trained, it is an error)
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Future

from bnexp.errors import BnexpError, ConfigError, LockedError
from bnexp.files.atomic import write_whole
from bnexp.files.transfer import pack, place
from bnexp.training.cluster import session, worker
from bnexp.training.cluster.connection import Connection
from bnexp.training.cluster.session import SHARED, Ended, Session
from bnexp.training.jobs import TRIES, Job, Jobs
from bnexp.training.worker import Prepare, RunProgress

LOOK_SECONDS = 1.0  # between two looks at which workers there are
POLL_SECONDS = 0.2


@dataclass
class _DaskWorker:
    """A worker, and the jobs that it is at, each with its future."""

    address: str
    threads: int
    state: str = "checking"
    host: str = ""
    jobs: dict[Future[Any], Job] = field(default_factory=dict)


class DaskScheduler:
    """The workers of a Dask cluster, and the jobs that they do.

    Args:
        jobs: what is to be done.
        connection: with the cluster.
        folder: the experiment's, held against other processes.
        most: jobs at a time; None: as many as the workers have threads.
        gather: whether the files come back through Dask; else the workers share the folder.
    """

    def __init__(
        self, jobs: Jobs, connection: Connection, folder: Path, most: int | None, *, gather: bool
    ) -> None:
        self.jobs, self.connection = jobs, connection
        self.most, self.gather = most, gather
        self.session = Session(
            connection.session,
            None if gather else folder,
            session.versions(),
            tuple({(each.data.name, each.data.root) for each in jobs.settings}),
            "" if gather else str(Path.cwd()),
        )
        self.workers: dict[str, _DaskWorker] = {}
        self.at: dict[Future[Any], _DaskWorker] = {}
        self.plans = {plan.name: plan for plan in jobs.left}
        self.stacked: bool | None = None  # known when the first worker is ready
        self.prepare = Job(Prepare(jobs.settings))
        self.looked: float | None = None

    def work(self) -> None:
        """Do all jobs, or stop them after a signal.

        Raises:
            ConfigError: a worker has other code or libraries.
            DataError: a worker does not find the data.
            RunError: the scheduler was lost.
            StorageError: a worker does not share the folder, or a file cannot be written.
        """
        mark = None if self.session.folder is None else self.session.folder / SHARED
        try:
            if mark is not None:
                write_whole(mark, self.session.name.encode())
            with self.jobs.signals_handled():
                while self._goes_on():
                    if self.jobs.begin_to_stop():
                        busy = [each.address for each in self.workers.values() if each.jobs]
                        self.connection.tell(busy, session.stop)
                    self._look()
                    self._prepare_workers()
                    self._give_jobs()
                    self._listen()
                    self.jobs.listener.update(self.jobs.tally)
        finally:
            self.connection.tell(list(self.workers), session.leave)
            with suppress(OSError):
                if mark is not None:
                    mark.unlink(missing_ok=True)

    def _goes_on(self) -> bool:
        """Whether something is under way, or is to begin."""
        to_begin = self.stacked is None or bool(self.jobs.waiting)
        return bool(self.at) or (to_begin and not self.jobs.signals)

    def _look(self) -> None:
        """See which workers there are: check the new ones, and bury those that are gone."""
        if self.looked is not None and time.monotonic() < self.looked + LOOK_SECONDS:
            return
        first, self.looked = self.looked is None, time.monotonic()
        there = self.connection.threads()
        if not there and (first or self.workers):
            self.jobs.listener.say(
                f"{self.connection.address}: there are no workers; waiting for one"
            )
        for address in [address for address in self.workers if address not in there]:
            self._bury(self.workers.pop(address))
        for address in [address for address in there if address not in self.workers]:
            self.workers[address] = each = _DaskWorker(address, there[address])
            self._set_to_work(each, self.prepare, session.check, self.session)

    def _set_to_work(
        self, each: _DaskWorker, job: Job, function: Callable[..., Any], *arguments: object
    ) -> None:
        """Let a worker call a function, and take note that it is at a job."""
        future = self.connection.submit(each.address, function, *arguments)
        each.jobs[future], self.at[future] = job, each

    def _bury(self, each: _DaskWorker) -> None:
        """A worker is gone: its jobs are tried again or given up."""
        for future, job in each.jobs.items():
            del self.at[future]
            future.cancel()  # type: ignore[no-untyped-call]
            self._lost(each, job)

    def _lost(self, each: _DaskWorker, job: Job) -> None:
        if job is not self.prepare:
            lost = f"its worker {each.address} was lost"
            self.jobs.try_again(job, lost, f"{lost}; perhaps out of memory")

    def _prepare_workers(self) -> None:
        """Let the workers compile that have been checked, first one on each host for all of it."""
        workers = list(self.workers.values())
        if self.stacked is None and any(each.state == "checking" for each in workers):
            return  # one that does not fit is an error before anything is trained
        ready = {each.host for each in workers if each.state == "ready"}
        compiling = {each.host for each in workers if each.state == "preparing"} - ready
        for each in workers:
            if each.state == "checked" and each.host not in compiling and not self.jobs.signals:
                each.state = "preparing"
                compiling |= {each.host} - ready
                self._set_to_work(each, self.prepare, worker.do, self.prepare.task, self.session)

    def _give_jobs(self) -> None:
        """The next jobs to the workers that have a thread free, the idlest first."""
        ready = [each for each in self.workers.values() if each.state == "ready"]
        for each in sorted(ready, key=lambda each: len(each.jobs) / each.threads):
            while len(each.jobs) < each.threads and (not self.most or len(self.at) < self.most):
                if (job := self.jobs.take()) is None:
                    return
                sent = tuple(pack(plan.folder) for plan in job.task.plans) if self.gather else ()
                self._set_to_work(each, job, worker.do, job.task, self.session, sent)

    def _listen(self) -> None:
        """Hear what the workers tell, and which jobs have ended."""
        for message in self.connection.messages(POLL_SECONDS):
            if isinstance(message, Future):
                if (each := self.at.pop(message, None)) is not None:
                    job = each.jobs.pop(message)
                    self._end(each, job, self.connection.result(each.address, message))
            elif isinstance(message, dict) and "say" in message:
                self.jobs.listener.say(message["say"])
            elif isinstance(message, dict):
                step, loss, accuracy = message["progress"]
                self.jobs.note(RunProgress(self.plans[message["run"]], step, loss, accuracy))

    def _end(self, each: _DaskWorker, job: Job, ended: Ended | None) -> None:
        """A job ended, or its worker was lost while it was at it."""
        if ended is None:
            self._lost(each, job)
        elif job is self.prepare:
            self._pass_on(each, ended.content)
        elif isinstance(ended.content, LockedError) and job.tries < TRIES:
            # A worker that lost the scheduler may not have stopped yet.
            self.jobs.try_again(job, "its folder is still in use", str(ended.content))
        else:
            for plan, files in zip(job.task.plans, ended.files, strict=bool(ended.files)):
                if files:
                    place(plan.folder, files)
            self.jobs.finish(job, ended.kind, ended.content)

    def _pass_on(self, each: _DaskWorker, content: object) -> None:
        """A worker was checked, or has compiled: it goes on to its next state.

        Raises:
            BnexpError: it does not fit, and nothing has been trained yet.
        """
        if isinstance(content, bool) and self.stacked not in {None, content}:
            problem = "it trains on another kind of device than the first worker; set train.device"
            content = ConfigError(f"{each.address}: {problem}")
        if isinstance(content, BnexpError):
            if self.stacked is None:
                raise content
            each.state = "refused"
            self.jobs.listener.say(f"not used: {content}")
        elif each.state == "checking":
            each.state, each.host = "checked", str(content)
        else:
            each.state = "ready"
            if self.stacked is None:
                self.stacked = bool(content)
                self.jobs.add_runs(stacked=self.stacked)
