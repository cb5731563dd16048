"""A real Dask cluster on this machine: its processes are bounded in time, and always ended."""

import os
import subprocess
import sys
from pathlib import Path

from helpers import warm
from helpers.waiting import wait_for

# Nothing is downloaded, whatever is missing: the address refuses every connection.
OFFLINE = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")


class DaskCluster:
    """`dask scheduler` and some `dask worker`, with their logs in a folder.

    The first scheduler, and workers with another bnexp, are started as users start them. The others
    are forked from a process that has imported what they need.
    """

    def __init__(self, folder):
        self.folder, self.processes, self.workers = folder, [], []
        self.start_scheduler()

    def _start(self, *words, name, **environment):
        self.folder.mkdir(parents=True, exist_ok=True)
        words, environ = (*words, "--no-dashboard"), {**os.environ, **OFFLINE, **environment}
        (log := self.folder / f"{name}.log").touch()
        if self.processes and "PYTHONPATH" not in environment:
            process = warm.Process(warm.dask, words, self.folder, environ, log)
        else:
            with log.open("w") as file:
                process = subprocess.Popen(
                    [sys.executable, "-m", "dask", *words],
                    cwd=self.folder,
                    env=environ,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
        self.processes.append(process)
        return process

    def start_scheduler(self):
        """Start the scheduler at an address of its own."""
        name = f"scheduler{len(self.processes)}"
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--protocol", "tcp", name=name
        )
        log = self.folder / f"{name}.log"
        wait_for(lambda: "Scheduler at:" in log.read_text(), self.scheduler)
        (line,) = [line for line in log.read_text().splitlines() if "Scheduler at:" in line]
        self.address = line.split()[-1]

    def add_worker(self, **environment):
        """Start a worker of one thread, in a folder of its own; it may take a while to appear."""
        home = self.folder / f"worker{len(self.processes)}"
        home.mkdir()
        words = ("--nthreads", "1", "--no-nanny", "--local-directory", str(home))
        worker = self._start("worker", self.address, *words, name=home.name, **environment)
        self.workers.append(worker)
        return worker

    def home(self, worker):
        """The folder in which a worker keeps what it does not share."""
        return self.folder / f"worker{self.processes.index(worker)}"

    def have_workers(self, count):
        """Start as many as are missing; returns them all."""
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < count:
            self.add_worker()
        return list(self.workers)

    def end_workers(self):
        """End all workers."""
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.workers.clear()

    def close(self):
        """End every process."""
        for process in self.processes:
            process.kill()
            process.wait()


def source_copy(folder):
    """A copy of bnexp's code with a line more, as PYTHONPATH for a worker."""
    import shutil

    import bnexp

    shutil.copytree(Path(bnexp.__file__).parent, folder / "bnexp")
    with (folder / "bnexp" / "errors.py").open("a") as file:
        file.write("\n# one line more\n")
    return str(folder)
