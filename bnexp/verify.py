"""`bnexp verify`: what is said of batch normalization, computed now and compared.

`checks` needs no data: the mathematics of BN (`verify_norm`, `verify_invariance`), and short
training runs on the embedded digits (`verify_training`). `experiment_checks` reads an experiment:
its files and trained networks (`verify_trained`), and the claims by its numbers (`verify_claims`).
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

from threadpoolctl import threadpool_limits

from bnexp import data, verify_claims, verify_trained
from bnexp import verify_invariance as invariance
from bnexp import verify_norm as norm
from bnexp import verify_training as training
from bnexp.checking import Check
from bnexp.errors import StorageError
from bnexp.runlog import ExperimentFiles

__all__ = ["Check", "checks", "experiment_checks"]

CHECKS: tuple[Callable[[], Check], ...] = (
    norm.moments,
    norm.identity,
    norm.backward,
    norm.others_matter,
    norm.moving_averages,
    invariance.bias_gradient,
    invariance.shift,
    training.bias_in_training,
    training.bias_drift,
    invariance.allclose,
    invariance.fold,
    invariance.fold_sign,
    training.gamma_ablation,
    invariance.scale_invariance,
    training.reestimated,
    norm.one_example,
    training.same_seed,
)


def checks() -> Iterator[Check]:
    """The 17 checks that need no files, in order, each computed when it is asked for."""
    return _one_thread(check() for check in CHECKS)


def experiment_checks(files: ExperimentFiles) -> Iterator[Check]:
    """The checks of an experiment's finished runs, each computed when it is asked for.

    Raises:
        StorageError: no run is finished.
        DamagedError: a file of a run is damaged.
        DataError: the data set is missing or damaged.
    """
    runs = {name: run for name, run in files.runs.items() if run.status.get("state") == "done"}
    if not runs:
        raise StorageError(f"{files.path}: no finished run; `bnexp train` finishes it")
    return _one_thread(_of_finished(replace(files, runs=runs)))


def _of_finished(files: ExperimentFiles) -> Iterator[Check]:
    load = functools.cache(data.load)
    for run in files.runs.values():
        yield from verify_trained.checks(run, load(run.variant.settings.data))
    yield from verify_claims.checks(files)


def _one_thread(checks: Iterator[Check]) -> Iterator[Check]:
    """The same, each computed on one thread: arrays this small only lose by a second one."""
    found: Check | None
    while True:
        with threadpool_limits(1):
            found = next(checks, None)
        if found is None:
            return
        yield found
