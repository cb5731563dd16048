"""The checks of `bnexp verify` in their order.

`checks` needs no files: it looks at batch norm by itself and at small networks on the digits that
scikit-learn holds. `experiment_checks` reads an experiment: whether its logs agree with its trained
networks, what the trained networks do, and what its numbers say of the paper's claims.
"""

from collections.abc import Callable, Iterator, Mapping

from threadpoolctl import threadpool_limits

from bnexp.analysis.measuring import measure
from bnexp.analysis.results import ExperimentResults
from bnexp.verify import bias, claims, gamma, gradients, inference, normalization, seeds, trained
from bnexp.verify.check import Check

CHECKS: Mapping[int, Callable[[], Check]] = {
    1: normalization.moments,
    2: normalization.identity,
    3: gradients.backward,
    4: normalization.others_matter,
    5: inference.moving_averages,
    6: bias.bias_gradient,
    7: normalization.added_constant,
    8: bias.bias_in_training,
    9: bias.bias_drift,
    10: bias.allclose,
    11: gamma.fold,
    12: gamma.fold_sign,
    13: gamma.ablation,
    14: gradients.scale_invariance,
    15: inference.running_statistics_on_digits,
    16: normalization.one_example,
    17: seeds.same_seed,
    30: bias.convolution,
}


def checks() -> Iterator[Check]:
    """Checks 1 to 17 and 30, which need no files. Each is computed when it is asked for."""
    return _one_thread(check() for check in CHECKS.values())


def experiment_checks(experiment: ExperimentResults) -> Iterator[Check]:
    """The checks of an experiment's finished variants. Each is computed when it is asked for.

    Raises:
        StorageError: no variant is finished.
        DamagedError, DataError: later, where files of a run or of the data set are damaged.
    """
    finished = trained.finished(experiment)
    return _one_thread(_of_finished(finished))


def _of_finished(experiment: ExperimentResults) -> Iterator[Check]:
    yield from trained.checks(experiment)
    yield from claims.checks(measure(experiment), experiment)


def _one_thread(checks: Iterator[Check]) -> Iterator[Check]:
    """The same checks on one thread, since a second one only costs time on arrays this small."""
    with threadpool_limits(1):
        yield from checks
