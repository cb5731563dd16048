"""Checks that train: small networks on the embedded digits, by the steps of `bnexp.train`."""

import functools
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from bnexp import analysis, data, optimizer, population
from bnexp.backend import NumpyBackend
from bnexp.checking import Finding, Values, check, largest
from bnexp.config import DataConfig, ModelConfig, TrainConfig
from bnexp.model import Network
from bnexp.train import Batches

SEEDS, STEPS = (0, 1, 2), 1000
NORMED = ModelConfig((16, 16), weight_std=None, norm="batch", bias=False)
ACTIVATIONS: tuple[Literal["sigmoid", "tanh", "relu", "leaky_relu"], ...] = (
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
)
TRAIN = TrainConfig(lr=0.1, device="cpu", dtype="float64")


@functools.cache
def digits() -> data.Dataset:
    """The embedded data set: 1,437 training and 360 test images of 8x8 binary pixels."""
    return data.load(DataConfig("digits"))


class Session:
    """A run on the digits without files: the pieces of `bnexp.train`, step by step."""

    def __init__(self, model: ModelConfig, train: TrainConfig, seeds: tuple[int, ...]) -> None:
        to, dataset = NumpyBackend(train.dtype), digits()
        self.network = Network(model, dataset.train_x.shape[1], dataset.classes, seeds, to)
        self.batches = Batches(dataset, train.batch_size, seeds, to)
        self.work = self.network.workspace(train.batch_size)
        self.optimizer = optimizer.make(train, to, len(self.network.vector))
        self.step = 0

    def measure(self) -> Values:
        """Losses (S,) of the next minibatch; its gradients; and the running statistics move."""
        x, targets = self.batches(self.step)
        self.network.forward(x, self.work, "batch")
        loss = self.network.loss(self.work, targets)
        self.network.backward(x, self.work)
        self.network.update_running(self.work)
        return np.array(loss)

    def update(self) -> None:
        """Update the parameters by the gradients that `measure` left."""
        self.optimizer.update(self.network.vector, self.network.gradient_vector, self.step)
        self.step += 1

    def train(self, steps: int) -> Values:
        """Losses (steps, S) of so many steps."""
        losses = []
        for _ in range(steps):
            losses.append(self.measure())
            self.update()
        return np.array(losses)


@check(
    8,
    "training with a bias before BN and without gives the same losses (SGD, 1,000 steps)",
    "section 3.2",
    "to 1e-12 in float64, 1e-6 in float32",
)
def bias_in_training() -> Finding:
    """Its gradient is 0 and its value drops out, so every other gradient is the same.

    The bias starts from N(0, 1); weights and minibatches are those of the net without it.
    """
    gaps, fell = [], 0.0
    for dtype in ("float64", "float32"):
        train = replace(TRAIN, dtype=dtype)
        without, with_bias = (
            Session(replace(NORMED, bias=bias, bias_std=1.0), train, SEEDS).train(STEPS)
            for bias in (False, True)
        )
        gaps.append(largest(without - with_bias))
        fell = without[-1].mean() / without[0].mean()
    return (
        gaps[0] <= 1e-12 and gaps[1] <= 1e-6 and fell < 0.5,
        f"to {gaps[0]:.0e} in float64, {gaps[1]:.0e} in float32, as the loss falls to {fell:.0%}",
    )


@check(
    9,
    "that bias drifts on rounding noise, which Adam scales up; in evaluation the running mean "
    "absorbs it with a lag",
    "section 3.2; Kingma & Ba 2015, Algorithm 1",
    "1,000 steps in float32: SGD below 1e-6, Adam above 1,000 times that; "
    "less than the drift is left in evaluation",
)
def bias_drift() -> Finding:
    """SGD adds up lr * noise; Adam divides noise by its own size, so a step is lr whatever it is.

    The running mean holds sum_i k (1 - k)^(n - i) b_i of the bias. `free` is the running mean
    without any bias; what is left of b in evaluation is b - (running mean - free).
    """
    drifts, left = [], 0.0
    sgd = replace(TRAIN, dtype="float32")
    for train in (sgd, replace(sgd, optimizer="adam", lr=1e-3)):
        session = Session(replace(NORMED, bias=True), train, SEEDS)
        bias = session.network.parameters["layers.1.bias"]
        free = np.zeros(bias.shape)
        for _ in range(STEPS):
            session.measure()
            without = session.work[0].mean[:, 0].astype(np.float64) - bias
            free += NORMED.norm_momentum * (without - free)
            session.update()
        drifts.append(largest(bias))
        left = largest(bias - (session.network.running["layers.1.running_mean"] - free))
    return drifts[0] < 1e-6 and drifts[1] > 1e3 * drifts[0] and 0 < left < drifts[1], (
        f"largest bias: SGD {drifts[0]:.0e}, Adam {drifts[1]:.0e}; "
        f"left of Adam's in evaluation {left:.0e}"
    )


class _Ablation(NamedTuple):
    """What a net with gamma has more than the one without."""

    first_loss: float  # the largest gap of the first minibatch's loss
    losses: Values  # (S,): the mean training loss of the last 100 steps
    accuracies: Values  # (S,): in evaluation mode, on the test set


def _ablation(activation: Literal["sigmoid", "tanh", "relu", "leaky_relu"]) -> _Ablation:
    losses, accuracies = [], []
    for gamma in (True, False):
        model = replace(NORMED, activation=activation, gamma=gamma)
        session = Session(model, TRAIN, (0, 1, 2, 3, 4))
        losses.append(session.train(400))
        x, labels = digits().test_x.numpy(), digits().test_y.numpy()
        accuracies.append(population.accuracy(session.network, x, labels))
    gap = losses[0] - losses[1]
    return _Ablation(largest(gap[0]), gap[-100:].mean(0), accuracies[0] - accuracies[1])


@check(
    13,
    "with and without gamma a net is the same function at the start, and trains differently, "
    "even where gamma folds (relu)",
    "Keras, BatchNormalization(scale=False), calls it redundant",
    "first loss equal; training losses apart by more than 1e-6; "
    "reported: with gamma less without, 95 % interval",
)
def gamma_ablation() -> Finding:
    """gamma = 1 is no gamma; but its update changes what a step of the weights does.

    For relu W gamma reaches the same functions, by a product of two parameters: the gradient of W
    is scaled by gamma, and the learning rate of the product is another one.
    """
    found = {activation: _ablation(activation) for activation in ACTIVATIONS}
    said = []
    for activation, gap in found.items():
        loss, accuracy = analysis.interval(gap.losses), analysis.interval(gap.accuracies)
        said.append(
            f"{activation}: loss {loss.mean:+.3f} ±{loss.mean - loss.low:.3f}, "
            f"accuracy {accuracy.mean:+.3f} ±{accuracy.mean - accuracy.low:.3f}"
        )
    same_start = all(gap.first_loss == 0 for gap in found.values())
    apart = all(np.abs(gap.losses).min() > 1e-6 for gap in found.values())
    return same_start and apart, "; ".join(said)


@check(
    15,
    "the running statistics are near those re-estimated over the training set with frozen weights",
    "Algorithm 2, steps 7 to 12",
    "root mean square gaps within 3 times a moving average's sampling noise; "
    "accuracy within 1 point",
)
def reestimated() -> Finding:
    """Algorithm 2: E[x] = mean of the batches' means, Var[x] = m / (m - 1) mean of variances."""
    session = Session(NORMED, replace(TRAIN, dtype="float32"), SEEDS)
    session.train(STEPS)
    network, m = session.network, TRAIN.batch_size
    estimated = population.reestimate(network, session.batches)
    gaps = population.gaps(network, estimated, m)
    x, labels = digits().test_x.numpy(), digits().test_y.numpy()
    batch, moving, again = (
        population.accuracy(net, x, labels, examples).mean()
        for net, examples in ((network, m), (network, None), (estimated, None))
    )
    return gaps.multiple <= 3 and abs(moving - again) <= 0.01, (
        f"{gaps}; accuracy {batch:.4f} by batch, {moving:.4f} moving, {again:.4f} re-estimated"
    )


@check(
    17,
    "a seed's nets start from identical weights and see identical batches, whatever their norm, "
    "bias or stack; two seeds do not",
    "a bias must not shift the random stream of what is drawn after it",
    "bitwise",
)
def same_seed() -> Finding:
    """Weights and batches are functions of (seed, parameter) and (seed, epoch) alone."""
    models = (
        replace(NORMED, norm="none", bias=True),
        NORMED,
        replace(NORMED, bias=True, bias_std=1.0),
        replace(NORMED, gamma=False, beta=False),
    )
    found = []
    for model, seeds in ((m, s) for m in models for s in ((3, 5), (5, 3, 4))):
        session = Session(model, TRAIN, seeds)
        weights = {k: v for k, v in session.network.parameters.items() if k.endswith("weight")}
        batches = [[part.copy() for part in session.batches(step)] for step in (0, 1, 24)]
        arrays = [*weights.values(), *(part for batch in batches for part in batch)]
        found.append({seed: [a[i] for a in arrays] for i, seed in enumerate(seeds)})
    first = found[0]
    equal = all(
        np.array_equal(a, b)
        for other in found
        for seed in (3, 5)
        for a, b in zip(first[seed], other[seed], strict=True)
    )
    apart = not any(np.array_equal(a, b) for a, b in zip(first[3], first[5], strict=True))
    return equal and apart, (
        f"{len(found)} stacks: {'equal' if equal else 'not equal'}; "
        f"two seeds: {'different' if apart else 'alike'}"
    )
