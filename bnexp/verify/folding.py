"""Checks of whether gamma can be left out: whether the weights around it can do its work."""

from dataclasses import replace
from typing import Literal

import numpy as np

from bnexp.config.experiment import ModelConfig
from bnexp.networks.backend import NumpyBackend
from bnexp.networks.model import Network
from bnexp.verify.check import Finding, Values, check, largest

Activation = Literal["sigmoid", "tanh", "relu", "leaky_relu", "identity"]
HOMOGENEOUS: tuple[Activation, ...] = ("relu", "leaky_relu", "identity")
"""Those with act(c x) = c act(x) for c > 0."""


def without_gamma(network: Network) -> Network:
    """The network with each gamma folded into the weights around it; exact if act is homogeneous.

    gamma > 0: W act(gamma x + beta) = (W gamma) act(x + beta / gamma).
    gamma < 0: BN(-z) = -BN(z), so the sign goes into the weights before BN, and |gamma| behind.
    gamma = 0: the unit is the constant act(beta), which goes into the next bias.
    """
    features, *_, classes = network.sizes
    bare = replace(network.config, gamma=False, beta=True, bias=True, bias_std=0.0)
    folded = Network(bare, features, classes, network.seeds, network.backend)
    old, new, work = network.state(), folded.state(), network.workspace(1)
    for key in old.keys() & new.keys():
        new[key][...] = old[key]
    network.forward(np.zeros((1, features)), work, "running")
    for layer, here in enumerate(work.layers[:-1], 1):
        gamma = old[f"layers.{layer}.gamma"]
        size, sign = np.abs(gamma), np.where(gamma < 0, -1.0, 1.0)
        new[f"layers.{layer}.weight"] *= sign[:, None]
        new[f"layers.{layer}.bias"] *= sign
        new[f"layers.{layer}.running_mean"] *= sign
        new[f"layers.{layer}.beta"] /= np.where(gamma == 0, 1.0, size)
        weight, bias = new[f"layers.{layer + 1}.weight"], new[f"layers.{layer + 1}.bias"]
        constant = np.where(gamma == 0, here.activation[:, 0], 0.0)
        bias += np.einsum("su,suv->sv", constant, weight)
        weight *= size[:, :, None]
    return folded


def change(network: Network, other: Network, x: Values) -> float:
    """Largest difference of their logits for x (B, features), in evaluation, by the largest."""
    a, b = (each.forward(x, each.workspace(len(x)), "running") for each in (network, other))
    return largest(a - b) / largest(a)


def _random(activation: Activation, *gammas: float) -> tuple[Network, Values]:
    """Two networks with random parameters, but these gammas in turn; and inputs."""
    config = ModelConfig((7, 5), activation, weight_std=None, bias=False, norm="batch")
    network = Network(config, 12, 4, (0, 1), NumpyBackend("float64"))
    rng = np.random.default_rng(0)
    for key, value in network.state().items():
        if key.endswith("gamma"):
            value[...] = np.resize(gammas, value.shape)
        elif not key.endswith("weight"):
            value[...] = rng.uniform(0.5, 2.0, value.shape)
    return network, rng.standard_normal((60, 12))


@check(11, "Keras, BatchNormalization(scale=False)", "logits to 1e-12 of the largest")
def fold() -> Finding:
    """relu, leaky_relu, identity: gamma > 0 folds into the next weights.

    W act(gamma x + beta) = (W gamma) act(x + beta / gamma), as act(c x) = c act(x) for c > 0.
    """
    networks = [_random(activation, 0.3, 1.0, 2.5) for activation in HOMOGENEOUS]
    errors = [change(network, without_gamma(network), x) for network, x in networks]
    return largest(errors) <= 1e-12, f"to {max(errors):.0e}"


@check(12, "the definition of BN", "to 1e-12 with the sign, not without; sigmoid, tanh: above 0.1")
def fold_sign() -> Finding:
    """gamma < 0 folds if its sign moves before BN, 0 into a bias; sigmoid and tanh do not fold.

    BN(-z) = -BN(z), so gamma BN(Wu) = |gamma| BN(-Wu) for gamma < 0; 0 BN(z) + beta = beta.
    """
    moved, kept, curved = [], [], []
    for activation in HOMOGENEOUS:
        network, x = _random(activation, 0.0, -1.5, 0.7)
        folded = without_gamma(network)
        moved.append(change(network, folded, x))
        for key in ("layers.1.weight", "layers.1.running_mean"):
            folded.state()[key][...] = network.state()[key]
        kept.append(change(network, folded, x))
    for activation in ("sigmoid", "tanh"):
        network, x = _random(activation, 0.3, 1.0, 2.5)
        curved.append(change(network, without_gamma(network), x))
    return largest(moved) <= 1e-12 and np.min(kept + curved) > 0.1, (
        f"with the sign {max(moved):.0e}, without {min(kept):.1f}; sigmoid, tanh {min(curved):.1f}"
    )
