"""The small networks of the checks: plain PyTorch, trained on the digits that scikit-learn holds.

A check that is about a network takes the function that builds it, so that a test can pass one that
builds it with a mistake.
"""

import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from bnexp.config import DataConfig, ModelConfig, TrainConfig
from bnexp.data import datasets
from bnexp.data.datasets import Dataset
from bnexp.data.streams import batch_order
from bnexp.networks.mlp import initial_state_dict, mlp
from bnexp.networks.running_statistics import nonzero

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# From a model, its number of features and of classes, and a seed: the network before training.
Build = Callable[[ModelConfig, int, int, int], nn.Sequential]
Minibatch = tuple[torch.Tensor, torch.Tensor]  # x (m, features) and the labels (m,)

NORMED = ModelConfig((16, 16), weight_std=None, norm="batch", bias=False)
BIASED = replace(NORMED, bias=True, bias_std=1.0)
SGD = TrainConfig(steps=1000, lr=0.1, dtype="float64")


class NormTensors(NamedTuple):
    """What a batch norm holds for each unit (units,): the tensors themselves, not copies."""

    gamma: torch.Tensor
    beta: torch.Tensor
    mean: torch.Tensor  # running
    var: torch.Tensor  # running


@functools.cache
def digits() -> Dataset:
    """1,437 training and 360 test images of 8x8 binary pixels."""
    return datasets.load(DataConfig("digits"))


@functools.lru_cache(maxsize=1)  # the variants of an experiment share it
def without_zeros(dataset: Dataset) -> "tuple[csr_array, csr_array]":
    """The training and the test set as sparse arrays in float64, for `through`."""
    return nonzero(dataset.train_x), nonzero(dataset.test_x)


def initial_network(model: ModelConfig, features: int, classes: int, seed: int) -> nn.Sequential:
    """The network of a seed before training, in float64."""
    network = mlp(model, features, classes).double()
    state, trained = initial_state_dict(model, features, classes, seed)
    network.load_state_dict({key: torch.as_tensor(value) for key, value in state.items()})
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in trained)
    return network


def on_digits(build: Build, model: ModelConfig, seed: int = 0) -> nn.Sequential:
    """A network for the digits, before training."""
    return build(model, digits().train_x.shape[1], digits().classes, seed)


def linear_layers(network: nn.Sequential) -> list[nn.Linear]:
    """The layers with weights, from the input on; the last is the output layer."""
    return [module for module in network if isinstance(module, nn.Linear)]


def tensors(norm: nn.Module) -> NormTensors:
    """The parameters and running statistics of a batch norm."""
    if (
        not isinstance(norm, nn.BatchNorm1d)
        or norm.running_mean is None
        or norm.running_var is None
    ):
        raise TypeError(f"{norm} is no batch norm with running statistics")
    return NormTensors(norm.weight, norm.bias, norm.running_mean, norm.running_var)


def norms(network: nn.Sequential) -> list[NormTensors]:
    """What the batch norms of the hidden layers hold, from the input on."""
    return [tensors(module) for module in network if isinstance(module, nn.BatchNorm1d)]


def preactivations(network: nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    """The input of each nonlinearity (m, units) for a minibatch x, in training mode.

    The network's running statistics stay as they are.
    """
    found = []
    with torch.no_grad():
        for name, module in copy.deepcopy(network).train().named_children():
            if name.startswith("activation"):
                found.append(x)
            x = module(x)
    return found


def minibatches(dataset: Dataset, size: int, seed: int, dtype: torch.dtype) -> Iterator[Minibatch]:
    """The minibatches of a seed from step 0 on, without end, in the order of `bnexp train`."""
    x, labels = torch.as_tensor(dataset.train_x), torch.as_tensor(dataset.train_y)
    for epoch in itertools.count():
        for chosen in torch.as_tensor(batch_order(len(x), size, seed, epoch)):
            yield x[chosen].to(dtype), labels[chosen]


def cross_entropy(network: nn.Sequential, minibatch: Minibatch) -> torch.Tensor:
    """The mean cross-entropy of a minibatch."""
    x, labels = minibatch
    return nn.functional.cross_entropy(network(x), labels)


@dataclass(frozen=True)
class Training:
    """A trained network, and the loss of each step's minibatch (steps,)."""

    network: nn.Sequential
    losses: torch.Tensor


@functools.cache
def train(build: Build, model: ModelConfig, config: TrainConfig = SGD, seed: int = 0) -> Training:
    """Train a network on the digits, in an ordinary loop.

    The result is kept for the next check that asks for it, so it must not be changed.
    """
    dtype = getattr(torch, config.dtype)
    network = on_digits(build, model, seed).to(dtype).train()
    optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[config.optimizer](
        network.parameters(), lr=config.lr
    )
    batches = minibatches(digits(), config.batch_size, seed, dtype)
    losses = []
    for minibatch in itertools.islice(batches, config.steps):
        optimizer.zero_grad()
        loss = cross_entropy(network, minibatch)
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.detach())
    return Training(network, torch.stack(losses))
