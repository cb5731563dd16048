"""`bnexp verify`: what is said of batch normalization, computed now and compared.

`checks` needs no data: BN by itself (`verify_norm`), gamma and the weights (`verify_fold`), small
nets on the embedded digits (`verify_training`). `experiment_checks` reads an experiment: its files
and trained networks, and the claims by its numbers (`verify_trained`).
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

from threadpoolctl import threadpool_limits

from bnexp.analysis.results import ExperimentResults
from bnexp.config.schema import settings_of
from bnexp.data import datasets as data
from bnexp.errors import StorageError
from bnexp.verify import folding as fold
from bnexp.verify import normalization as norm
from bnexp.verify import trained, training
from bnexp.verify.check import Check

__all__ = ["Check", "checks", "experiment_checks"]

CHECKS: tuple[Callable[[], Check], ...] = (
    norm.moments,
    norm.identity,
    norm.backward,
    norm.others_matter,
    norm.moving_averages,
    training.bias_gradient,
    norm.shift,
    training.bias_in_training,
    training.bias_drift,
    norm.allclose,
    fold.fold,
    fold.fold_sign,
    training.gamma_ablation,
    training.scale_invariance,
    training.reestimated,
    norm.one_example,
    training.same_seed,
)


def checks() -> Iterator[Check]:
    """The 17 checks that need no files, in order, each computed when it is asked for."""
    return _one_thread(check() for check in CHECKS)


def experiment_checks(files: ExperimentResults) -> Iterator[Check]:
    """The checks of an experiment's finished runs, each computed when it is asked for.

    Raises:
        StorageError: no run is finished; later, DamagedError or DataError: files are damaged.
    """
    runs = {name: run for name, run in files.variants.items() if run.state == "done"}
    if not runs:
        raise StorageError(f"{files.path}: no finished run; `bnexp train` finishes it")
    return _one_thread(_of_finished(replace(files, variants=runs)))


def _of_finished(files: ExperimentResults) -> Iterator[Check]:
    load = functools.cache(data.load)
    for run in files.variants.values():
        yield from trained.checks(run, load(settings_of(run.settings).data))
    yield from trained.claims(files)


def _one_thread(checks: Iterator[Check]) -> Iterator[Check]:
    """The same, on one thread until the last is read: small arrays only lose by a second one."""
    with threadpool_limits(1):
        yield from checks
