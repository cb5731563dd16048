"""Checks 5, 15 and 20: the running statistics, and the evaluation mode that uses them."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from bnexp.config import TrainConfig
from bnexp.data.datasets import Dataset
from bnexp.data.streams import batch_order
from bnexp.networks.running_statistics import (
    accuracy,
    population_statistics,
    some_at_a_time,
    through,
)
from bnexp.verify.bias import SINGLE
from bnexp.verify.check import Check, Finding, check, found, largest, not_tested
from bnexp.verify.implementations import MOMENTUM, BatchNorm, for_each_implementation, layer
from bnexp.verify.networks import (
    NORMED,
    Build,
    digits,
    initial_network,
    norms,
    tensors,
    train,
    without_zeros,
)
from bnexp.verify.normalization import inputs

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FORGOTTEN = 1e-3  # the share of their initial values that running statistics may still hold


def _too_few(steps: int, momentum: float) -> Finding | None:
    """What a check of running statistics finds where too few steps have been made."""
    left = (1 - momentum) ** steps
    told = f"the running statistics hold {left:.1%} of their initial values, after {steps:,} steps"
    return not_tested(told) if left > FORGOTTEN else None


@check(5, "section 3.1", "the closed form to 1e-12")
@for_each_implementation
@torch.no_grad()
def moving_averages(norm: BatchNorm) -> Finding:
    """Running statistics are moving averages, of the unbiased variance; evaluation keeps them.

    A training pass moves r to (1 - k) r + k b, where b is the mean of the minibatch or its
    unbiased variance, sum (x - mu)^2 / (m - 1), and k the momentum. After n passes r_n =
    (1 - k)^n r_0 + k sum_i (1 - k)^(n - i) b_i, with r_0 = 0 for the mean and 1 for the variance.
    Between the passes here lie passes in evaluation mode, which must not count.
    """
    x, gamma, beta = inputs()
    tested, n = layer(norm, gamma, beta), 25
    batches = torch.stack([i * (x + i) for i in range(1, n + 1)])
    for batch in batches:
        tested.train()(batch)
        tested.eval()(-batch)
    weights = MOMENTUM * (1 - MOMENTUM) ** torch.arange(n - 1, -1, -1, dtype=torch.float64)
    mean = weights @ batches.mean(1)
    var = (1 - MOMENTUM) ** n + weights @ batches.var(1, correction=1)
    held = tensors(tested)
    error = largest(held.mean / mean - 1, held.var / var - 1)
    return found(error <= 1e-12, f"to {error:.0e} of the value, after {n} batches")


@torch.no_grad()
def reestimated(network: nn.Sequential, x: "csr_array", size: int, seed: int) -> nn.Sequential:
    """The layers behind the first, with the statistics of Algorithm 2 in place of the running ones.

    With the weights frozen, and mu_B and var_B those of a minibatch of m examples in training mode,

        E[x] = E[mu_B],    Var[x] = m / (m - 1) E[var_B].

    Args:
        network: of float64, left as it is.
        x: the training set (n, features).
        size: of a minibatch.
        seed: the minibatches are those of its first epoch.
    """
    order, behind = batch_order(x.shape[0], size, seed, epoch=0), copy.deepcopy(network[1:])
    groups = [each.numpy() for each in some_at_a_time(torch.as_tensor(order))]
    products = (through(network[0], x[each.ravel()]).view(*each.shape, -1) for each in groups)
    found = population_statistics(behind, products)
    for norm, (mean, var) in zip(norms(behind), found, strict=True):
        norm.mean.copy_(mean)
        norm.var.copy_(var)
    return behind


@check(
    15,
    "Algorithm 2, steps 7 to 12",
    "gaps within 3 times the noise of a moving average; accuracy within 1 point",
)
def running_statistics(
    networks: Sequence[nn.Sequential],
    seeds: Sequence[int],
    dataset: Dataset,
    config: TrainConfig,
    momentum: float,
) -> Finding:
    """Running statistics are near those re-estimated over the training set, weights frozen.

    For a Gaussian unit the mean of a minibatch has the standard deviation sd / sqrt(m), and its
    unbiased variance has var sqrt(2 / (m - 1)). A moving average of momentum k keeps the share
    sqrt(k / (2 - k)) of that. The gaps are root mean squares over units and networks. Of the values
    before training the share (1 - k)^n is left after n steps; above 0.001 nothing can be said.
    """
    if (missing := _too_few(config.steps, momentum)) is not None:
        return missing
    size, (train_x, test_x) = config.batch_size, without_zeros(dataset)
    mean_gaps, var_gaps, accuracies = [], [], []
    for each, seed in zip(networks, seeds, strict=True):
        network = copy.deepcopy(each).double()
        wanted = reestimated(network, train_x, size, seed)
        for have, want in zip(norms(network), norms(wanted), strict=True):
            var = want.var + 1e-12  # a unit without variance has no noise either
            mean_gaps.append((have.mean - want.mean) / var.sqrt())
            var_gaps.append((have.var - want.var) / var)
        behind, test = network[1:], (through(network[0], test_x), torch.as_tensor(dataset.test_y))
        accuracies.append(
            [accuracy(behind, *test), accuracy(wanted, *test), accuracy(behind, *test, size)]
        )
    gap = [float(torch.cat(gaps).square().mean().sqrt()) for gaps in (mean_gaps, var_gaps)]
    noise = np.sqrt(momentum / (2 - momentum) * np.array([1 / size, 2 / (size - 1)]))
    running, population, batch = np.mean(accuracies, axis=0)
    return found(
        largest(gap / noise) <= 3 and abs(running - population) <= 0.01,
        f"mean {gap[0]:.3f} sd off (noise {noise[0]:.3f}), variance {gap[1]:.1%} "
        f"({noise[1]:.1%}); accuracy by running statistics {running:.4f}, re-estimated "
        f"{population:.4f}, by minibatch {batch:.4f}",
    )


def running_statistics_on_digits(build: Build = initial_network) -> Check:
    """Check 15 of a network that was trained on the digits."""
    networks, momentum = [train(build, NORMED, SINGLE).network], NORMED.norm_momentum
    return running_statistics(networks, [0], digits(), SINGLE, momentum)


@check(20, "section 3.1", "accuracy at most 1 point lower")
def modes(
    networks: Sequence[nn.Sequential], dataset: Dataset, config: TrainConfig, momentum: float
) -> Finding:
    """By running statistics training examples are classified as well as by a minibatch's."""
    if (missing := _too_few(config.steps, momentum)) is not None:
        return missing
    x, labels = without_zeros(dataset)[0][:6000], torch.as_tensor(dataset.train_y[:6000])
    accuracies = []
    for network in networks:
        product = through(network[0], x)
        accuracies.append(
            [accuracy(network[1:], product, labels, mode) for mode in (config.batch_size, None)]
        )
    training, evaluation = np.mean(accuracies, axis=0)
    return found(
        evaluation >= training - 0.01,
        f"{training:.4f} in training mode, {evaluation:.4f} in evaluation",
    )
