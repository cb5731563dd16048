"""What `bnexp runs` lists: every run under a folder, with its state and how far it is."""

import functools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis.results import check_run
from bnexp.analysis.variants import Run, read_run, read_settled
from bnexp.config import Experiment
from bnexp.errors import BnexpError, StorageError
from bnexp.files.experiment_folder import is_begun, is_first_edition, read_config
from bnexp.files.run_folder import METRICS, METRICS_COLUMNS
from bnexp.files.status import Status


@dataclass(frozen=True)
class ListedRun:
    """A line of the listing; None stands for what is not known."""

    experiment: str
    variant: str
    seed: int | None
    state: str
    step: str | None = None
    test_accuracy: str | None = None
    heartbeat: str | None = None


def list_runs(folder: Path) -> Iterator[ListedRun]:
    """Every run under a folder, in order; a damaged one is a line that says what is wrong.

    Raises:
        StorageError: there is no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise StorageError(f"{folder}: no such folder; `bnexp train` makes one, as results/NAME")
    config = functools.cache(_config)
    for path in sorted(filter(is_begun, folder.glob("**/seed-*")), key=_order):
        yield _listed(path, config(path.parents[1]))
    for path in sorted(folder.glob("**/config.yaml")):
        if is_first_edition(path.parent):
            yield ListedRun(str(path.parent), "", None, "made by bnexp 0.1; train it again")


def _config(folder: Path) -> Experiment | None:
    """The config of an experiment; None where it cannot be read, and its runs can be."""
    with suppress(StorageError):
        return read_config(folder)
    return None


def _order(path: Path) -> tuple[str, int, str]:
    return str(path.parent), len(path.name), path.name


def _listed(folder: Path, config: Experiment | None) -> ListedRun:
    experiment, variant = str(folder.parent.parent), folder.parent.name
    seed = folder.name.removeprefix("seed-")
    number = int(seed) if seed.isdecimal() else None
    try:
        run, metrics = read_settled([folder], lambda: _read(folder))
        if config is not None:
            check_run(run, config)
    except BnexpError as error:
        return ListedRun(experiment, variant, number, f"damaged: {error}")
    accuracy = f"{metrics[-1, 2]:.4f}" if len(metrics) and metrics[-1, 2] >= 0 else None
    status = run.status
    return ListedRun(
        experiment,
        variant,
        number,
        _state(status),
        f"{status.step}/{status.steps}",
        accuracy,
        status.heartbeat,
    )


def _read(folder: Path) -> tuple[Run, NDArray[np.float64]]:
    run = read_run(folder)
    return run, run.table(METRICS, METRICS_COLUMNS)


def _state(status: Status) -> str:
    """The state that a status tells of, and for how long it has told nothing new."""
    if status.seems_dead:
        return f"{status.state}? silent for {status.silent_minutes():,.0f} min"
    return status.state
