"""The checks of `bnexp verify` in their order.

`checks` needs no files: it looks at batch norm by itself and at small networks on the digits that
scikit-learn holds. `experiment_checks` reads an experiment: whether its logs agree with its trained
networks, what the trained networks do, and what its numbers say of the paper's claims.
"""

from collections.abc import Callable, Iterator

from threadpoolctl import threadpool_limits

from bnexp.analysis.results import ExperimentResults
from bnexp.verify import bias, claims, gamma, gradients, inference, normalization, seeds, trained
from bnexp.verify.check import Check

CHECKS: tuple[Callable[[], Check], ...] = (
    normalization.moments,
    normalization.identity,
    gradients.backward,
    normalization.others_matter,
    inference.moving_averages,
    bias.bias_gradient,
    normalization.constant_shift,
    bias.bias_in_training,
    bias.bias_drift,
    bias.allclose,
    gamma.fold,
    gamma.fold_sign,
    gamma.ablation,
    gradients.scale_invariance,
    inference.running_statistics_on_digits,
    normalization.one_example,
    seeds.same_seed,
)
CONVOLUTION = bias.convolution  # check 30, which came later and keeps its number


def checks() -> Iterator[Check]:
    """Checks 1 to 17 and 30, which need no files. Each is computed when it is asked for."""
    return _one_thread(check() for check in (*CHECKS, CONVOLUTION))


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
    yield from claims.checks(experiment)


def _one_thread(checks: Iterator[Check]) -> Iterator[Check]:
    """The same checks on one thread, since a second one only costs time on arrays this small."""
    with threadpool_limits(1):
        yield from checks
