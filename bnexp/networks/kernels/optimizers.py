"""SGD and Adam on vectors, with the definitions and defaults of torch.optim.

Both first add the gradient of the penalty: g = dL/dp + weight_decay p.
"""

import math

from bnexp.networks.kernels.compiler import fma, kernel
from bnexp.networks.kernels.layout import Array, Options

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


@kernel
def sgd(p: Array, g: Array, momentum_buffer: Array, options: Options) -> None:
    """v = momentum v + g; p = p - lr v. Without momentum, v is g and has no memory.

    p, g: (n,). momentum_buffer: (n,), v; (0,) without momentum.
    """
    lr, momentum, weight_decay = options.lr, options.momentum, options.weight_decay
    if momentum == 0 and weight_decay == 0:
        for j in range(p.size):
            p[j] = fma(-lr, g[j], p[j])
    elif momentum == 0:
        for j in range(p.size):
            p[j] = fma(-lr, fma(weight_decay, p[j], g[j]), p[j])
    else:
        v = momentum_buffer
        for j in range(p.size):
            v[j] = fma(momentum, v[j], fma(weight_decay, p[j], g[j]))
            p[j] = fma(-lr, v[j], p[j])


@kernel
def adam(
    p: Array, g: Array, exp_avg: Array, exp_avg_sq: Array, options: Options, step: int
) -> None:
    """Kingma & Ba (2015), Algorithm 1, for the update `step`, counted from 1.

    m = beta1 m + (1 - beta1) g and v = beta2 v + (1 - beta2) g^2;
    p = p - lr / (1 - beta1^step) m / (sqrt(v) / sqrt(1 - beta2^step) + eps).

    p, g, and the memory exp_avg (m) and exp_avg_sq (v): (n,).
    """
    number = p.dtype.type
    take1, beta2, take2 = number(1 - BETA1), number(BETA2), number(1 - BETA2)
    rate = number(options.lr / (1 - BETA1**step))
    root = number(math.sqrt(1 - BETA2**step))
    eps, weight_decay = number(EPS), options.weight_decay
    m, v = exp_avg, exp_avg_sq
    for j in range(p.size):
        gradient = fma(weight_decay, p[j], g[j])
        m[j] = fma(take1, gradient - m[j], m[j])
        v[j] = fma(take2 * gradient, gradient, beta2 * v[j])
        p[j] -= rate * (m[j] / (math.sqrt(v[j]) / root + eps))
