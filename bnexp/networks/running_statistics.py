"""Running statistics against those of the training set, while a network is trained.

In evaluation mode batch norm uses moving averages of the mean and the variance that minibatches had
during training. By then the weights have moved on, so the averages lag behind. Algorithm 2 of
Ioffe & Szegedy (2015) instead freezes the weights and averages over minibatches B of m training
examples (step 10):

    E[x] = E[mu_B],    Var[x] = m / (m - 1) * E[var_B].

These are the population statistics. How far the moving averages are from them, and what that costs
in accuracy, is measured here.

The network is run by torch in float64, and the gaps are rounded to float32. So the rows do not
depend on the order in which the library of a processor adds up its products.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bnexp.config import Settings
from bnexp.data.datasets import Dataset
from bnexp.files.run_folder import RunningStatisticsRow
from bnexp.networks.engine import Minibatches, State
from bnexp.networks.mlp import mlp

if TYPE_CHECKING:  # most runs do without it, and start a little sooner
    from scipy.sparse import csr_array

Moments = tuple[Tensor, Tensor]  # a mean and a variance of each unit

MINIBATCHES = 100  # over which the population statistics are estimated
ROWS_AT_ONCE = 1024  # examples that go through the network together: what the second cache holds


@torch.no_grad()
def population_statistics(network: nn.Sequential, minibatches: Iterable[Tensor]) -> list[Moments]:
    """E[x] and Var[x] (units,) of the input of each batch norm, weights frozen.

    The moments are taken of what enters a norm, so that a norm that keeps its own statistics
    wrongly has no part in them.

    Args:
        network: left as it is.
        minibatches: some at a time, each time (minibatches, m, features), in the network's dtype.
    """
    found = []
    for norm in zip(*(in_training_mode(network, x)[1] for x in minibatches), strict=True):
        mean, variance = (torch.cat(each).mean(0) for each in zip(*norm, strict=True))
        found.append((mean, variance))
    return found


def in_training_mode(network: nn.Sequential, x: Tensor) -> tuple[Tensor, list[Moments]]:
    """What a network makes of minibatches, and mu_B and m / (m - 1) var_B of each norm's input.

    The minibatches go through each layer together, which takes less time than one by one. Running
    statistics stay as they are.

    Args:
        network: of linear layers, batch norms and functions of each element.
        x: (minibatches, m, features), in the network's dtype.

    Returns:
        (minibatches, m, classes), and for each batch norm two times (minibatches, units).
    """
    m, moments = x.shape[1], []
    for module in network:
        if isinstance(module, nn.BatchNorm1d):
            mean = x.mean(1, keepdim=True)
            x = x - mean
            variance = x.square().mean(1, keepdim=True)
            moments.append((mean[:, 0], variance[:, 0] * m / (m - 1)))
            x = x * (module.weight / (variance + module.eps).sqrt()) + module.bias
        else:
            x = module(x)
    return x, moments


def some_at_a_time(minibatches: Tensor) -> Sequence[Tensor]:
    """Minibatches (minibatches, m, ...) in groups that the second cache holds."""
    return torch.split(minibatches, max(1, ROWS_AT_ONCE // minibatches.shape[1]))


@torch.no_grad()
def accuracy(network: nn.Sequential, x: Tensor, labels: Tensor, size: int | None = None) -> float:
    """The share of examples that are classified correctly.

    Args:
        network: left as it is.
        x: (n, features).
        labels: (n,).
        size: normalize minibatches of so many examples by their own statistics, as in training;
            `None`: by the running statistics.
    """
    if size is None:
        tested = copy.deepcopy(network).eval()
        logits = [tested(part) for part in torch.split(x, ROWS_AT_ONCE)]
    else:
        # Minibatches of nearly equal sizes, since a small last one would be normalized by too few
        # examples: the first ones have one example more where the division leaves a rest.
        count = max(1, len(x) // size)
        size, rest = divmod(len(x), count)
        longer, others = torch.split(x, [rest * (size + 1), (count - rest) * size])
        features = x.shape[1]
        groups = longer.view(rest, size + 1, features), others.view(-1, size, features)
        parts = [part for group in groups for part in some_at_a_time(group)]
        logits = [in_training_mode(network, part)[0].flatten(0, 1) for part in parts]
    chosen = torch.cat([each.argmax(1) for each in logits])
    return float((chosen == labels).double().mean())


class RunningStatisticsMeter:
    """Measures networks of one setting with one data set.

    Args:
        settings: of the runs.
        dataset: its training set gives the population statistics, its test set the accuracies.
        seeds: of the runs. The population statistics are over the first minibatches of each seed's
            first epoch.
    """

    def __init__(self, settings: Settings, dataset: Dataset, seeds: Sequence[int]) -> None:
        self._settings = settings
        self._sizes = dataset.train_x.shape[1], dataset.classes
        self._test_x, self._test_y = nonzero(dataset.test_x), torch.as_tensor(dataset.test_y)
        count, size = len(dataset.train_x), settings.train.batch_size
        chosen = [Minibatches(count, size, seed).block(0, MINIBATCHES) for seed in seeds]
        self._minibatches = [nonzero(dataset.train_x[order.ravel()]) for order in chosen]

    def measure(self, step: int, states: Sequence[State]) -> list[RunningStatisticsRow | None]:
        """A row for each run; `None` where a parameter is not finite.

        Args:
            step: how many updates have been made.
            states: the state_dict of each run's network.
        """
        return [self._row(step, *each) for each in zip(states, self._minibatches, strict=True)]

    def _row(self, step: int, state: State, chosen: "csr_array") -> RunningStatisticsRow | None:
        if not all(np.isfinite(array).all() for array in state.values()):
            return None
        network = mlp(self._settings.model, *self._sizes).double()
        network.load_state_dict({key: torch.as_tensor(array) for key, array in state.items()})
        # Whatever the statistics, the first product is the same.
        first, behind = network[0], network[1:]
        size = self._settings.train.batch_size
        product = through(first, chosen)
        minibatches = product.view(-1, size, product.shape[1])
        population = population_statistics(behind, some_at_a_time(minibatches))
        corrected = copy.deepcopy(behind)
        mean_gaps, variance_gaps = [], []
        for norm, (mean, variance) in zip(_batch_norms(corrected), population, strict=True):
            running_mean, running_var = norm.running_mean, norm.running_var
            if running_mean is None or running_var is None:
                raise TypeError(f"{norm} keeps no running statistics")
            # A unit that is constant over the training set has no scale to measure a gap in.
            scale = variance.clamp_min(torch.finfo(torch.float32).tiny)
            mean_gaps.append((running_mean - mean) / scale.sqrt())
            variance_gaps.append((running_var - variance) / scale)
            running_mean.copy_(mean)
            running_var.copy_(variance)
        test = through(first, self._test_x), self._test_y
        return RunningStatisticsRow(
            step,
            _root_mean_square(mean_gaps),
            _root_mean_square(variance_gaps),
            accuracy(behind, *test),
            accuracy(corrected, *test),
            accuracy(behind, *test, size),
        )


def nonzero(x: NDArray[np.float32]) -> "csr_array":
    """The examples (n, features) in float64, without their zeros.

    Most pixels of MNIST are 0. The product with the first weights is the largest part of a
    measurement, and without the zeros it takes about a third of the time.
    """
    from scipy.sparse import csr_array

    return csr_array(x, dtype=np.float64)


@torch.no_grad()
def through(layer: nn.Module, x: "csr_array") -> Tensor:
    """What a linear layer makes of the examples (n, features), in float64."""
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"{layer} is not the first layer of a network")
    product = torch.as_tensor(x @ layer.weight.numpy().T)
    return product if layer.bias is None else product + layer.bias


def _root_mean_square(gaps: Sequence[Tensor]) -> float:
    return float(torch.cat([*gaps]).square().mean().sqrt().float())


def _batch_norms(network: nn.Sequential) -> list[nn.BatchNorm1d]:
    return [module for module in network if isinstance(module, nn.BatchNorm1d)]
