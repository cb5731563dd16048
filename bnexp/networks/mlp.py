"""The network of a `model` section: a plain `torch.nn.Sequential`, and its initial parameters."""

from collections import OrderedDict
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bnexp.config import ModelConfig
from bnexp.data.streams import generator
from bnexp.networks.norms import NORMS

StateDict = dict[str, NDArray[Any]]

LEAKY_SLOPE = 0.01  # of leaky_relu below 0, which is also torch's default


def layer_sizes(config: ModelConfig, features: int, classes: int) -> tuple[int, ...]:
    """Features, the units of each hidden layer, classes."""
    return features, *config.hidden, classes


def activation_module(name: str) -> nn.Module:
    """The nonlinearity of `model.activation`."""
    modules: dict[str, nn.Module] = {
        "sigmoid": nn.Sigmoid(),
        "tanh": nn.Tanh(),
        "relu": nn.ReLU(),
        "leaky_relu": nn.LeakyReLU(LEAKY_SLOPE),
        "identity": nn.Identity(),
    }
    return modules[name]


def mlp(config: ModelConfig, features: int, classes: int) -> nn.Sequential:
    """The network in PyTorch's own modules, as `model.pt` is loaded into it.

    Every hidden layer is `linearN`, then `normN` where there is a norm, then `activationN`. The
    last module is `output`. A norm has its gamma and beta (`normN.weight`, `normN.bias`) here even
    where they are fixed. They are all ones and all zeros then. RMS norm has no beta.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    sizes = layer_sizes(config, features, classes)
    for number, (inputs, units) in enumerate(pairwise(sizes[:-1]), 1):
        modules[f"linear{number}"] = nn.Linear(inputs, units, bias=config.bias)
        if config.norm in NORMS:
            modules[f"norm{number}"] = NORMS[config.norm].module(units, config)
        modules[f"activation{number}"] = activation_module(config.activation)
    modules["output"] = nn.Linear(sizes[-2], sizes[-1])
    return nn.Sequential(modules)


def linear_name(number: int, depth: int) -> str:
    """The name of the linear module of layer `number`; the last of `depth` layers is the output."""
    return "output" if number == depth else f"linear{number}"


def initial_state_dict(
    config: ModelConfig, features: int, classes: int, seed: int
) -> tuple[StateDict, list[str]]:
    """The state_dict of the network before training, in float64, and which of it is trained.

    Weights are N(0, weight_std^2), or N(0, 1 / inputs) where `weight_std` is null. Hidden biases
    are N(0, bias_std^2), the output's are 0. Gamma is 1, beta 0, the running mean 0 and the running
    variance 1, as PyTorch's modules have them at first.

    Every parameter comes from a random stream of its own, named `layers.N.weight` or
    `layers.N.bias`. So it depends on the seed alone: variants with and without batch norm, or with
    other layers after it, begin with the same weights. A weight is drawn as (inputs, units).

    Returns:
        The arrays by key, in torch's layout (weights are (units, inputs)), and the keys of those
        that the optimizer changes.
    """
    state: StateDict = {}
    trained: list[str] = []
    sizes = layer_sizes(config, features, classes)
    depth = len(sizes) - 1
    for number, (inputs, units) in enumerate(pairwise(sizes), 1):
        name = linear_name(number, depth)
        std = inputs**-0.5 if config.weight_std is None else config.weight_std
        drawn = _gaussian(seed, f"layers.{number}.weight", (inputs, units)) * std
        state[f"{name}.weight"] = np.ascontiguousarray(drawn.T)
        trained.append(f"{name}.weight")
        if config.bias or number == depth:
            std = config.bias_std if number < depth else 0.0
            state[f"{name}.bias"] = _gaussian(seed, f"layers.{number}.bias", (units,)) * std
            trained.append(f"{name}.bias")
        if config.norm in NORMS and number < depth:
            fresh = NORMS[config.norm].module(units, config).double().state_dict()
            learned = {"weight": config.gamma, "bias": config.beta}
            for part, value in fresh.items():
                state[f"norm{number}.{part}"] = value.numpy()
                trained += [f"norm{number}.{part}"] * learned.get(part, False)
    return state, trained


def _gaussian(seed: int, stream: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    drawn = torch.randn(shape, generator=generator(seed, stream), dtype=torch.float64)
    array: NDArray[np.float64] = drawn.numpy()
    return array
