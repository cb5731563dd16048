"""Small runs on the digits data set, and a plain PyTorch training loop to compare them with."""

from dataclasses import replace
from functools import cache
from itertools import cycle, islice, product
from types import SimpleNamespace

import numpy as np
import torch

from bnexp.config import DataConfig, ModelConfig, RecordConfig, Settings, TrainConfig
from bnexp.data import datasets, streams
from bnexp.networks.kernels_engine import KernelsEngine
from bnexp.networks.mlp import initial_state_dict, mlp
from bnexp.networks.torch_engine import TorchEngine
from helpers.bits import bits

ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "identity")
OPTIMIZERS = (
    {"optimizer": "sgd", "lr": 0.1},
    {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3},
    {"optimizer": "adam", "lr": 0.01, "weight_decay": 1e-3},
)


@cache
def digits(*, binarize=True):
    """The digits data set as NumPy arrays; 44 % of its pixels are nonzero when binarised."""
    loaded = datasets.load(DataConfig("digits", "unused", binarize))
    names = ("train_x", "train_y", "test_x", "test_y")
    arrays = {name: np.asarray(getattr(loaded, name)) for name in names}
    return SimpleNamespace(classes=loaded.classes, **arrays)


def sparse_digits(*, binarize=True):
    """The digits with three quarters of the pixels blanked, so that the kernels go sparse."""
    dense = digits(binarize=binarize)
    mask = (np.arange(64) % 4 == 0).astype(np.float32)
    train_x, test_x = dense.train_x * mask, dense.test_x * mask
    return SimpleNamespace(**{**vars(dense), "train_x": train_x, "test_x": test_x})


def settings(**changes):
    """Two hidden layers with everything recorded; `changes` as `section={key: value}`."""
    made = Settings(
        DataConfig("digits", "unused"),
        ModelConfig((9, 7), norm="batch", bias=False, weight_std=0.3, bias_std=0.1),
        TrainConfig(steps=200, batch_size=20, lr=0.1, device="cpu", dtype="float64"),
        RecordConfig(layers="all", probe_size=50, probe_every=10, evaluate_every=7),
    )
    for section, keys in changes.items():
        made = replace(made, **{section: replace(getattr(made, section), **keys)})
    return made


def models():
    """Every activation, norm, bias, gamma and beta, each with one of the optimizers in turn.

    Activation n begins with optimizer n, so each combination of the others meets all optimizers.
    Cases that differ in the activation alone can train as one stack of the torch engine.
    """
    flags = [(True, False)] * 3
    layers = [("none", bias, True, True) for bias in (True, False)] + [*product(["batch"], *flags)]
    for number, activation in enumerate(ACTIVATIONS):
        optimizers = islice(cycle(OPTIMIZERS), number % len(OPTIMIZERS), None)
        for norm, bias, gamma, beta in layers:
            optimizer = next(optimizers)
            if activation == "identity" and norm == "batch" and optimizer["optimizer"] == "adam":
                # The next batch norm subtracts beta again, so its gradient is rounding noise, which
                # Adam divides by its own size.
                optimizer = OPTIMIZERS[1]
            yield {
                "model": {
                    "activation": activation,
                    "norm": norm,
                    "bias": bias,
                    "gamma": gamma,
                    "beta": beta,
                },
                "train": optimizer,
            }


def label(case):
    """A case as the name of a test."""
    if not isinstance(case, dict):
        return None
    return "-".join(str(value) for keys in case.values() for value in keys.values())


def make(name, made, dataset=None, seeds=(0,)):
    """An engine by name."""
    dataset = digits() if dataset is None else dataset
    if name == "kernels":
        (seed,) = seeds
        return KernelsEngine(made, dataset, seed)
    return TorchEngine(made, dataset, seeds, "cpu")


def plain(made, seed=0):
    """The network before training as a plain Sequential, with what is fixed marked so."""
    network = mlp(made.model, 64, 10).to(getattr(torch, made.train.dtype))
    state, trained = initial_state_dict(made.model, 64, 10, seed)
    network.load_state_dict({key: torch.from_numpy(np.asarray(v)) for key, v in state.items()})
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in trained)
    return network


def minibatch(made, step, seed=0):
    """The examples and labels of a step."""
    dataset = digits()
    per_epoch = len(dataset.train_y) // made.train.batch_size
    size = made.train.batch_size
    order = streams.batch_order(len(dataset.train_y), size, seed, step // per_epoch)
    index = order[step % per_epoch]
    x = torch.from_numpy(dataset.train_x[index]).to(getattr(torch, made.train.dtype))
    return x, torch.from_numpy(dataset.train_y[index])


def train_plainly(made, steps):
    """The loop of a PyTorch tutorial."""
    network, train = plain(made), made.train
    parameters = [p for p in network.parameters() if p.requires_grad]
    if train.optimizer == "adam":
        optimizer = torch.optim.Adam(parameters, train.lr, weight_decay=train.weight_decay)
    else:
        optimizer = torch.optim.SGD(
            parameters, train.lr, train.momentum, weight_decay=train.weight_decay
        )
    for step in range(steps):
        x, y = minibatch(made, step)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return {key: value.numpy() for key, value in network.state_dict().items()}


def assert_same_bits(a, b):
    """Two lists of Rows, or of states, are equal bit for bit."""
    assert len(a) == len(b)
    for pair in zip(a, b, strict=True):
        one, other = (x if isinstance(x, dict) else vars(x) for x in pair)
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert bits(value) == bits(other[key]), key


def trained_as_plainly(name, made, steps=30):
    """An engine's state_dict after some steps, once it is seen to be a plain PyTorch loop's."""
    trained = make(name, made)
    trained.advance(steps)
    expected = train_plainly(made, steps)
    (state,) = trained.state_dicts()
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(state[key], value, rtol=0, atol=1e-10, err_msg=key)
    return state


def with_cumulative_statistics(network, minibatches):
    """A network whose statistics are torch's own means over minibatches, in evaluation mode.

    With momentum=None, BatchNorm1d averages all minibatches alike.
    """
    averaging = network.train()
    for module in averaging:
        if isinstance(module, torch.nn.BatchNorm1d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        for x in minibatches:
            averaging(x)
    return averaging.eval()
