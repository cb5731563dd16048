"""Checks of what batch normalization does not see, and of what other layers can do for it."""

from dataclasses import replace
from typing import Literal

import numpy as np

from bnexp.backend import NumpyBackend
from bnexp.checking import (
    EPS,
    HOMOGENEOUS,
    MODES,
    Finding,
    Values,
    batch_norm,
    check,
    gammas,
    gradients,
    largest,
    logits,
    normalize,
    random_network,
    without_gamma,
)
from bnexp.config import ModelConfig
from bnexp.model import Network, Statistics

M, UNITS = 60, 7
NORMED = ModelConfig((UNITS, 5), weight_std=None, bias=False, norm="batch")
CURVED: tuple[Literal["sigmoid", "tanh"], ...] = ("sigmoid", "tanh")


def _batch(examples: int = M) -> tuple[Values, Values]:
    """x (2, examples, 12) and one-hot targets (2, examples, 4)."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, examples, 12))
    return x, np.eye(4)[rng.integers(4, size=(2, examples))]


@check(
    6,
    "a bias before BN has gradient 0 in training, and not in evaluation",
    "section 3.2",
    "below 1e-16 in float64, 1e-9 in float32; in evaluation above 1e-6",
)
def bias_gradient() -> Finding:
    """dL/db = sum_i dL/dz_i = 0: the batch's mean takes b with it, so L does not depend on b.

    In evaluation mean and variance are constants (here, by momentum 1, those of the same batch),
    and b counts. Inputs are of the size of pixels; rounding scales with the gradient of z.
    """
    config = replace(NORMED, hidden=(UNITS,), weight_std=0.05, norm_momentum=1.0)
    config = replace(config, bias=True, bias_std=1.0)
    x, targets = _batch()
    found = {}
    for dtype in ("float64", "float32"):
        network = Network(config, 12, 4, (0, 1), NumpyBackend(dtype))
        batch = (100 * x).astype(dtype), targets.astype(dtype)
        for mode in MODES:
            work = gradients(network, *batch, mode)
            found[dtype, mode] = largest(network.gradients["layers.1.bias"])
            if mode == "batch":
                network.update_running(work)
    double, single = found["float64", "batch"], found["float32", "batch"]
    evaluation = found["float64", "running"]
    return double <= 1e-16 and single <= 1e-9 and evaluation > 1e-6, (
        f"{double:.0e} in float64, {single:.0e} in float32; in evaluation {evaluation:.0e}"
    )


@check(
    7,
    "a constant added to BN's input changes nothing in training",
    "section 3.2",
    "to 1e-12",
)
def shift() -> Finding:
    """BN(x + c) = BN(x): mean(x + c) = mean(x) + c, and the variance stays."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((2, M, UNITS))
    c, gamma, beta = 3 * rng.standard_normal((2, 1, UNITS)), *rng.standard_normal((2, 2, UNITS))
    norm = batch_norm(gamma, beta, UNITS)
    change = largest(normalize(norm, x + c).preactivation - normalize(norm, x).preactivation)
    return change <= 1e-12, f"largest change {change:.0e} for constants up to {largest(c):.1f}"


@check(
    10,
    "with fresh running statistics, evaluation shows the bias (allclose -> False); "
    "training passes absorb it",
    "section 3.1; the usual demonstration that a bias is useless",
    "False, by the largest bias / sqrt(1 + eps); then below 1e-5",
)
def allclose() -> Finding:
    """Fresh statistics are mean 0 and variance 1: BN is z / sqrt(1 + eps), and the bias stays.

    After n training passes the running mean has taken up the share 1 - (1 - k)^n of the bias.
    """
    config = replace(NORMED, hidden=(UNITS,), bias=True, bias_std=1.0)
    biased, bare = (
        Network(replace(config, bias=bias), 12, 4, (0, 1), NumpyBackend("float64"))
        for bias in (True, False)
    )
    x, _ = _batch()

    def outputs(mode: Statistics) -> list[Values]:
        found = []
        for network in (biased, bare):
            work = network.workspace(M)
            network.forward(x, work, mode)
            if mode == "batch":
                network.update_running(work)
            found.append(work[0].preactivation)
        return found

    bias = largest(biased.parameters["layers.1.bias"])
    a, b = outputs("running")
    before, equal = largest(a - b), np.allclose(a, b)
    for _ in range(200):
        outputs("batch")
    a, b = outputs("running")
    after = largest(a - b)
    holds = not equal and abs(before * (1 + EPS) ** 0.5 - bias) <= 1e-12 and after < 1e-5
    return holds, (
        f"allclose -> {equal}: differ by {before:.4f}, largest bias {bias:.4f}; "
        f"after 200 passes {after:.0e}"
    )


@check(
    11,
    "relu, leaky_relu, identity: a gamma above 0 folds into the next weights, with beta / gamma",
    "Keras, BatchNormalization(scale=False): `the next layer's scaling does it'",
    "to 1e-12, in training and evaluation",
)
def fold() -> Finding:
    """W act(gamma x + beta) = (W gamma) act(x + beta / gamma), as act(c x) = c act(x) for c > 0."""
    errors = []
    for activation in HOMOGENEOUS:
        network = random_network(replace(NORMED, activation=activation))
        for gamma in gammas(network):
            gamma[...] = np.abs(gamma)
        errors.append(_difference(network, without_gamma(network)))
    return largest(errors) <= 1e-12, ", ".join(
        f"{activation} {error:.0e}" for activation, error in zip(HOMOGENEOUS, errors, strict=True)
    )


@check(
    12,
    "a gamma below 0 folds only if its sign goes into the weights before BN; at 0 the unit is a "
    "constant of the next bias; sigmoid and tanh do not fold",
    "the definition of BN",
    "to 1e-12 with the sign, not without; sigmoid and tanh: above 0.1",
)
def fold_sign() -> Finding:
    """BN(-z) = -BN(z), so gamma BN(Wu) = |gamma| BN(-Wu) for gamma < 0; 0 BN(z) + beta = beta."""
    moved, kept = [], []
    for activation in HOMOGENEOUS:
        network = random_network(replace(NORMED, activation=activation))
        for gamma in gammas(network):
            gamma[:, 0] = 0.0
            gamma[:, 1] = -np.abs(gamma[:, 1])
        moved.append(_difference(network, without_gamma(network)))
        kept.append(_difference(network, without_gamma(network, move_sign=False)))
    curved = {}
    for curve in CURVED:
        network = random_network(replace(NORMED, activation=curve))
        curved[curve] = _difference(network, without_gamma(network))
    return largest(moved) <= 1e-12 and np.min([*kept, *curved.values()]) > 0.1, (
        f"with the sign {max(moved):.0e}, without {min(kept):.1f}; "
        f"sigmoid {curved['sigmoid']:.1f}, tanh {curved['tanh']:.1f}"
    )


def _difference(network: Network, folded: Network) -> float:
    """Largest difference between the logits of two networks, in both modes."""
    x, _ = _batch()
    return largest([largest(logits(network, x, m) - logits(folded, x, m)) for m in MODES])


@check(
    14,
    "BN(aWu) = BN(Wu), the gradient of aW is 1/a of W's, and each unit's weights are orthogonal "
    "to their gradient",
    "section 3.3",
    "to 1e-10 at eps 1e-14",
)
def scale_invariance() -> Finding:
    """BN((aW)u) = BN(Wu); dL/d(aW) = dL/dW / a; and <w, dL/dw> = d/da L(aw) at a = 1, which is 0.

    Up to eps, which is against var in BN and does not scale: hence a small one here.
    """
    network = random_network(replace(NORMED, norm_eps=1e-14))
    x, targets = _batch()
    a, weight = 7.0, network.parameters["layers.1.weight"]
    before = gradients(network, x, targets, "batch")[0].preactivation
    first = network.gradients["layers.1.weight"].copy()
    norms = np.linalg.norm(weight, axis=1) * np.linalg.norm(first, axis=1)
    angle = largest((weight * first).sum(1) / norms)
    weight *= a
    change = largest(gradients(network, x, targets, "batch")[0].preactivation - before)
    second = network.gradients["layers.1.weight"]
    ratio = largest(a * second - first) / largest(first)
    return largest([change, ratio, angle]) <= 1e-10, (
        f"output {change:.0e}, gradient ratio {ratio:.0e}, cosine {angle:.0e}"
    )
