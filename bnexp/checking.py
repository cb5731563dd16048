"""What a check of `bnexp verify` is, and what the checks compute with."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bnexp.backend import NumpyBackend
from bnexp.config import ModelConfig
from bnexp.model import LEAKY_SLOPE, BatchNorm, LayerWork, Network, Statistics

Values = NDArray[Any]
Finding = tuple[bool, str]
"""Whether a claim holds, and what was measured."""

EPS = 1e-5
MOMENTUM = 0.1
MODES: tuple[Statistics, ...] = ("batch", "running")
"""Training and evaluation, by the statistics that BN uses."""


@dataclass(frozen=True)
class Check:
    """A claim and what came of it.

    Attributes:
        number: as in the list of `bnexp.verify`; with an experiment, one number has a row a run.
        claim: what is said to hold.
        source: the paper (Ioffe & Szegedy 2015, unless another is named) or text that says so.
        expected: what must be measured.
        measured: what was.
        holds: the verdict.
    """

    number: int
    claim: str
    source: str
    expected: str
    measured: str
    holds: bool


def check(
    number: int, claim: str, source: str, expected: str
) -> Callable[[Callable[[], Finding]], Callable[[], Check]]:
    """Make a check of a function that measures; the claim and the rest are as in `Check`."""

    def decorate(measure: Callable[[], Finding]) -> Callable[[], Check]:
        @functools.wraps(measure)
        def run() -> Check:
            holds, measured = measure()
            return Check(number, claim, source, expected, measured, bool(holds))

        return run

    return decorate


def largest(values: Values | Sequence[float]) -> float:
    """The largest absolute value; NaN if there is one, so that no verdict overlooks it."""
    return float(np.abs(values).max())


def batch_norm(gamma: Values | None, beta: Values | None, units: int) -> BatchNorm:
    """A BatchNorm of the package by itself, for a stack of two; gamma and beta are (2, U)."""
    zeros, ones = np.zeros((2, units)), np.ones((2, units))
    return BatchNorm(NumpyBackend("float64"), zeros, ones, gamma, beta, EPS, MOMENTUM)


def normalize(norm: BatchNorm, x: Values, statistics: Statistics = "batch") -> LayerWork:
    """The pass of x (S, B, U) through a BatchNorm; its output is `preactivation`."""
    (stack, examples, units), empty = x.shape, norm.backend.empty
    work = LayerWork(
        *(empty(stack, examples, units) for _ in range(5)),
        *(empty(stack, 1, units) for _ in range(4)),
    )
    work.centered[...] = x
    norm.forward(work, statistics)
    return work


def random_network(config: ModelConfig, features: int = 12, classes: int = 4) -> Network:
    """Two networks in float64, with random gamma of both signs, beta and running statistics."""
    network = Network(config, features, classes, (0, 1), NumpyBackend("float64"))
    rng = np.random.default_rng(0)
    for key, value in network.state().items():
        if key.endswith("running_var"):
            value[...] = rng.uniform(0.5, 2.0, value.shape)
        elif not key.endswith("weight"):
            value[...] = rng.standard_normal(value.shape)
    return network


def logits(network: Network, x: Values, statistics: Statistics) -> Values:
    """The logits (S, B, classes) of x (S, B, features) or (B, features)."""
    return np.array(network.forward(x, network.workspace(x.shape[-2]), statistics))


def gradients(
    network: Network, x: Values, targets: Values, statistics: Statistics
) -> list[LayerWork]:
    """Fill `network.gradients` for this batch; what each layer computed is returned."""
    work = network.workspace(x.shape[-2])
    network.forward(x, work, statistics)
    network.loss(work, targets)
    network.backward(x, work)
    return work


def gammas(network: Network) -> list[Values]:
    """The gammas (S, U) of each layer: the network's own arrays."""
    return [value for key, value in network.parameters.items() if key.endswith("gamma")]


_ACTIVATIONS: dict[str, Callable[[Values], Values]] = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, LEAKY_SLOPE * z),
    "identity": lambda z: z,
}
HOMOGENEOUS: tuple[Literal["relu", "leaky_relu", "identity"], ...] = (
    "relu",
    "leaky_relu",
    "identity",
)
"""Activations with act(c x) = c act(x) for c > 0."""


def without_gamma(network: Network, *, move_sign: bool = True) -> Network:
    """The network with each gamma folded into the weights around it.

    gamma > 0: W act(gamma x + beta) = (W gamma) act(x + beta / gamma), where the activation is
    homogeneous. gamma < 0: BN(-z) = -BN(z), so the sign goes into the weights before the norm, and
    |gamma| behind. gamma = 0: the unit is the constant act(beta), which goes into the next bias; or
    out of the running mean, where BN follows, which subtracts a constant in any case.

    Args:
        network: with BN and gamma, on the CPU.
        move_sign: False leaves the weights before the norm as they are.
    """
    config, old = network.config, network.state()
    features, *_, classes = network.sizes
    bare = replace(config, gamma=False)
    folded = Network(bare, features, classes, network.seeds, network.backend)
    new = folded.state()
    for key, value in new.items():
        value[...] = old[key]
    for layer in range(1, network.depth):
        here, following = f"layers.{layer}.", f"layers.{layer + 1}."
        gamma = old[here + "gamma"]
        beta = old.get(here + "beta", np.zeros_like(gamma))
        size = np.abs(gamma)
        if move_sign:
            sign = np.where(gamma < 0, -1.0, 1.0)
            new[here + "weight"] *= sign[:, None]
            for name in ("bias", "running_mean"):
                if here + name in new:
                    new[here + name] *= sign
        if config.beta:
            new[here + "beta"][...] = beta / np.where(size == 0, 1.0, size)
        constant = np.where(size == 0, _ACTIVATIONS[config.activation](beta), 0.0)
        moved = (constant[:, None] @ new[following + "weight"])[:, 0]
        if following + "running_mean" in new:
            new[following + "running_mean"] -= moved
        else:
            new[following + "bias"] += moved
        new[following + "weight"] *= size[:, :, None]
    return folded
