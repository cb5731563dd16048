"""All runs of an experiment: what is done already, and who does the rest."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnexp.config import Experiment
from bnexp.errors import BnexpError, ConfigError
from bnexp.files.experiment_folder import CONFIG, refuse_first_edition, write_config
from bnexp.files.locks import locked, storage_errors
from bnexp.training.growth import check_growth
from bnexp.training.jobs import Jobs, Listener
from bnexp.training.local import LocalScheduler
from bnexp.training.plans import is_done, plans_of
from bnexp.training.readiness import check_machine
from bnexp.training.train_log import kept

if TYPE_CHECKING:
    from bnexp.training.cluster.connection import Connection


@dataclass(frozen=True)
class Cluster:
    """A Dask cluster.

    Attributes:
        address: of its scheduler, such as `tcp://host:8786`.
        gather: whether each run's files are sent back; else the workers write to the same folder.
    """

    address: str
    gather: bool = False


def train_experiment(
    experiment: Experiment,
    folder: Path,
    jobs: int | None,
    listener: Listener,
    cluster: Cluster | None = None,
) -> list[BnexpError]:
    """Make what is left of every run; returns one error for each task that failed.

    Args:
        experiment: what to train.
        folder: where its files are, or go.
        jobs: workers at a time; None: as many as there are cores.
        listener: is told what happens.
        cluster: does the work in place of this machine.

    Raises:
        ConfigError: the folder holds an experiment of another config, this machine lacks what the
            config asks for, or the cluster does not answer or does not fit.
        DataError: a data set is missing or damaged.
        InterruptedRun: stopped by a signal.
        LockedError: another process works on the experiment.
        RunError: its scheduler was lost.
        StorageError: the folder cannot be written, or a run in it is damaged.
    """
    with storage_errors(folder):
        refuse_first_edition(folder)
        # Before the first file is written; and again below, where no other command can interfere.
        check_growth(experiment, folder)
        # Of a new folder all runs are left. To find out what is left of another takes reading all
        # of it, which is done once, below.
        is_new = not (folder / CONFIG).exists()
        if cluster is None and is_new:
            check_machine(plans_of(experiment, folder))
        elif cluster is not None and is_new:
            _connection(cluster).close()  # a scheduler that does not answer leaves no folder behind
        with locked(folder), kept(folder, listener) as keeper:
            check_growth(experiment, folder)
            plans = plans_of(experiment, folder if cluster is None else folder.absolute())
            left = [plan for plan in plans if not is_done(plan)]
            if cluster is None and not is_new:
                check_machine(left)
            write_config(folder, experiment)
            if done := len(plans) - len(left):
                keeper.say(f"{done} of {len(plans)} runs done already")
            if not left:
                return []
            work = Jobs(left, plans, keeper)
            if cluster is None:
                LocalScheduler(work, min(jobs or os.cpu_count() or 1, len(left))).work()
            else:
                _on(cluster, work, folder, jobs)
            errors = work.errors()
            keeper.keep(*map(str, errors))
            return errors


def _on(cluster: Cluster, work: Jobs, folder: Path, jobs: int | None) -> None:
    """Let a cluster do the jobs, so many at a time."""
    connection = _connection(cluster)
    from bnexp.training.cluster.scheduler import DaskScheduler

    try:
        DaskScheduler(work, connection, folder.absolute(), jobs, gather=cluster.gather).work()
    finally:
        connection.close()


def _connection(cluster: Cluster) -> "Connection":
    """A connection with a cluster.

    Raises:
        ConfigError: Dask is not installed, or the scheduler does not answer.
    """
    try:
        from bnexp.training.cluster.connection import Connection
    except ImportError as error:
        raise ConfigError(
            f"--scheduler {cluster.address}: needs Dask, which is not installed here ({error}).\n"
            "Install it: pip install 'bnexp[cluster]'"
        ) from error
    return Connection(cluster.address)
