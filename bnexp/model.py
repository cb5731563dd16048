"""The stacked MLP and its BatchNorm: S networks, one for each seed, in one set of arrays.

Shapes: S seeds, B examples, units of a layer U. Weights are (S, in, U), activations (S, B, U).
The backward pass is written out (Ioffe & Szegedy 2015, section 3, for BN) into arrays allocated
once; the tests compare it with torch's autograd for each activation, norm, bias, gamma and beta.

Keys: `layers.N.weight`, `.bias`, `.gamma`, `.beta`, `.running_mean`, `.running_var`; N counts from
1, and the last is the output layer. The first axis of each array is the seed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch  # noqa: TID253

from bnexp.backend import Array, Backend
from bnexp.config import ModelConfig
from bnexp.data import generator

Statistics = Literal["batch", "running"]
Namespace = Any  # numpy or torch
LEAKY_SLOPE = 0.01  # torch.nn.LeakyReLU's


@dataclass
class LayerWork:
    """What one layer computed for one batch, kept for recording and for the backward pass."""

    centered: Array  # (S, B, U): the input of BN; after its pass, less the mean
    preactivation: Array  # (S, B, U): the input of the nonlinearity; the logits in the last layer
    activation: Array  # (S, B, U): its output
    delta: Array  # (S, B, U): the loss's gradient, first for the activation, then further back
    scratch: Array  # (S, B, U)
    mean: Array  # (S, 1, U)
    var: Array  # (S, 1, U): biased, over the batch (1/m)
    inv_std: Array  # (S, 1, U): 1 / sqrt(var + eps) of the statistics in use
    column: Array  # (S, 1, U)
    statistics: Statistics = "batch"


class BatchNorm:
    """Batch normalization of each unit (Ioffe & Szegedy 2015, Algorithms 1 and 2).

    y = gamma * (x - mean) / sqrt(var + eps) + beta, where mean and (biased, 1/m) var are the
    batch's, or the running ones. As in torch, `running = (1 - momentum) * running + momentum *
    batch`, with the unbiased (1/(m-1)) variance. `gamma` and `beta` are (S, U), or None: fixed at
    1 and at 0.
    """

    def __init__(  # noqa: PLR0913, PLR0917  (one argument for each quantity of the definition)
        self,
        backend: Backend,
        running_mean: Array,
        running_var: Array,
        gamma: Array | None = None,
        beta: Array | None = None,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        self.backend = backend
        self.running_mean, self.running_var = running_mean, running_var
        self.gamma, self.beta = gamma, beta
        self.eps, self.momentum = eps, momentum

    def forward(self, work: LayerWork, statistics: Statistics) -> None:
        """From `work.centered`, which holds x, to `work.preactivation`; x is overwritten.

        Raises:
            ValueError: batch statistics of one example: its variance is 0, and BN would return
                beta whatever the input.
        """
        xp, x, y = self.backend.xp, work.centered, work.preactivation
        work.statistics = statistics
        if statistics == "batch":
            if x.shape[1] < 2:
                raise ValueError("batch normalization in training mode needs 2 examples or more")
            average = self.backend.constant(1 / x.shape[1], 1, 1, x.shape[1])
            xp.matmul(average, x, out=work.mean)
            xp.subtract(x, work.mean, out=x)
            xp.multiply(x, x, out=work.scratch)
            xp.matmul(average, work.scratch, out=work.var)
            xp.add(work.var, self.eps, out=work.inv_std)
        else:
            xp.subtract(x, self.running_mean[:, None], out=x)
            xp.add(self.running_var[:, None], self.eps, out=work.inv_std)
        xp.sqrt(work.inv_std, out=work.inv_std)
        xp.reciprocal(work.inv_std, out=work.inv_std)
        xp.multiply(x, self._scale(work), out=y)
        if self.beta is not None:
            xp.add(y, self.beta[:, None], out=y)

    def backward(self, work: LayerWork, gamma_grad: Array | None, beta_grad: Array | None) -> None:
        """In `work.delta`, from dL/dy to dL/dx; the gradients of gamma and beta (S, U).

        The six equations of section 3 of the paper, put together: dL/dx = gamma / sqrt(var + eps)
        * (dy - mean(dy) - x_hat * mean(dy * x_hat)), with x_hat = (x - mean) / sqrt(var + eps).
        With running statistics, which do not depend on x, both means drop out.
        """
        xp, d, column = self.backend.xp, work.delta, work.column
        on_batch = work.statistics == "batch"
        average = self.backend.constant(1 / d.shape[1], 1, 1, d.shape[1])
        if on_batch or gamma_grad is not None:
            xp.multiply(d, work.centered, out=work.scratch)
            xp.matmul(average, work.scratch, out=column)
            xp.multiply(column, work.inv_std, out=column)  # mean(dy * x_hat)
            if gamma_grad is not None:
                xp.multiply(column[:, 0], d.shape[1], out=gamma_grad)
        if on_batch:
            xp.multiply(column, work.inv_std, out=column)
            xp.multiply(work.centered, column, out=work.scratch)
        if on_batch or beta_grad is not None:
            xp.matmul(average, d, out=column)  # mean(dy)
            if beta_grad is not None:
                xp.multiply(column[:, 0], d.shape[1], out=beta_grad)
        if on_batch:
            xp.subtract(d, column, out=d)
            xp.subtract(d, work.scratch, out=d)
        xp.multiply(d, self._scale(work), out=d)

    def _scale(self, work: LayerWork) -> Array:
        """gamma / sqrt(var + eps), (S, 1, U)."""
        if self.gamma is None:
            return work.inv_std
        return self.backend.xp.multiply(work.inv_std, self.gamma[:, None], out=work.column)

    def update_running(self, work: LayerWork) -> None:
        """Move the running statistics towards those of the batch in `work`."""
        xp, m = self.backend.xp, work.delta.shape[1]
        for running, batch, unbiased in (
            (self.running_mean, work.mean, 1.0),
            (self.running_var, work.var, m / (m - 1)),
        ):
            xp.multiply(running, 1 - self.momentum, out=running)
            xp.multiply(batch, self.momentum * unbiased, out=work.column)
            xp.add(running, work.column[:, 0], out=running)


class Network:
    """S multilayer perceptrons, trained together: hidden layers, then a linear output layer.

    Each seed's parameters come from streams of (seed, parameter) alone, so they are the same for
    any stack, variant, norm and bias (`bnexp.data.generator`). Weights are N(0, weight_std^2),
    biases N(0, bias_std^2) in hidden layers and 0 in the output layer; gamma is 1, beta 0, the
    running mean 0 and the running variance 1. They are drawn in float64 and then rounded.

    Args:
        config: the `model` section.
        features: inputs of layer 1.
        classes: outputs.
        seeds: one network for each.
        backend: where the arrays live.
    """

    def __init__(
        self,
        config: ModelConfig,
        features: int,
        classes: int,
        seeds: Sequence[int],
        backend: Backend,
    ) -> None:
        self.config, self.seeds, self.backend = config, tuple(seeds), backend
        self.sizes = (features, *config.hidden, classes)
        self.depth = len(self.sizes) - 1
        self._activate, self._activate_backward = _ACTIVATIONS[config.activation]
        initial = self._initial()
        self._shapes = {key: tuple(value.shape) for key, value in initial.items()}
        total = sum(value.numel() for value in initial.values())
        # One vector for all parameters, so that an optimizer's update is a few calls in all.
        self.vector, self.gradient_vector = backend.empty(total), backend.empty(total)
        self.parameters = self.views(self.vector)
        self.gradients = self.views(self.gradient_vector)
        for key, value in initial.items():
            self.parameters[key][...] = backend.asarray(value)
        self.gradient_vector[...] = 0.0
        self.running: dict[str, Array] = {}
        self.norms = [self._batch_norm(layer) for layer in range(1, self.depth)]

    def _initial(self) -> dict[str, torch.Tensor]:
        config = self.config
        shapes: dict[str, tuple[tuple[int, ...], float]] = {}
        for layer, (fan_in, units) in enumerate(zip(self.sizes, self.sizes[1:], strict=False), 1):
            hidden = layer < self.depth
            std = fan_in**-0.5 if config.weight_std is None else config.weight_std
            shapes[f"layers.{layer}.weight"] = ((fan_in, units), std)
            if config.bias or not hidden:
                shapes[f"layers.{layer}.bias"] = ((units,), config.bias_std if hidden else 0.0)
        initial = {
            key: torch.stack([_gaussian(seed, key, shape) * std for seed in self.seeds])
            for key, (shape, std) in shapes.items()
        }
        if config.norm == "batch":
            for layer, units in enumerate(config.hidden, 1):
                if config.gamma:
                    initial[f"layers.{layer}.gamma"] = torch.ones(len(self.seeds), units)
                if config.beta:
                    initial[f"layers.{layer}.beta"] = torch.zeros(len(self.seeds), units)
        return initial

    def _batch_norm(self, layer: int) -> BatchNorm | None:
        if self.config.norm == "none":
            return None
        shape = (len(self.seeds), self.sizes[layer])
        mean, var = self.backend.empty(*shape), self.backend.empty(*shape)
        mean[...], var[...] = 0.0, 1.0
        self.running[f"layers.{layer}.running_mean"] = mean
        self.running[f"layers.{layer}.running_var"] = var
        return BatchNorm(
            self.backend,
            mean,
            var,
            self.parameters.get(f"layers.{layer}.gamma"),
            self.parameters.get(f"layers.{layer}.beta"),
            self.config.norm_eps,
            self.config.norm_momentum,
        )

    def views(self, vector: Array) -> dict[str, Array]:
        """The pieces of a vector of all parameters, by key and in their shapes."""
        pieces, start = {}, 0
        for key, shape in self._shapes.items():
            end = start + math.prod(shape)
            pieces[key] = vector[start:end].reshape(shape)
            start = end
        return pieces

    def workspace(self, examples: int) -> list[LayerWork]:
        """The arrays that a pass over batches of so many examples needs, one item a layer."""
        stack, empty = len(self.seeds), self.backend.empty
        return [
            LayerWork(
                *(empty(stack, examples, units) for _ in range(5)),
                *(empty(stack, 1, units) for _ in range(4)),
            )
            for units in self.sizes[1:]
        ]

    def forward(self, x: Array, work: list[LayerWork], statistics: Statistics) -> Array:
        """The logits (S, B, classes) of x (S, B, features), or of x (B, features) for all seeds.

        `statistics` says which mean and variance BN uses: `batch` in training and for the probe,
        `running` in evaluation. The running ones are not changed here: see `update_running`.
        """
        xp = self.backend.xp
        for layer, here in enumerate(work, 1):
            norm = self.norms[layer - 1] if layer < self.depth else None
            z = here.preactivation if norm is None else here.centered
            xp.matmul(x, self.parameters[f"layers.{layer}.weight"], out=z)
            bias = self.parameters.get(f"layers.{layer}.bias")
            if bias is not None:
                xp.add(z, bias[:, None], out=z)
            if norm is not None:
                norm.forward(here, statistics)
            if layer < self.depth:
                self._activate(xp, here.preactivation, here.activation)
                x = here.activation
        return work[-1].preactivation

    def loss(self, work: list[LayerWork], targets: Array) -> Array:
        """Mean cross-entropy (S,) of the softmax of the logits against one-hot targets (S, B, C).

        Its gradient for the logits, (softmax - targets) / B, is left in the last `work.delta`.
        """
        xp, last = self.backend.xp, work[-1]
        logits, d = last.preactivation, last.delta
        stack, examples, classes = logits.shape
        rows = last.activation[:, :, :1]  # which has no other use in the output layer
        xp.subtract(logits, self.backend.max(logits, 2, rows), out=logits)
        xp.exp(logits, out=d)
        xp.matmul(d, self.backend.constant(1.0, classes, 1), out=rows)
        xp.divide(d, rows, out=d)
        xp.subtract(d, targets, out=d)
        xp.divide(d, examples, out=d)
        size = examples * classes
        chosen = xp.matmul(logits.reshape(stack, 1, size), targets.reshape(-1, size, 1))
        return (xp.log(rows).sum(1)[:, 0] - chosen[:, 0, 0]) / examples

    def backward(self, x: Array, work: list[LayerWork]) -> None:
        """All gradients, from the last `work.delta`, into `gradients`; x as given to `forward`."""
        xp = self.backend.xp
        for layer in range(self.depth, 0, -1):
            here = work[layer - 1]
            norm = self.norms[layer - 1] if layer < self.depth else None
            if layer < self.depth:
                self._activate_backward(xp, here.activation, here.delta, here.scratch)
            if norm is not None:
                gamma, beta = (self.gradients.get(f"layers.{layer}.{k}") for k in ("gamma", "beta"))
                norm.backward(here, gamma, beta)
            bias = self.gradients.get(f"layers.{layer}.bias")
            if bias is not None:
                ones = self.backend.constant(1.0, 1, 1, here.delta.shape[1])
                xp.matmul(ones, here.delta, out=bias[:, None])
            below = work[layer - 2].activation if layer > 1 else x
            weight = f"layers.{layer}.weight"
            xp.matmul(below.swapaxes(1, 2), here.delta, out=self.gradients[weight])
            if layer > 1:
                transposed = self.parameters[weight].swapaxes(1, 2)
                xp.matmul(here.delta, transposed, out=work[layer - 2].delta)

    def update_running(self, work: list[LayerWork]) -> None:
        """Move every layer's running statistics towards those of the batch in `work`."""
        for norm, here in zip(self.norms, work, strict=False):
            if norm is not None:
                norm.update_running(here)

    def state(self) -> dict[str, Array]:
        """All parameters and running statistics by key: the arrays themselves, not copies."""
        return {**self.parameters, **self.running}


def _gaussian(seed: int, key: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed, key), dtype=torch.float64)


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


_ACTIVATIONS: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "sigmoid": (_sigmoid, _sigmoid_backward),
    "tanh": (_tanh, _tanh_backward),
    "relu": _leaky_relu(0.0),
    "leaky_relu": _leaky_relu(LEAKY_SLOPE),
    "identity": _leaky_relu(1.0),
}
