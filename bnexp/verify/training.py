"""Checks of small networks on the embedded digits, by the steps of `bnexp.train`."""

import functools
from collections import defaultdict
from dataclasses import replace
from itertools import product

import numpy as np

from bnexp.config.experiment import DataConfig, ModelConfig, TrainConfig
from bnexp.data import datasets as data
from bnexp.networks import optimizer
from bnexp.networks.backend import Array, NumpyBackend
from bnexp.networks.batches import Batches
from bnexp.networks.batchnorm import Statistics
from bnexp.networks.model import Network, Work
from bnexp.training.trainer import CHUNK
from bnexp.verify.check import Check, Finding, Values, check, largest, text

SEEDS, M = (0, 1, 2, 3, 4), 60
NORMED = ModelConfig((16, 16), weight_std=None, norm="batch", bias=False)
BIASED = replace(NORMED, bias=True, bias_std=1.0)
SGD = TrainConfig(steps=1000, lr=0.1, dtype="float64")
SINGLE = replace(SGD, dtype="float32")
WEIGHT, BIAS, RUNNING_MEAN = "layers.1.weight", "layers.1.bias", "layers.1.running_mean"


@functools.cache
def digits() -> data.Dataset:
    """1,437 training and 360 test images of 8x8 binary pixels."""
    return data.load(DataConfig("digits"))


def start(model: ModelConfig, dtype: str, seeds: tuple[int, ...]) -> tuple[Network, Batches]:
    """The networks of these seeds, and their minibatches."""
    dataset, backend = digits(), NumpyBackend(dtype)
    network = Network(model, dataset.train_x.shape[1], dataset.classes, seeds, backend)
    return network, Batches(dataset, M, seeds, backend)


def differentiate(
    network: Network, work: Work, x: Array, targets: Array, mode: Statistics = "batch"
) -> Values:
    """Losses (S,) of a minibatch; `network.gradients` become theirs."""
    network.forward(x, work, mode)
    loss = network.loss(work, targets)
    network.backward(x, work)
    return np.asarray(loss)


def train(model: ModelConfig, config: TrainConfig = SGD) -> tuple[Network, Values]:
    """The networks after training, and the losses (steps, S)."""
    network, batches = start(model, config.dtype, SEEDS)
    update = optimizer.make(config, network.backend, len(network.vector)).update
    work, losses = network.workspace(M), []
    for step in range(config.steps):
        losses.append(differentiate(network, work, *batches(step)))
        network.update_running(work)
        update(network.vector, network.gradient_vector, step)
    return network, np.array(losses)


def accuracy(network: Network, x: Array, labels: Array, m: int | None = None) -> Values:
    """Accuracy (S,) on x (n, features): by the running statistics, or those of m examples each."""
    hits = np.zeros(len(network.seeds))
    for part in np.array_split(np.arange(len(x)), max(1, len(x) // (m or CHUNK))):
        work = network.workspace(len(part))
        logits = network.forward(np.asarray(x[part]), work, "batch" if m else "running")
        hits += (logits.argmax(2) == np.asarray(labels[part])).sum(1)
    return hits / len(x)


@check(6, "section 3.2", "below 1e-16 in float64, 1e-9 in float32; in evaluation above 1e-6")
def bias_gradient() -> Finding:
    """A bias before BN has gradient 0 in training, and not in evaluation.

    dL/db = sum_i dL/dz_i = 0: the batch's mean takes b with it, so L does not depend on b.
    Rounding is of the size of dL/dz, and so of 1/x: here x is 0 or 100.
    """

    def gradient(dtype: str, mode: Statistics) -> float:
        network, batches = start(BIASED, dtype, SEEDS)
        x, targets = batches(0)
        differentiate(network, network.workspace(M), 100 * x, targets, mode)
        return largest(network.gradients[BIAS])

    double, single = gradient("float64", "batch"), gradient("float32", "batch")
    evaluation = gradient("float64", "running")
    return double <= 1e-16 and single <= 1e-9 and evaluation > 1e-6, (
        f"{double:.0e} in float64, {single:.0e} in float32; in evaluation {evaluation:.0e}"
    )


@check(8, "section 3.2", "to 1e-12 in float64, 1e-6 in float32")
def bias_in_training() -> Finding:
    """A bias before BN leaves every loss as it is: its gradient is 0, its value drops out."""
    double, single = (
        largest(train(NORMED, config)[1] - train(BIASED, config)[1]) for config in (SGD, SINGLE)
    )
    return double <= 1e-12 and single <= 1e-6, f"{double:.0e} in float64, {single:.0e} in float32"


@check(
    9,
    "section 3.2; Kingma & Ba 2015",
    "in float32 SGD below 1e-6, Adam 1,000 times that; in evaluation less is left",
)
def bias_drift() -> Finding:
    """That bias drifts by rounding, which Adam scales up; the running mean follows with a lag.

    SGD adds up lr * noise; Adam divides noise by its own size, so a step is lr whatever it is.
    The running mean holds sum_i k (1 - k)^(n - i) b_i of the bias: what the net without has not.
    """
    adam, biased = replace(SINGLE, optimizer="adam", lr=1e-3), replace(NORMED, bias=True)
    (by_sgd, _), (by_adam, _) = train(biased, SINGLE), train(biased, adam)
    small, large = largest(by_sgd.parameters[BIAS]), largest(by_adam.parameters[BIAS])
    absorbed = by_adam.running[RUNNING_MEAN] - train(NORMED, adam)[0].running[RUNNING_MEAN]
    left = largest(by_adam.parameters[BIAS] - absorbed)
    return small < 1e-6 and large > 1e3 * small and 0 < left < large, (
        f"SGD {small:.0e}, Adam {large:.0e}; in evaluation {left:.0e} of it is left"
    )


@check(
    13,
    "Keras, BatchNormalization(scale=False), calls it redundant",
    "first losses equal, last ones not; reported: loss (accuracy), with gamma less without",
)
def gamma_ablation() -> Finding:
    """With and without gamma a net is the same function at the start, and trains differently.

    gamma = 1 is no gamma; but its update changes what a step of the weights does. For relu W gamma
    reaches the same functions, by a product of two parameters: W's gradient is scaled by gamma, and
    the learning rate of the product is another one.
    """
    holds, texts, test = True, [], (digits().test_x, digits().test_y)
    for model in (NORMED, replace(NORMED, activation="tanh"), replace(NORMED, activation="relu")):
        (norm, losses), (bare, others) = (
            train(replace(model, gamma=gamma), replace(SGD, steps=400)) for gamma in (True, False)
        )
        gap, hits = losses - others, accuracy(norm, *test) - accuracy(bare, *test)
        last = gap[-100:].mean(0)
        holds &= bool((gap[0] == 0).all() and np.abs(last).min() > 1e-6)
        texts.append(f"{model.activation} {text(last, '+.3f')} ({text(hits, '+.3f')})")
    return holds, ", ".join(texts)


@check(14, "section 3.3", "to 1e-10 at eps 1e-14")
def scale_invariance() -> Finding:
    """BN(aWu) = BN(Wu); aW's gradient is 1/a of W's; a unit's weights are orthogonal to theirs.

    BN((aW)u) = BN(Wu); dL/d(aW) = dL/dW / a; and <w, dL/dw> = d/da L(aw) at a = 1, which is 0; up
    to eps, which is added to var and does not scale: hence a small one here.
    """
    (network, batches), a = start(replace(NORMED, norm_eps=1e-14), "float64", SEEDS), 7.0
    weight, gradient = network.parameters[WEIGHT], network.gradients[WEIGHT]
    work = network.workspace(M)
    differentiate(network, work, *batches(0))
    first, output = gradient.copy(), work.layers[0].preactivation.copy()
    lengths = np.linalg.norm(weight, axis=1) * np.linalg.norm(first, axis=1)
    cosine = largest((weight * first).sum(1) / lengths)
    weight *= a
    differentiate(network, work, *batches(0))
    change = largest(work.layers[0].preactivation - output)
    ratio = largest(a * gradient - first) / largest(first)
    return largest([change, ratio, cosine]) <= 1e-10, (
        f"output {change:.0e}, gradient ratio {ratio:.0e}, cosine {cosine:.0e}"
    )


@check(
    15,
    "Algorithm 2, steps 7 to 12",
    "gaps within 3 times the noise of a moving average; accuracy within 1 point",
)
def running_statistics(network: Network, dataset: data.Dataset, m: int) -> Finding:
    """Running statistics are near those re-estimated over the training set, weights frozen.

    Of a Gaussian unit, a minibatch's mean has the deviation sd / sqrt(m), and its unbiased variance
    var sqrt(2 / (m - 1)); a moving average of momentum k has sqrt(k / (2 - k)) of that. The network
    keeps the re-estimated statistics.
    """
    moving = network.running_vectors
    wanted, k = population(network, dataset, m), network.config.norm_momentum
    scale = np.array([np.sqrt(wanted[1]), wanted[1]]) + 1e-12
    gap = np.sqrt(np.square((moving - wanted) / scale).mean(1))
    noise = np.sqrt(k / (2 - k) * np.array([1 / m, 2 / (m - 1)]))
    test = dataset.test_x, dataset.test_y
    before, by_batch = accuracy(network, *test).mean(), accuracy(network, *test, m).mean()
    moving[...] = wanted
    after = accuracy(network, *test).mean()
    return largest(gap / noise) <= 3 and abs(before - after) <= 0.01, (
        f"mean {gap[0]:.3f} sd off (noise {noise[0]:.3f}), variance {gap[1]:.1%} ({noise[1]:.1%}); "
        f"accuracy {before:.4f}, then {after:.4f}, by batch {by_batch:.4f}"
    )


def population(network: Network, dataset: data.Dataset, m: int) -> Values:
    """Mean and variance (2, n) over the training set, as `network.running_vectors` holds them.

    Algorithm 2, step 10: E[x] = E[mu_B] and Var[x] = m / (m - 1) E[var_B], for minibatches of m.
    """
    batches, work = Batches(dataset, m, network.seeds, network.backend), network.workspace(m)
    seen = []
    for step in range(batches.per_epoch):
        network.forward(batches(step)[0], work, "batch")
        seen.append(work.moments.copy())
    mean, biased = np.array(seen).mean(0, np.float64)
    return np.array([mean, m / (m - 1) * biased])


def reestimated() -> Check:
    """`running_statistics` of nets trained on the digits."""
    return running_statistics(train(NORMED, SINGLE)[0], digits(), M)


@check(17, "no bias may shift the random stream behind it", "equal bitwise; two seeds: different")
def same_seed() -> Finding:
    """A seed's weights and batches depend on it alone: not on norm, bias or the other seeds."""
    plain, fixed = replace(BIASED, norm="none"), replace(NORMED, gamma=False, beta=False)
    seen: defaultdict[tuple[int, int], set[bytes]] = defaultdict(set)
    for model, seeds in product((plain, NORMED, BIASED, fixed), ((3, 5), (5, 3, 4))):
        network, batches = start(model, "float64", seeds)
        arrays = [array for key, array in network.parameters.items() if key.endswith("weight")]
        arrays += [array.copy() for step in (0, 1, 24) for array in batches(step)]
        for (i, seed), (j, array) in product(enumerate(seeds), enumerate(arrays)):
            seen[seed, j].add(array[i].tobytes())
    alike = all(len(found) == 1 for found in seen.values())
    apart = all(found.isdisjoint(seen[5, j]) for (seed, j), found in seen.items() if seed == 3)
    return alike and apart, f"8 stacks alike: {alike}; two seeds different: {apart}"
