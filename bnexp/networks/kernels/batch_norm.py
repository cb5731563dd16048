"""Batch normalization, forward and backward (Ioffe & Szegedy 2015, Algorithms 1 and 2).

m is the number of examples. A width is a layer's units with their padding; see `layout`.
"""

import math
from typing import Any

from bnexp.networks.kernels.compiler import fma, kernel
from bnexp.networks.kernels.layout import Array


@kernel
def batch_statistics(x: Array, mean: Array, var: Array) -> None:
    """mean = sum x / m and var = sum (x - mean)^2 / m, and x becomes x - mean.

    The first two lines of Algorithm 1. x: (m, width); mean, var: (width,).
    """
    number = x.dtype.type
    m = number(x.shape[0])
    mean[:] = 0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            mean[j] += x[i, j]
    for j in range(x.shape[1]):
        mean[j] /= m
        var[j] = 0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] -= mean[j]
            var[j] = fma(x[i, j], x[i, j], var[j])
    for j in range(x.shape[1]):
        var[j] /= m


@kernel
def subtract(x: Array, mean: Array) -> None:
    """x (m, width) becomes x - mean, with the running mean (width,) in evaluation mode."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] -= mean[j]


@kernel
def normalize(x: Array, var: Array, eps: Any, inv_std: Array) -> None:
    """x-hat = (x - mean) / sqrt(var + eps), in place of x - mean: line 3 of Algorithm 1.

    x: (m, width); var: (width,). inv_std: (width,), becomes 1 / sqrt(var + eps).
    """
    one = x.dtype.type(1)
    for j in range(x.shape[1]):
        inv_std[j] = one / math.sqrt(var[j] + eps)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] *= inv_std[j]


@kernel
def scale_and_shift(x_hat: Array, gamma: Array, beta: Array, y: Array) -> None:
    """y = gamma x-hat + beta: line 4 of Algorithm 1.

    x_hat, y: (m, width); gamma, beta: (width,).
    """
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] = fma(gamma[j], x_hat[i, j], beta[j])


@kernel
def batch_norm_backward(
    d: Array, x_hat: Array, gamma: Array, inv_std: Array, d_gamma: Array, d_beta: Array
) -> None:
    """In d (m, width), from dL/dy to dL/dx; the gradients of gamma and beta, (width,) each.

    dL/dgamma = sum dL/dy x-hat and dL/dbeta = sum dL/dy. The six equations of section 3 of the
    paper, put together, are

        dL/dx = gamma / sqrt(var + eps) (dL/dy - dL/dbeta / m - x-hat dL/dgamma / m).

    x_hat: (m, width). gamma, and inv_std = 1 / sqrt(var + eps): (width,).
    """
    number = d.dtype.type
    share = number(1) / number(d.shape[0])
    d_gamma[:] = 0
    d_beta[:] = 0
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            d_gamma[j] = fma(d[i, j], x_hat[i, j], d_gamma[j])
            d_beta[j] += d[i, j]
    for i in range(d.shape[0]):
        for j in range(d.shape[1]):
            centered = d[i, j] - share * d_beta[j] - x_hat[i, j] * (share * d_gamma[j])
            d[i, j] = gamma[j] * inv_std[j] * centered


@kernel
def move_running(
    mean: Array,
    var: Array,
    examples: int,
    keep: Any,
    take: Any,
    running_mean: Array,
    running_var: Array,
) -> None:
    """running = (1 - momentum) running + momentum batch, as torch does it.

    `keep` is 1 - momentum and `take` the momentum. The batch's variance enters as the unbiased
    one, divided by m - 1. All vectors: (units of all hidden layers,), with their padding.
    """
    number = mean.dtype.type
    unbiased = number(examples) / number(examples - 1)
    for j in range(mean.size):
        running_mean[j] = keep * running_mean[j] + take * mean[j]
        running_var[j] = keep * running_var[j] + take * (var[j] * unbiased)
