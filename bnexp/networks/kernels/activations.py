"""The nonlinearities, from the pre-activation z, and their gradients, from the output a."""

from bnexp.networks.kernels.compiler import kernel
from bnexp.networks.kernels.exponential import exp, tanh
from bnexp.networks.kernels.layout import ACTIVATIONS, Array

RELU, LEAKY_RELU = ACTIVATIONS["relu"], ACTIVATIONS["leaky_relu"]
TANH, SIGMOID = ACTIVATIONS["tanh"], ACTIVATIONS["sigmoid"]
SLOPE = 0.01  # of leaky_relu below 0, as in torch.nn.LeakyReLU


@kernel
def activate(kind: int, z: Array, a: Array) -> None:
    """a = act(z) of every number. z, a: (n,). `kind` is one of `layout.ACTIVATIONS`."""
    number = z.dtype.type
    one, zero, slope = number(1), number(0), number(SLOPE)
    if kind == SIGMOID:  # 1 / (1 + e^-z)
        for j in range(z.size):
            a[j] = one / (one + exp(-z[j]))
    elif kind == TANH:
        for j in range(z.size):
            a[j] = tanh(z[j])
    elif kind == RELU:  # max(z, 0), where a NaN stays one
        for j in range(z.size):
            a[j] = max(z[j], zero)
    elif kind == LEAKY_RELU:  # max(z, z / 100)
        for j in range(z.size):
            a[j] = slope * z[j] if z[j] < zero else z[j]
    else:
        for j in range(z.size):
            a[j] = z[j]


@kernel
def activate_backward(kind: int, a: Array, d: Array) -> None:
    """In d, from dL/da to dL/dz = dL/da act'(z), where act' follows from a. a, d: (n,)."""
    number = a.dtype.type
    one, zero, slope = number(1), number(0), number(SLOPE)
    if kind == SIGMOID:  # a (1 - a)
        for j in range(a.size):
            d[j] *= a[j] * (one - a[j])
    elif kind == TANH:  # 1 - a^2
        for j in range(a.size):
            d[j] *= one - a[j] * a[j]
    elif kind == RELU:  # 1 above 0, else 0
        for j in range(a.size):
            d[j] = d[j] if a[j] > zero else zero
    elif kind == LEAKY_RELU:
        for j in range(a.size):
            d[j] = d[j] if a[j] > zero else slope * d[j]
