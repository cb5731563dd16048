"""Population statistics of BN (Ioffe & Szegedy 2015, Algorithm 2), and what a net does with them.

While it trains, a net keeps moving averages. Here the statistics are estimated again with frozen
weights, and the two compared.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnexp.backend import Array
from bnexp.model import Network
from bnexp.train import Batches

CHUNK = 1000  # examples evaluated at a time


def copied(network: Network) -> Network:
    """A network of the same parameters and running statistics, in arrays of its own."""
    features, *_, classes = network.sizes
    copy = Network(network.config, features, classes, network.seeds, network.backend)
    for key, value in copy.state().items():
        value[...] = network.state()[key]
    return copy


def reestimate(network: Network, batches: Batches) -> Network:
    """The network with the population's statistics as its running ones; weights are frozen.

    Algorithm 2, step 10: E[x] = E[mu_B] and Var[x] = m / (m - 1) E[sigma^2_B], over all minibatches
    B of one epoch, in which BN uses their own statistics.
    """
    result, m, n = copied(network), batches.size, batches.per_epoch
    totals = {key: np.zeros(value.shape) for key, value in network.running.items()}
    work = network.workspace(m)
    for step in range(n):
        x, _ = batches(step)
        network.forward(x, work, "batch")
        for layer, here in enumerate(work[:-1], 1):
            totals[f"layers.{layer}.running_mean"] += here.mean[:, 0] / n
            totals[f"layers.{layer}.running_var"] += here.var[:, 0] / n * (m / (m - 1))
    for key, total in totals.items():
        result.running[key][...] = total
    return result


@dataclass(frozen=True)
class Gaps:
    """Root mean square distances of moving averages to re-estimated statistics, over all units.

    Attributes:
        mean: of the running mean, in standard deviations of the unit.
        var: of the running variance, relative.
        mean_noise: what sampling alone gives a moving average of a Gaussian unit: the deviation
            1 / sqrt(m) of one batch's mean, times sqrt(k / (2 - k)) for momentum k.
        var_noise: the same of sqrt(2 / (m - 1)), one batch's variance.
    """

    mean: float
    var: float
    mean_noise: float
    var_noise: float

    @property
    def multiple(self) -> float:
        """The larger of the two gaps, in multiples of its sampling noise."""
        return float(np.max([self.mean / self.mean_noise, self.var / self.var_noise]))

    def __str__(self) -> str:
        return (
            f"mean {self.mean:.3f} sd off (noise {self.mean_noise:.3f}), "
            f"variance {self.var:.1%} (noise {self.var_noise:.1%})"
        )


def gaps(moving: Network, population: Network, examples: int) -> Gaps:
    """How far the running statistics are from those of `population`; `examples` of a minibatch."""
    mean, var = [], []
    for layer in range(1, moving.depth):
        keys = f"layers.{layer}.running_mean", f"layers.{layer}.running_var"
        (found_mean, found_var), (wanted_mean, wanted_var) = (
            [network.running[key].astype(np.float64) for key in keys]
            for network in (moving, population)
        )
        mean.append((found_mean - wanted_mean) / np.sqrt(wanted_var + 1e-12))
        var.append((found_var - wanted_var) / (wanted_var + 1e-12))
    share = (moving.config.norm_momentum / (2 - moving.config.norm_momentum)) ** 0.5
    return Gaps(
        _root_mean_square(mean),
        _root_mean_square(var),
        share * examples**-0.5,
        share * (2 / (examples - 1)) ** 0.5,
    )


def _root_mean_square(parts: list[NDArray[np.float64]]) -> float:
    return float(np.sqrt(np.square(np.concatenate(parts, 1)).mean()))


def accuracy(
    network: Network, x: Array, labels: NDArray[np.int64], examples: int | None = None
) -> NDArray[np.float64]:
    """Accuracy (S,) on x (n, features) and labels (n,).

    Args:
        network: its running statistics are used, in evaluation mode.
        x: the inputs.
        labels: the classes.
        examples: instead, use the statistics of minibatches of so many examples, in order.
    """
    pieces = max(1, len(x) // (examples or CHUNK))
    hits = np.zeros(len(network.seeds))
    for part in np.array_split(np.arange(len(x)), pieces):
        here = x[part]
        work = network.workspace(len(here))
        found = network.forward(here, work, "batch" if examples else "running")
        hits += (found.argmax(2) == labels[part]).sum(1)
    return hits / len(x)
