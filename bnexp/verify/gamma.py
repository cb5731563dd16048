"""Checks 11, 12, 13 and 34: whether gamma can be left out, so that the weights do its work."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bnexp.analysis.statistics import over_seeds
from bnexp.config import Activation, ModelConfig
from bnexp.networks.running_statistics import accuracy
from bnexp.verify.check import Finding, check, found, largest, not_tested
from bnexp.verify.claims import HOMOGENEOUS
from bnexp.verify.networks import (
    NORMED,
    SGD,
    Build,
    cross_entropy,
    digits,
    initial_network,
    linear_layers,
    minibatches,
    norms,
    on_digits,
    tensors,
    train,
)

LEARNING = 100  # steps after which gammas are far enough from 1 for folding to change something
LOSS_MARGIN, ACCURACY_MARGIN = 0.1, 0.02  # of check 13 on the digits, after 300 steps


@torch.no_grad()
def without_gamma(network: nn.Sequential) -> nn.Sequential:
    """The network with every gamma at 1, and its work done by the weights around it.

    This is exact if the activation is homogeneous. There are three cases for a unit.

    gamma > 0: W act(gamma x + beta) = (W gamma) act(x + beta / gamma).
    gamma < 0: BN(-z) = -BN(z), so the sign goes into the weights before BN and |gamma| behind.
    gamma = 0: the unit is the constant act(beta), which goes into the next bias.
    """
    folded = copy.deepcopy(network).eval()
    positions = [i for i, module in enumerate(folded) if isinstance(module, nn.BatchNorm1d)]
    for at in positions:
        before, norm, activation, behind = folded[at - 1 : at + 3]
        gamma, beta, mean, _ = tensors(norm)
        if not (isinstance(before, nn.Linear) and isinstance(behind, nn.Linear)):
            raise TypeError("batch norm does not stand between linear layers")
        zero, size, sign = gamma == 0, gamma.abs(), torch.where(gamma < 0, -1.0, 1.0)
        constant = torch.where(zero, activation(beta), 0.0)
        before.weight.mul_(sign[:, None])
        if before.bias is not None:
            before.bias.mul_(sign)
        mean.mul_(sign)
        beta.div_(torch.where(zero, 1.0, size))
        bias = behind.weight @ constant
        behind.bias = nn.Parameter(bias if behind.bias is None else behind.bias + bias)
        behind.weight.mul_(size)
        gamma.fill_(1.0)
    return folded


@torch.no_grad()
def change(network: nn.Sequential, other: nn.Sequential, x: torch.Tensor) -> float:
    """Largest difference of their logits in evaluation mode, relative to the largest logit."""
    logits = [copy.deepcopy(each).eval()(x) for each in (network, other)]
    return largest(logits[0] - logits[1]) / largest(logits[0])


@torch.no_grad()
def _random(
    build: Build, activation: Activation, *gammas: float
) -> tuple[nn.Sequential, torch.Tensor]:
    """A network with random parameters and statistics but these gammas in turn, and inputs."""
    model = replace(NORMED, hidden=(7, 5), activation=activation)
    network, generator = build(model, 12, 4, 0), torch.Generator().manual_seed(0)
    for norm in norms(network):
        norm.gamma.copy_(torch.tensor(gammas).repeat(len(norm.gamma))[: len(norm.gamma)])
        for values in (norm.beta, norm.mean, norm.var):
            values.uniform_(0.5, 2.0, generator=generator)
    return network, torch.randn(60, 12, generator=generator, dtype=torch.float64)


@check(11, "Keras, BatchNormalization(scale=False)", "logits to 1e-12 of the largest")
def fold(build: Build = initial_network) -> Finding:
    """For relu, leaky_relu and identity a gamma above 0 folds into the next weights.

    These activations have act(c x) = c act(x) for c > 0, so W act(gamma x + beta) =
    (W gamma) act(x + beta / gamma): the network with gamma 1, beta / gamma and W gamma is the same
    function. The next operation must be linear, and beta must be learned too.
    """
    networks = [_random(build, activation, 0.3, 1.0, 2.5) for activation in HOMOGENEOUS]
    errors = [change(network, without_gamma(network), x) for network, x in networks]
    return found(largest(*errors) <= 1e-12, f"to {max(errors):.0e}")


@check(
    12,
    "the definition of BN",
    "to 1e-12 with the sign moved, above 0.1 without; sigmoid and tanh: above 0.1",
)
def fold_sign(build: Build = initial_network) -> Finding:
    """A gamma below 0 folds if its sign moves before BN, 0 into a bias; sigmoid, tanh not at all.

    BN(-z) = -BN(z), so gamma BN(Wu) = |gamma| BN(-Wu) for gamma < 0. For gamma = 0 the unit is
    act(beta) whatever its input is. Sigmoid and tanh are not homogeneous, and the folded network
    is another function.
    """
    moved, kept, curved = [], [], []
    for activation in HOMOGENEOUS:
        network, x = _random(build, activation, 0.0, -1.5, 0.7)
        folded = without_gamma(network)
        moved.append(change(network, folded, x))
        with torch.no_grad():  # the sign that went before BN is taken back
            linear_layers(folded)[0].weight.copy_(linear_layers(network)[0].weight)
            norms(folded)[0].mean.copy_(norms(network)[0].mean)
        kept.append(change(network, folded, x))
    for saturating in ("sigmoid", "tanh"):
        network, x = _random(build, saturating, 0.3, 1.0, 2.5)
        curved.append(change(network, without_gamma(network), x))
    return found(
        largest(*moved) <= 1e-12 and min(kept + curved) > 0.1,
        f"with the sign {max(moved):.0e}, without {min(kept):.1f}; sigmoid, tanh {min(curved):.1f}",
    )


@check(34, "the definition of BN", "logits equal to 1e-10 of the largest; else 0.001 apart")
def folding_when_trained(
    networks: Sequence[nn.Sequential], activation: Activation, x: torch.Tensor, steps: int
) -> Finding:
    """Gamma folds into the weights if act(c x) = c act(x) for c > 0, and only then."""
    if activation not in HOMOGENEOUS and steps < LEARNING:
        return not_tested(f"after {steps} steps gamma is near 1, where folding changes little")
    off = max(change(network, without_gamma(network), x) for network in networks)
    gammas = torch.cat([norm.gamma for each in networks for norm in norms(each)])
    below = float((gammas < 0).double().mean())
    return found(
        off <= 1e-10 if activation in HOMOGENEOUS else off > 1e-3,
        f"{activation}: {off:.0e} apart; {below:.1%} of gammas are below 0",
    )


@dataclass(frozen=True)
class _FirstUpdate:
    """What one update of SGD does to the folded weights V = W gamma behind each norm.

    Attributes:
        losses: with gamma and without it, before the update.
        off: the largest distance of V to its prediction, relative to the largest effect of gamma.
    """

    losses: tuple[float, float]
    off: float


def _first_update(build: Build, model: ModelConfig, lr: float) -> _FirstUpdate:
    """Make the first update of a network with gamma and of one without it, and compare."""
    minibatch = next(minibatches(digits(), 60, 0, torch.float64))
    pair = [on_digits(build, replace(model, gamma=gamma)).train() for gamma in (True, False)]
    losses = [cross_entropy(network, minibatch) for network in pair]
    weights, bare = ([layer.weight for layer in linear_layers(each)[1:]] for each in pair)
    # In the network without gamma V = W, so the gradient of W there is G.
    gradients = torch.autograd.grad(losses[1], bare, retain_graph=True)
    with torch.no_grad():
        predicted = [
            -lr * (w * g).sum(0) * (w - lr * g) for w, g in zip(bare, gradients, strict=True)
        ]
    for network, loss in zip(pair, losses, strict=True):
        torch.autograd.backward(loss)
        torch.optim.SGD(network.parameters(), lr=lr).step()
    gammas = [norm.gamma for norm in norms(pair[0])]
    off = [
        largest(w * gamma - v - effect) / largest(effect)
        for w, gamma, v, effect in zip(weights, gammas, bare, predicted, strict=True)
    ]
    return _FirstUpdate((losses[0].item(), losses[1].item()), largest(*off))


def _gaps(build: Build, activation: Activation, seeds: Sequence[int]) -> NDArray[np.float64]:
    """Training loss and test accuracy without gamma minus with it, (2, seeds), on the digits."""
    x = torch.as_tensor(digits().test_x).double()
    labels = torch.as_tensor(digits().test_y)
    config, gaps = replace(SGD, steps=300), []
    for seed in seeds:
        model = replace(NORMED, activation=activation)
        full, bare = (
            train(build, replace(model, gamma=gamma), config, seed) for gamma in (True, False)
        )
        loss = float(bare.losses[-100:].mean() - full.losses[-100:].mean())
        gaps.append((loss, accuracy(bare.network, x, labels) - accuracy(full.network, x, labels)))
    return np.array(gaps).T


@check(
    13,
    "Keras, BatchNormalization(scale=False), calls gamma redundant",
    "equal losses at the start; relu's first update to 1e-10 as predicted; after 300 steps without "
    f"gamma sigmoid's loss higher by more than {LOSS_MARGIN}, relu's by less, and relu's accuracy "
    f"within {ACCURACY_MARGIN}",
)
def ablation(build: Build = initial_network) -> Finding:
    """Without gamma relu reaches the same functions by other steps, and sigmoid trains worse.

    At the start gamma is 1, and the two networks are the same function. For relu only V = W gamma
    matters. With G = dL/dV, the gradients are dL/dW = G gamma and dL/dgamma = sum(G W) over the
    next units, so the first step of SGD moves V by -lr G - lr sum(G W) (W - lr G), and without
    gamma by -lr G alone: the same functions, but not the same training. For sigmoid gamma says how
    far into its bends the input reaches, and no other parameter can.
    """
    update = _first_update(build, replace(NORMED, activation="relu"), SGD.lr)
    start = abs(update.losses[0] - update.losses[1])
    exact = f"at the start {start:.0e}; first update {update.off:.0e}"
    if not (start <= 1e-12 and update.off <= 1e-10):
        # Trainings that should have begun alike, and did not, say nothing of the rest.
        return found(False, exact)
    (sigmoid, _), (relu, hits) = (_gaps(build, each, (0, 1, 2)) for each in ("sigmoid", "relu"))
    worse, alike, same = over_seeds(sigmoid), over_seeds(relu), over_seeds(hits)
    return found(
        worse.low > LOSS_MARGIN
        and alike.high < LOSS_MARGIN
        and max(-same.low, same.high) < ACCURACY_MARGIN,
        f"{exact}; without gamma sigmoid's loss "
        f"{worse.text('+.3f')}, relu's {alike.text('+.3f')}, its accuracy "
        f"{same.text('+.3f')}",
    )
