"""The nonlinearities, and the gradient of each from its output.

`forward(xp, z, a)` writes act(z) into a. `backward(xp, a, d, scratch)` takes d from dL/da to dL/dz,
in place; `xp` is the namespace, numpy or torch.
"""

from collections.abc import Callable

from bnexp.networks.backend import Array, Namespace

LEAKY_SLOPE = 0.01  # torch.nn.LeakyReLU's


def _sigmoid(xp: Namespace, z: Array, a: Array) -> None:
    # (1 + tanh(z / 2)) / 2: exp would overflow on the way for z below -88 in float32.
    xp.multiply(z, 0.5, out=a)
    xp.tanh(a, out=a)
    xp.add(a, 1.0, out=a)
    xp.multiply(a, 0.5, out=a)


def _sigmoid_backward(xp: Namespace, a: Array, d: Array, scratch: Array) -> None:
    xp.multiply(a, a, out=scratch)
    xp.subtract(a, scratch, out=scratch)
    xp.multiply(d, scratch, out=d)


def _tanh(xp: Namespace, z: Array, a: Array) -> None:
    xp.tanh(z, out=a)


def _tanh_backward(xp: Namespace, a: Array, d: Array, scratch: Array) -> None:
    xp.multiply(a, a, out=scratch)
    xp.multiply(d, scratch, out=scratch)
    xp.subtract(d, scratch, out=d)


def _leaky_relu(slope: float) -> tuple[Callable[..., None], Callable[..., None]]:
    def forward(xp: Namespace, z: Array, a: Array) -> None:
        xp.multiply(z, slope, out=a)
        xp.maximum(z, a, out=a)

    def backward(xp: Namespace, a: Array, d: Array, scratch: Array) -> None:
        xp.greater(a, 0.0, out=scratch)
        xp.multiply(scratch, 1.0 - slope, out=scratch)
        xp.add(scratch, slope, out=scratch)
        xp.multiply(d, scratch, out=d)

    return forward, backward


ACTIVATIONS: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "sigmoid": (_sigmoid, _sigmoid_backward),
    "tanh": (_tanh, _tanh_backward),
    "relu": _leaky_relu(0.0),
    "leaky_relu": _leaky_relu(LEAKY_SLOPE),
    "identity": _leaky_relu(1.0),
}
