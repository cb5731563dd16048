"""Checks of batch normalization (BN) by itself: forward, backward, moving averages."""

import numpy as np
import torch

from bnexp.networks.backend import NumpyBackend
from bnexp.networks.batchnorm import BatchNorm, LayerWork, Statistics, update_running
from bnexp.verify.check import Finding, Values, check, largest

M, UNITS, EPS, MOMENTUM = 60, 7, 1e-5, 0.1


def _inputs() -> tuple[Values, Values, Values]:
    """Random x (2, M, UNITS), whose units have variances of 1e-6 to 100; gamma, beta (2, UNITS)."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, M, UNITS))
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    x = np.logspace(-3, 1, UNITS) * (x + rng.standard_normal((2, 1, UNITS)))
    return x, *rng.standard_normal((2, 2, UNITS))


def _batch_norm(gamma: Values, beta: Values) -> BatchNorm:
    """The package's BN by itself; gamma and beta (S, U)."""
    running = np.array([np.zeros_like(gamma), np.ones_like(gamma)])[:, :, None]
    return BatchNorm(NumpyBackend("float64"), running, gamma[:, None], beta[:, None], EPS)


def _forward(norm: BatchNorm, x: Values, statistics: Statistics = "batch") -> LayerWork:
    """The pass of x (S, B, U) through BN."""
    large = (norm.backend.empty(*x.shape) for _ in range(5))
    small = (norm.backend.empty(*x[:, :1].shape) for _ in range(4))
    work = LayerWork(*large, *small)
    work.centered[...] = x
    norm.forward(work, statistics)
    return work


def _train(norm: BatchNorm, x: Values) -> None:
    """A pass that the running statistics follow."""
    work = _forward(norm, x)
    moments = np.array([work.mean, work.var])
    update_running(norm.backend.xp, norm.running, moments, x.shape[1], MOMENTUM)


def _output(norm: BatchNorm, x: Values, statistics: Statistics = "batch") -> Values:
    return np.asarray(_forward(norm, x, statistics).preactivation)


@check(1, "Algorithm 1; it says variance gamma", "both to 1e-12")
def moments() -> Finding:
    """In training a unit's output has mean beta and deviation |gamma| sqrt(var / (var + eps)).

    y_i = gamma (x_i - mu) / sqrt(var + eps) + beta with mu = mean x_i and var = mean (x_i - mu)^2,
    so mean y_i = beta and mean (y_i - beta)^2 = gamma^2 var / (var + eps).
    """
    x, gamma, beta = _inputs()
    y, var = _output(_batch_norm(gamma, beta), x), x.var(1)
    mean = largest(y.mean(1) - beta)
    deviation = largest(y.std(1) - np.abs(gamma) * np.sqrt(var / (var + EPS)))
    return largest([mean, deviation]) <= 1e-12, f"mean to {mean:.0e}, deviation to {deviation:.0e}"


@check(2, "section 3: sqrt(Var[x])", "to 1e-12; no eps, at var 1e-6: 70 % off; unbiased: 0.8 %")
def identity() -> Finding:
    """gamma = sqrt(var + eps), beta = mean give the batch's input back; another variance does not.

    gamma (x - mu) / sqrt(var + eps) + mu is off by |gamma / sqrt(var + eps) - 1| of x - mu.
    """
    x, _, _ = _inputs()
    mean, var = x.mean(1), x.var(1)
    gammas = np.sqrt([var + EPS, var, var * M / (M - 1) + EPS])
    outputs = np.array([_output(_batch_norm(gamma, mean), x) for gamma in gammas])
    off = np.sqrt(np.square(outputs - x).mean(2) / var)
    exact, without_eps, unbiased = off.max((1, 2))
    return largest(off - np.abs(gammas / gammas[0] - 1)) <= 1e-12, (
        f"to {exact:.0e}; without eps {without_eps:.1%} off; unbiased {unbiased:.2%} off"
    )


@check(3, "section 3, six equations", "autograd and finite differences to 1e-8; 0 for g of ones")
def backward() -> Finding:
    """BN's written-out backward pass is the chain rule's.

    dL/dx = gamma / sqrt(var + eps) (g - mean g - x_hat mean(g x_hat)), with g = dL/dy and
    x_hat = (x - mu) / sqrt(var + eps); dL/dgamma = sum g x_hat; dL/dbeta = sum g. So g = 1 gives
    dL/dx = 0. Here L = sum g y, and the stack holds x with each of its values moved.
    """
    rng = np.random.default_rng(5)
    (x, g), (gamma, beta) = rng.standard_normal((2, 1, 9, 4)), rng.standard_normal((2, 1, 4))
    norm, h = _batch_norm(gamma, beta), 1e-5 * np.eye(36).reshape(36, 9, 4)

    def ours(upstream: Values) -> tuple[Values, Values, Values]:
        work, (d_gamma, d_beta) = _forward(norm, x), np.empty((2, 1, 1, 4))
        work.delta[...] = upstream
        norm.backward(work, d_gamma, d_beta)
        return work.delta, d_gamma[0, 0], d_beta[0, 0]

    leaves = [torch.tensor(array[0], requires_grad=True) for array in (x, gamma, beta)]
    z, scale, offset = leaves
    y = torch.nn.functional.batch_norm(z, None, None, scale, offset, training=True, eps=EPS)
    chain_rule = torch.autograd.grad(y, leaves, torch.tensor(g[0]))
    slopes = (g * (_output(norm, x + h) - _output(norm, x - h))).sum((1, 2)) / 2e-5
    autograd = largest([largest(a - b.numpy()) for a, b in zip(ours(g), chain_rule, strict=True)])
    finite, ones = largest(ours(g)[0].ravel() - slopes), largest(ours(np.ones_like(g))[0])
    return largest([autograd, finite]) <= 1e-8 and ones <= 1e-14, (
        f"autograd to {autograd:.0e}, finite differences to {finite:.0e}; ones: {ones:.0e}"
    )


@check(4, "section 3.1", "a change; exactly none")
def others_matter() -> Finding:
    """BN(x_0) depends on the other 59 examples in training, and not at all in evaluation."""
    x, gamma, beta = _inputs()
    norm, changed = _batch_norm(gamma, beta), np.concatenate([x[:, :1], 2 * x[:, 1:] + 1], 1)
    training = largest((_output(norm, x) - _output(norm, changed))[:, 0])
    evaluation = largest((_output(norm, x, "running") - _output(norm, changed, "running"))[:, 0])
    return training > 1e-3 and evaluation == 0, (
        f"largest change {training:.1f} in training, {evaluation:g} in evaluation"
    )


@check(5, "section 3.1", "the closed form to 1e-12")
def moving_averages() -> Finding:
    """Running statistics are moving averages, of the unbiased variance; other passes keep them.

    r_n = (1 - k)^n r_0 + k sum_i (1 - k)^(n - i) b_i, with momentum k, r_0 = 0 for the mean and 1
    for the variance; b_i is the mean of batch i, or sum (x - mu)^2 / (m - 1).
    """
    x, gamma, beta = _inputs()
    norm, batches = _batch_norm(gamma, beta), np.array([i * (x + i) for i in range(1, 26)])
    for batch in batches:
        _train(norm, batch)
        _forward(norm, -batch)
    weights = MOMENTUM * (1 - MOMENTUM) ** np.arange(25)[::-1]
    mean = np.tensordot(weights, batches.mean(2), 1)
    var = (1 - MOMENTUM) ** 25 + np.tensordot(weights, batches.var(2, ddof=1), 1)
    error = largest(norm.running[:, :, 0] / [mean, var] - 1)
    return error <= 1e-12, f"to {error:.0e} of the value, after 25 batches"


@check(7, "section 3.2", "to 1e-12")
def shift() -> Finding:
    """BN(x + c) = BN(x) in training: mean(x + c) = mean(x) + c, and the variance stays."""
    x, gamma, beta = _inputs()
    norm, x, c = _batch_norm(gamma, beta), x / x.std(1, keepdims=True), 3 * beta[:, None]
    change = largest(_output(norm, x + c) - _output(norm, x))
    return change <= 1e-12, f"largest change {change:.0e} for constants up to {largest(c):.1f}"


@check(10, "the demonstration that a bias is useless", "False, by b / sqrt(1 + eps); then < 1e-5")
def allclose() -> Finding:
    """With fresh statistics evaluation shows a bias (allclose -> False); training absorbs it.

    Fresh statistics are mean 0 and variance 1: BN(z + b) - BN(z) = b / sqrt(1 + eps). After n
    training passes the running mean has taken up the share 1 - (1 - k)^n of the bias.
    """
    x, _, bias = _inputs()
    x[0], size = x[1] + bias[0], largest(bias[0])
    norm = _batch_norm(np.ones((2, UNITS)), np.zeros((2, UNITS)))
    biased, bare = _output(norm, x, "running")
    before, equal = largest(biased - bare), np.allclose(biased, bare)
    for _ in range(200):
        _train(norm, x)
    after = largest(np.subtract(*_output(norm, x, "running")))
    return not equal and abs(before * (1 + EPS) ** 0.5 - size) <= 1e-12 and after < 1e-5, (
        f"{equal}: {before:.4f} apart, bias up to {size:.4f}; after 200 passes {after:.0e}"
    )


@check(16, "Algorithm 1", "an error that asks for 2 examples; none in evaluation")
def one_example() -> Finding:
    """m = 1 is an error in training: x = mu, and BN would return beta whatever the input."""
    x, gamma, beta = _inputs()
    norm, one = _batch_norm(gamma, beta), x[:, :1]
    finite = bool(np.isfinite(_output(norm, one, "running")).all())
    try:
        _forward(norm, one)
    except ValueError as error:
        return finite and "2 examples" in str(error), f"ValueError: {error}"
    return False, "no error"
