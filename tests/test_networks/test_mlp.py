"""The plain network and its initial parameters."""

import hashlib

import numpy as np
import pytest
import torch
from helpers.cases import ACTIVATIONS, make, settings
from torch import nn

from bnexp.config import ModelConfig
from bnexp.networks.mlp import initial_state_dict, mlp


def test_the_network_is_the_sequential_of_the_documentation():
    """Its modules, their names and their order."""
    config = ModelConfig((100, 50), activation="tanh", norm="batch", bias=False)
    network = mlp(config, 784, 10)
    names = ["linear1", "norm1", "activation1", "linear2", "norm2", "activation2", "output"]
    assert [name for name, _ in network.named_children()] == names
    kinds = [nn.Linear, nn.BatchNorm1d, nn.Tanh]
    assert [type(module) for module in network] == [*kinds, *kinds, nn.Linear]
    assert network.linear1.bias is None
    assert network.output.bias is not None
    assert network.linear2.weight.shape == (50, 100)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_initial_state_loads_strictly(activation, norm):
    """Whatever of gamma, beta and bias is learned."""
    for bias, gamma, beta in [(True, True, False), (False, False, True)]:
        config = ModelConfig((4, 3), activation, norm=norm, bias=bias, gamma=gamma, beta=beta)
        state, trained = initial_state_dict(config, 5, 2, 0)
        tensors = {key: torch.from_numpy(np.asarray(value)) for key, value in state.items()}
        mlp(config, 5, 2).load_state_dict(tensors, strict=True)
        assert ("norm1.weight" in trained, "norm1.bias" in trained) == (
            (gamma, beta) if norm == "batch" else (False, False)
        )
        assert ("linear1.bias" in trained) == bias


def test_the_initial_weights_are_those_of_all_published_results():
    """A checksum of the numbers themselves, rounded to float32 as the runs round them.

    torch's vectorised and scalar generators may differ in the last bits of a float64, so the sums
    are compared to 12 digits where the checksum differs.
    """
    config = ModelConfig((100, 100, 100), bias_std=0.1)
    state, _ = initial_state_dict(config, 784, 10, 3)
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(np.ascontiguousarray(state[key].astype(np.float32)).tobytes())
    if digest.hexdigest() != CHECKSUM:
        sums = [float(np.abs(value).sum()) for value in state.values()]
        np.testing.assert_allclose(sums, SUMS, rtol=1e-12)


def test_the_initial_weights_depend_on_the_seed_and_the_parameter_alone():
    """Other layers, a norm, or no bias change nothing."""
    one, _ = initial_state_dict(ModelConfig((6, 5)), 4, 3, 1)
    other, _ = initial_state_dict(ModelConfig((6, 7, 8), norm="batch", bias=False), 4, 3, 1)
    np.testing.assert_array_equal(one["linear1.weight"], other["linear1.weight"])
    assert not np.array_equal(one["linear1.weight"].ravel()[:6], one["linear2.weight"].ravel()[:6])


@pytest.mark.parametrize("engine", ["kernels", "torch"])
def test_both_engines_begin_with_the_initial_state(engine):
    """Rounded to the run's dtype."""
    made = settings(train={"dtype": "float32"})
    (state,) = make(engine, made, seeds=(4,)).state_dicts()
    expected, _ = initial_state_dict(made.model, 64, 10, 4)
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(state[key], value.astype(state[key].dtype))


# Computed with the first edition's `Network`, and equal to it when this was written.
CHECKSUM = "789a0edb34a2006f3d210e73e42e841640f7d65b74681644bbe86f755e0bb43b"
SUMS = [
    3127.6343382566693,
    9.353793348843924,
    398.0150567589412,
    8.363492695473154,
    395.7599589353773,
    9.11023330736857,
    40.39856203020603,
    0.0,
]
