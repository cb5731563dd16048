"""SGD and Adam on one vector of parameters, with torch's definitions and defaults."""

from typing import Protocol

from bnexp.config.experiment import TrainConfig
from bnexp.networks.backend import Array, Backend


class Optimizer(Protocol):
    """Updates a vector of parameters in place from a gradient vector, which it may overwrite."""

    state: dict[str, Array]  # what a checkpoint must hold, beside the number of updates made

    def update(self, parameters: Array, gradient: Array, step: int) -> None:
        """Make update `step`, counted from 0."""


class SGD:
    """v = momentum * v + (g + weight_decay * p); p = p - lr * v (torch.optim.SGD)."""

    def __init__(self, config: TrainConfig, backend: Backend, size: int) -> None:
        self.config, self.backend = config, backend
        self.state = {}
        if config.momentum:
            self.state["velocity"] = _zeros(backend, size)
        self._scratch = backend.empty(size) if config.weight_decay else None

    def update(self, parameters: Array, gradient: Array, step: int) -> None:  # noqa: ARG002, D102
        xp, config = self.backend.xp, self.config
        for piece in self.backend.pieces(len(parameters)):
            p, g = parameters[piece], gradient[piece]
            if self._scratch is not None:
                decay = xp.multiply(p, config.weight_decay, out=self._scratch[piece])
                xp.add(g, decay, out=g)
            v = g
            if config.momentum:
                v = self.state["velocity"][piece]
                xp.multiply(v, config.momentum, out=v)
                xp.add(v, g, out=v)
            xp.multiply(v, config.lr, out=g)
            xp.subtract(p, g, out=p)


class Adam:
    """Kingma & Ba (2015), Algorithm 1: beta1 0.9, beta2 0.999, eps 1e-8 (torch.optim.Adam)."""

    def __init__(self, config: TrainConfig, backend: Backend, size: int) -> None:
        self.config, self.backend = config, backend
        self.state = {"first": _zeros(backend, size), "second": _zeros(backend, size)}
        self._scratch = backend.empty(size)

    def update(self, parameters: Array, gradient: Array, step: int) -> None:  # noqa: D102
        xp, config = self.backend.xp, self.config
        arrays = parameters, gradient, self.state["first"], self.state["second"], self._scratch
        for piece in self.backend.pieces(len(parameters)):
            p, g, first, second, scratch = (array[piece] for array in arrays)
            if config.weight_decay:
                xp.multiply(p, config.weight_decay, out=scratch)
                xp.add(g, scratch, out=g)
            xp.multiply(first, 0.9, out=first)
            xp.multiply(g, 0.1, out=scratch)
            xp.add(first, scratch, out=first)
            xp.multiply(g, g, out=g)
            xp.multiply(g, 0.001, out=g)
            xp.multiply(second, 0.999, out=second)
            xp.add(second, g, out=second)
            xp.divide(second, 1 - 0.999 ** (step + 1), out=g)
            xp.sqrt(g, out=g)
            xp.add(g, 1e-8, out=g)
            xp.divide(first, g, out=g)
            xp.multiply(g, config.lr / (1 - 0.9 ** (step + 1)), out=g)
            xp.subtract(p, g, out=p)


def make(config: TrainConfig, backend: Backend, size: int) -> Optimizer:
    """The optimizer of the `train` section, for a vector of so many parameters."""
    return SGD(config, backend, size) if config.optimizer == "sgd" else Adam(config, backend, size)


def _zeros(backend: Backend, size: int) -> Array:
    zeros = backend.empty(size)
    zeros[...] = 0.0
    return zeros
