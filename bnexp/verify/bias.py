"""Checks 6, 8, 9, 10 and 30: what becomes of a bias that is added right before batch norm."""

from dataclasses import replace

import torch

from bnexp.verify.check import Finding, check, found, largest
from bnexp.verify.implementations import EPS, BatchNorm, for_each_implementation, layer
from bnexp.verify.networks import (
    BIASED,
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
    train,
)
from bnexp.verify.normalization import inputs

SINGLE = replace(SGD, dtype="float32")
ADAM = replace(SINGLE, optimizer="adam", lr=1e-3)


def first_bias(network: torch.nn.Sequential) -> torch.Tensor:
    """The bias before the first batch norm (units,)."""
    return linear_layers(network)[0].bias.detach()


@check(6, "section 3.2", "below 1e-16 in float64, 1e-9 in float32; in evaluation above 1e-6")
def bias_gradient(build: Build = initial_network) -> Finding:
    """A bias before BN has gradient 0 in training, and not in evaluation.

    In training the minibatch's mean takes the bias with it, so the loss does not depend on it:
    dL/db = sum of dL/dz_i = 0. In evaluation the mean is a constant and the bias moves the output.
    What rounding leaves is of the size of dL/dz, which goes with 1/x: here pixels are 0 or 100.
    """

    def gradient(dtype: torch.dtype, *, training: bool) -> float:
        network = on_digits(build, BIASED).to(dtype).train(training)
        x, labels = next(minibatches(digits(), 60, 0, dtype))
        loss = cross_entropy(network, (100 * x, labels))
        return largest(*torch.autograd.grad(loss, linear_layers(network)[0].bias))

    double = gradient(torch.float64, training=True)
    single = gradient(torch.float32, training=True)
    evaluation = gradient(torch.float64, training=False)
    return found(
        double <= 1e-16 and single <= 1e-9 and evaluation > 1e-6,
        f"{double:.0e} in float64, {single:.0e} in float32; in evaluation {evaluation:.0e}",
    )


@check(8, "section 3.2", "to 1e-12 in float64, 1e-6 in float32, over 1,000 steps")
def bias_in_training(build: Build = initial_network) -> Finding:
    """A bias before BN leaves every loss of a training as it is.

    Its value drops out of every minibatch's loss (check 7) and its gradient is 0 (check 6), so the
    other parameters see the same gradients with it as without it, from the same start on.
    """
    double, single = (
        largest(train(build, NORMED, config).losses - train(build, BIASED, config).losses)
        for config in (SGD, SINGLE)
    )
    return found(
        double <= 1e-12 and single <= 1e-6, f"{double:.0e} in float64, {single:.0e} in float32"
    )


@check(
    9,
    "section 3.2; Kingma & Ba 2015",
    "after 1,000 steps in float32 SGD below 1e-6, Adam above 1,000 times that; "
    "in evaluation a part of it is left",
)
def bias_drift(build: Build = initial_network) -> Finding:
    """That bias drifts by rounding, which Adam scales up; the running mean follows with a lag.

    SGD adds up the learning rate times the rounding noise of a gradient that should be 0. Adam
    divides this noise by its own size, so each of its steps is about the learning rate, however
    small the noise is. The running mean of the layer holds sum k (1 - k)^(n - i) b_i of the biases
    so far. It is measured here as the difference to the running mean of a network without the bias.
    """
    shallow = replace(NORMED, hidden=(16,))
    biased = replace(shallow, bias=True)
    by_sgd, by_adam = (train(build, biased, config).network for config in (SINGLE, ADAM))
    without = train(build, shallow, ADAM).network
    small, large = largest(first_bias(by_sgd)), largest(first_bias(by_adam))
    absorbed = norms(by_adam)[0].mean - norms(without)[0].mean
    left = largest(first_bias(by_adam) - absorbed)
    return found(
        small < 1e-6 and large > 1e3 * small and 0 < left < large,
        f"SGD {small:.0e}, Adam {large:.0e}; in evaluation {left:.0e} of it is left",
    )


@check(
    10,
    "the demonstration that a bias is useless",
    "False, by max |b| / sqrt(1 + eps); below 1e-5 after 200 passes",
)
@for_each_implementation
@torch.no_grad()
def allclose(norm: BatchNorm) -> Finding:
    """With fresh statistics evaluation shows a bias (allclose -> False); training absorbs it.

    Fresh running statistics are mean 0 and variance 1, so BN(z + b) - BN(z) = b / sqrt(1 + eps).
    Each training pass takes the share k of the bias into the running mean, so (1 - k)^n of it is
    left after n passes: for k = 0.1 a third after 10, and one part in 40,000 after 100.
    """
    x, ones, bias = inputs()
    ones, z = torch.ones_like(ones), x / x.std(0, correction=0)
    biased, bare = (layer(norm, ones, torch.zeros_like(ones)) for _ in range(2))
    left, equal = [], []
    for passes in (0, 10, 90, 100):
        for _ in range(passes):
            biased.train()(z + bias)
            bare.train()(z)
        outputs = biased.eval()(z + bias), bare.eval()(z)
        left.append(largest(outputs[0] - outputs[1]))
        equal.append(torch.allclose(*outputs))
    first, after_10, after_100, after_200 = left
    return found(
        not equal[0]
        and abs(first * (1 + EPS) ** 0.5 - largest(bias)) <= 1e-12
        and after_200 < 1e-5,
        f"{equal[0]}: {first:.4f} apart, bias up to {largest(bias):.4f}; "
        f"{after_10 / first:.0%} of it after 10 passes, {after_100:.0e} after 100, "
        f"{after_200:.0e} after 200",
    )


@check(
    30,
    "the demonstration that a bias is useless, with convolutions",
    "evaluation: False, by max |b| / sqrt(1 + eps) to 1e-6; training: equal to 1e-5",
)
@torch.no_grad()
def convolution(norm: type[torch.nn.BatchNorm2d] = torch.nn.BatchNorm2d) -> Finding:
    """The same of Conv2d and BatchNorm2d: fresh statistics show the bias, a minibatch's hide it.

    A channel is normalized over the minibatch and all its places, so its bias is a constant that is
    added to every value of the channel, as in check 7. The convolutions lead from 3 to 16 channels
    by kernels of 3 by 3. Their weights and biases are PyTorch's own, uniform up to 1 / sqrt(27).
    """
    with torch.random.fork_rng(devices=[]):  # PyTorch fills its modules from the global state
        torch.manual_seed(0)
        biased, bare = torch.nn.Conv2d(3, 16, 3), torch.nn.Conv2d(3, 16, 3, bias=False)
        x = torch.randn((8, 3, 16, 16))
    if biased.bias is None:
        raise TypeError("a convolution without a bias")
    bare.weight.copy_(biased.weight)
    layers = norm(16), norm(16)
    z = biased(x), bare(x)
    outputs = [layer.eval()(each) for layer, each in zip(layers, z, strict=True)]
    trained = [layer.train()(each) for layer, each in zip(layers, z, strict=True)]
    apart, bias = largest(outputs[0] - outputs[1]), largest(biased.bias)
    equal, left = torch.allclose(*outputs), largest(trained[0] - trained[1])
    return found(
        not equal and abs(apart * (1 + layers[0].eps) ** 0.5 - bias) <= 1e-6 and left <= 1e-5,
        f"{equal}: {apart:.3f} apart, bias up to {bias:.3f}; in training mode {left:.0e}",
    )
