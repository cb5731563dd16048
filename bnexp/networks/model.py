"""The stacked MLP: S networks, one for each seed, in one set of arrays.

Shapes: S seeds, B examples, units of a layer U. Weights are (S, in, U), activations (S, B, U).
The backward pass is written out, into arrays allocated once; the tests compare it with torch's
autograd for each activation, norm, bias, gamma and beta.

Keys: `layers.N.weight`, `.bias`, `.gamma`, `.beta`, `.running_mean`, `.running_var`; N counts from
1, and the last is the output layer. The first axis of each array is the seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch  # noqa: TID253

from bnexp.config.experiment import ModelConfig
from bnexp.data.streams import generator
from bnexp.networks.activations import ACTIVATIONS
from bnexp.networks.backend import Array, Backend
from bnexp.networks.batchnorm import BatchNorm, LayerWork, Statistics, update_running


@dataclass
class Work:
    """The arrays of a pass over batches of one size: see `Network.workspace`."""

    layers: list[LayerWork]
    moments: Array  # (2, n): mean and var of all the layers' units, one layer after the other


@dataclass(frozen=True)
class Layer:
    """The parameters of one layer, their gradients, and its norm; None for what it has not."""

    weight: Array  # (S, in, U)
    weight_grad: Array
    bias: Array | None  # (S, 1, U)
    bias_grad: Array | None
    norm: BatchNorm | None
    gamma_grad: Array | None  # (S, 1, U)
    beta_grad: Array | None


class Network:
    """S multilayer perceptrons, trained together: hidden layers, then a linear output layer.

    Each seed's parameters come from streams of (seed, parameter) alone, so they are the same for
    any stack, variant, norm and bias (`bnexp.data.streams`). Weights are N(0, weight_std^2),
    biases N(0, bias_std^2) in hidden layers and 0 in the output layer; gamma is 1, beta 0, the
    running mean 0 and the running variance 1. They are drawn in float64 and then rounded.

    Args:
        config: the `model` section.
        features: inputs of layer 1.
        classes: outputs.
        seeds: one network for each.
        backend: where the arrays live.
        inputs: indices of the features that x holds, where the others are 0 in every example;
            None: all. The weights of the others have no effect and no gradient: they stay as
            drawn, and take no part in the arithmetic.
    """

    def __init__(  # noqa: PLR0913, PLR0917  (see Args)
        self,
        config: ModelConfig,
        features: int,
        classes: int,
        seeds: Sequence[int],
        backend: Backend,
        inputs: torch.Tensor | None = None,
    ) -> None:
        self.config, self.seeds, self.backend = config, tuple(seeds), backend
        self.sizes = (features, *config.hidden, classes)
        self.depth = len(self.sizes) - 1
        self._activate, self._activate_backward = ACTIVATIONS[config.activation]
        initial = self._initial()
        self._inputs, self._first_weight = inputs, initial["layers.1.weight"]
        if inputs is not None:
            initial["layers.1.weight"] = self._first_weight[:, inputs]
        self._shapes = {key: tuple(value.shape) for key, value in initial.items()}
        total = sum(value.numel() for value in initial.values())
        # One vector for all parameters, so that an optimizer's update is a few calls in all.
        self.vector, self.gradient_vector = backend.empty(total), backend.empty(total)
        self.parameters = self.views(self.vector)
        self.gradients = self.views(self.gradient_vector)
        for key, value in initial.items():
            self.parameters[key][...] = backend.asarray(value)
        self.gradient_vector[...] = 0.0
        # And one array for all running statistics: means in the first row, then variances.
        self.running_vectors = backend.empty(2, len(self.seeds) * sum(config.hidden))
        self.running_vectors[0], self.running_vectors[1] = 0.0, 1.0
        self.running: dict[str, Array] = {}
        self.layers = [self._layer(number) for number in range(1, self.depth + 1)]

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

    def _layer(self, number: int) -> Layer:
        def of(arrays: dict[str, Array], name: str) -> Array | None:
            array = arrays.get(f"layers.{number}.{name}")
            return None if array is None else array[:, None]

        norm, parameters, gradients = None, self.parameters, self.gradients
        if number < self.depth and self.config.norm == "batch":
            running = self._moments(self.running_vectors, number)
            for name, array in zip(("running_mean", "running_var"), running, strict=True):
                self.running[f"layers.{number}.{name}"] = array[:, 0]
            gamma, beta = of(parameters, "gamma"), of(parameters, "beta")
            norm = BatchNorm(self.backend, running, gamma, beta, self.config.norm_eps)
        return Layer(
            parameters[f"layers.{number}.weight"],
            gradients[f"layers.{number}.weight"],
            of(parameters, "bias"),
            of(gradients, "bias"),
            norm,
            of(gradients, "gamma"),
            of(gradients, "beta"),
        )

    def _moments(self, vectors: Array, number: int) -> Array:
        """A hidden layer's piece (2, S, 1, U) of the statistics (2, n) of all hidden layers."""
        stack, units = len(self.seeds), self.sizes[number]
        start = stack * sum(self.sizes[1:number])
        return vectors[:, start : start + stack * units].reshape(2, stack, 1, units)

    def views(self, vector: Array) -> dict[str, Array]:
        """The pieces of a vector of all parameters, by key and in their shapes."""
        pieces, start = {}, 0
        for key, shape in self._shapes.items():
            end = start + math.prod(shape)
            pieces[key] = vector[start:end].reshape(shape)
            start = end
        return pieces

    def workspace(self, examples: int, depth: int | None = None) -> Work:
        """The arrays that a pass over batches of so many examples needs.

        Args:
            examples: B.
            depth: how many layers `forward` is to compute; None: all.
        """
        stack, empty = len(self.seeds), self.backend.empty
        moments, layers = empty(*self.running_vectors.shape), []
        for number, units in enumerate(self.sizes[1:][:depth], 1):
            large = [empty(stack, examples, units) for _ in range(5)]
            pair = self._moments(moments, number) if number < self.depth else (None, None)
            small = [empty(stack, 1, units) for _ in range(2)]
            layers.append(LayerWork(*large, *pair, *small))
        return Work(layers, moments)

    def forward(self, x: Array, work: Work, statistics: Statistics) -> Array:
        """The logits (S, B, classes) of x (S, B, features), or of x (B, features) for all seeds.

        A workspace of fewer layers gives the last one's pre-activations.

        `statistics` says which mean and variance BN uses: `batch` in training and for the probe,
        `running` in evaluation. The running ones are not changed here: see `update_running`.
        """
        xp = self.backend.xp
        last = work.layers[-1]
        for layer, here in zip(self.layers, work.layers, strict=False):
            z = here.preactivation if layer.norm is None else here.centered
            xp.matmul(x, layer.weight, out=z)
            if layer.bias is not None:
                xp.add(z, layer.bias, out=z)
            if layer.norm is not None:
                layer.norm.forward(here, statistics)
            if here is not last:
                self._activate(xp, here.preactivation, here.activation)
                x = here.activation
        return last.preactivation

    def loss(self, work: Work, targets: Array) -> Array:
        """Mean cross-entropy (S,) of the softmax of the logits against one-hot targets (S, B, C).

        Its gradient for the logits, (softmax - targets) / B, is left in the last `work.delta`.
        """
        xp, last = self.backend.xp, work.layers[-1]
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

    def backward(self, x: Array, work: Work) -> None:
        """All gradients, from the last `work.delta`, into `gradients`; x as given to `forward`."""
        xp, layers = self.backend.xp, work.layers
        ones = self.backend.constant(1.0, 1, 1, layers[0].delta.shape[1])
        for number in reversed(range(self.depth)):
            layer, here = self.layers[number], layers[number]
            if number < self.depth - 1:
                self._activate_backward(xp, here.activation, here.delta, here.scratch)
            if layer.norm is not None:
                layer.norm.backward(here, layer.gamma_grad, layer.beta_grad)
            if layer.bias_grad is not None:
                xp.matmul(ones, here.delta, out=layer.bias_grad)
            below = layers[number - 1].activation if number else x
            xp.matmul(below.swapaxes(1, 2), here.delta, out=layer.weight_grad)
            if number:
                xp.matmul(here.delta, layer.weight.swapaxes(1, 2), out=layers[number - 1].delta)

    def update_running(self, work: Work) -> None:
        """Move every layer's running statistics towards those of the batch in `work`."""
        if self.running:
            examples, momentum = work.layers[0].delta.shape[1], self.config.norm_momentum
            update_running(self.backend.xp, self.running_vectors, work.moments, examples, momentum)

    def state(self) -> dict[str, Array]:
        """All parameters and running statistics by key: the arrays themselves, not copies."""
        return {**self.parameters, **self.running}

    def model(self) -> dict[str, torch.Tensor]:
        """The same on the host, with the weights of every feature, as `model.pt` holds them."""
        host = {k: torch.from_numpy(self.backend.numpy(v)) for k, v in self.state().items()}
        if self._inputs is not None:
            weight = self._first_weight.to(host["layers.1.weight"].dtype)
            weight[:, self._inputs] = host["layers.1.weight"]
            host["layers.1.weight"] = weight
        return host

    @property
    def parameter_count(self) -> int:
        """Parameters of one network."""
        unused = 0 if self._inputs is None else self.sizes[0] - len(self._inputs)
        return len(self.vector) // len(self.seeds) + unused * self.sizes[1]


def _gaussian(seed: int, key: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed, key), dtype=torch.float64)
