"""SGD and Adam on one vector of parameters, with torch's definitions and defaults."""

from typing import Protocol

from bnexp.backend import Array, Backend
from bnexp.config import TrainConfig


class Optimizer(Protocol):
    """Updates a vector of parameters in place from a gradient vector, which it may overwrite."""

    state: dict[str, Array]  # what a checkpoint must hold, beside the number of updates made

    def update(self, parameters: Array, gradient: Array, step: int) -> None:
        """Make update `step`, counted from 0."""


class SGD:
    """v = momentum * v + (g + weight_decay * p); p = p - lr * v (torch.optim.SGD)."""

    def __init__(self, config: TrainConfig, backend: Backend, size: int) -> None:
        self.config, self.xp = config, backend.xp
        self.state = {}
        if config.momentum:
            self.state["velocity"] = _zeros(backend, size)
        self._scratch = backend.empty(size) if config.weight_decay else None

    def update(self, parameters: Array, gradient: Array, step: int) -> None:  # noqa: ARG002, D102
        xp, config = self.xp, self.config
        if self._scratch is not None:
            xp.multiply(parameters, config.weight_decay, out=self._scratch)
            xp.add(gradient, self._scratch, out=gradient)
        if config.momentum:
            velocity = self.state["velocity"]
            xp.multiply(velocity, config.momentum, out=velocity)
            xp.add(velocity, gradient, out=velocity)
            xp.multiply(velocity, config.lr, out=gradient)
        else:
            xp.multiply(gradient, config.lr, out=gradient)
        xp.subtract(parameters, gradient, out=parameters)


class Adam:
    """Kingma & Ba (2015), Algorithm 1: beta1 0.9, beta2 0.999, eps 1e-8 (torch.optim.Adam)."""

    def __init__(self, config: TrainConfig, backend: Backend, size: int) -> None:
        self.config, self.xp = config, backend.xp
        self.state = {"first": _zeros(backend, size), "second": _zeros(backend, size)}
        self._scratch = backend.empty(size)

    def update(self, parameters: Array, gradient: Array, step: int) -> None:  # noqa: D102
        xp, config, scratch = self.xp, self.config, self._scratch
        first, second = self.state["first"], self.state["second"]
        if config.weight_decay:
            xp.multiply(parameters, config.weight_decay, out=scratch)
            xp.add(gradient, scratch, out=gradient)
        xp.multiply(first, 0.9, out=first)
        xp.multiply(gradient, 0.1, out=scratch)
        xp.add(first, scratch, out=first)
        xp.multiply(gradient, gradient, out=gradient)
        xp.multiply(gradient, 0.001, out=gradient)
        xp.multiply(second, 0.999, out=second)
        xp.add(second, gradient, out=second)
        xp.divide(second, 1 - 0.999 ** (step + 1), out=gradient)
        xp.sqrt(gradient, out=gradient)
        xp.add(gradient, 1e-8, out=gradient)
        xp.divide(first, gradient, out=gradient)
        xp.multiply(gradient, config.lr / (1 - 0.9 ** (step + 1)), out=gradient)
        xp.subtract(parameters, gradient, out=parameters)


def make(config: TrainConfig, backend: Backend, size: int) -> Optimizer:
    """The optimizer of the `train` section, for a vector of so many parameters."""
    return SGD(config, backend, size) if config.optimizer == "sgd" else Adam(config, backend, size)


def _zeros(backend: Backend, size: int) -> Array:
    zeros = backend.empty(size)
    zeros[...] = 0.0
    return zeros
