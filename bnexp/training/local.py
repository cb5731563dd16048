"""The jobs of an experiment done by worker processes on this machine.

Each worker does one job at a time. A worker that is killed takes no other with it: its job is tried
again from its checkpoint by a new worker.
"""

from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from bnexp.training.failures import MORE_MEMORY
from bnexp.training.fork_server import Process, Source, source
from bnexp.training.jobs import Job, Jobs
from bnexp.training.worker import STOP, Prepare, RunProgress

POLL_SECONDS = 0.2


@dataclass
class _LocalWorker:
    """A worker process, and the job it is at."""

    process: Process
    connection: Connection | None
    job: Job | None = None


class LocalScheduler:
    """Worker processes, and the jobs that they do.

    Args:
        jobs: what is to be done.
        processes: how many workers there are at a time.
    """

    def __init__(self, jobs: Jobs, processes: int) -> None:
        self.jobs, self.processes = jobs, processes
        self.source: Source = source(jobs.settings)
        self.workers: list[_LocalWorker] = []
        # The first job compiles, and finds out whether there is a GPU; the others follow from it.
        jobs.add(Prepare(jobs.settings))

    def work(self) -> None:
        """Do all jobs, or stop them after a signal."""
        with self.jobs.signals_handled():
            try:
                while len(self.workers) < self.processes:
                    self._start_worker()
                while self._busy() or (self.jobs.waiting and not self.jobs.signals):
                    if self.jobs.begin_to_stop():
                        for each in self._busy():
                            self._send(each, STOP)
                    self._give_jobs()
                    self._listen()
                    self._bury_the_dead()
                    self.jobs.listener.update(self.jobs.tally)
            finally:
                self.source.close()
                for each in self.workers:
                    each.process.kill()
                    each.process.join()

    def _busy(self) -> list[_LocalWorker]:
        return [each for each in self.workers if each.job is not None]

    def _start_worker(self) -> None:
        if not self.source.lives():
            self.source = source(self.jobs.settings)
        self.workers.append(_LocalWorker(*self.source.start()))

    def _send(self, each: _LocalWorker, message: object) -> None:
        if each.connection is not None:
            with suppress(OSError):  # it ended just now, which `_bury_the_dead` will find
                each.connection.send(message)

    def _give_jobs(self) -> None:
        """The next jobs to the workers that have none."""
        for each in self.workers:
            if each.job is None and (job := self.jobs.take()) is not None:
                each.job = job
                self._send(each, job.task)

    def _listen(self) -> None:
        """Wait for news of the workers, for a fifth of a second at most."""
        speaking = {each.connection for each in self.workers if each.connection is not None}
        wait(speaking | {each.process.sentinel for each in self.workers}, POLL_SECONDS)
        for each in self.workers:
            self._hear(each)

    def _hear(self, each: _LocalWorker) -> None:
        try:
            while each.connection is not None and each.connection.poll():
                kind, content = each.connection.recv()
                self._understand(each, kind, content)
        except (EOFError, OSError):
            each.connection = None

    def _understand(self, each: _LocalWorker, kind: str, content: object) -> None:
        if kind == "say":
            self.jobs.listener.say(str(content))
        elif isinstance(content, RunProgress):
            self.jobs.note(content)
        elif each.job is not None:
            job, each.job = each.job, None
            self.jobs.finish(job, kind, content)
            if kind == "ready":
                self.jobs.add_runs(stacked=bool(content))

    def _bury_the_dead(self) -> None:
        """A worker that has ended is replaced, and its job tried again or given up."""
        for each in [each for each in self.workers if not each.process.is_alive()]:
            self._hear(each)
            each.process.join()
            if each.connection is not None:
                each.connection.close()
            self.workers.remove(each)
            if each.job is not None:
                self._lost(each.job, each.process.exitcode)
            if self.jobs.waiting and not self.jobs.signals:
                self._start_worker()

    def _lost(self, job: Job, code: int | None) -> None:
        """The process of a job ended with this code; None: nobody could say with which."""
        if code == 0:  # told to stop just before it could take the job
            self.jobs.told_to_stop(job)
            return
        how = "" if code is None else f" with code {code}"
        ended = f"its process ended{how}; perhaps out of memory: {MORE_MEMORY}"
        if code is None:
            self.jobs.try_again(job, "its process was lost, with the server that made it", ended)
        elif code < 0:
            self.jobs.try_again(job, f"its process was killed (signal {-code})", ended)
        else:
            self.jobs.give_up(job, ended)
