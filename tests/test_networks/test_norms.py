"""Every norm against its formula and against PyTorch's own module, alone and in training."""

import numpy as np
import pytest
import torch
from helpers.cases import (
    OPTIMIZERS,
    assert_same_bits,
    digits,
    make,
    minibatch,
    plain,
    settings,
    trained_as_plainly,
)
from torch import nn

from bnexp.errors import ConfigError
from bnexp.files.axes import axes_of
from bnexp.networks.engine import KERNEL_NORMS, choose_engine
from bnexp.networks.mlp import mlp
from bnexp.networks.norms import NORMS

EPS = 1e-5
FORMULAS = {
    "batch": lambda x: (x - x.mean(0)) / np.sqrt(x.var(0) + EPS),
    "layer": lambda x: (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + EPS),
    "rms": lambda x: x / np.sqrt(np.square(x).mean(1, keepdims=True) + EPS),
}
TYPES = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm, "rms": nn.RMSNorm}
every_norm = pytest.mark.parametrize("norm", NORMS)


def test_every_norm_is_tested_here():
    """A new norm comes with its formula and its type in PyTorch."""
    assert set(NORMS) == set(FORMULAS) == set(TYPES)


@every_norm
def test_a_stack_of_two_runs_is_two_norms_by_the_formula(norm):
    """y = gamma x-hat + beta, each run with its own parameters; rms has no beta."""
    rng = np.random.default_rng(0)
    made = settings(model={"norm": norm}).model
    states = []
    for _ in range(2):
        state = NORMS[norm].module(7, made).double().state_dict()
        learned = {key: torch.from_numpy(rng.normal(size=7)) for key in ("weight", "bias")}
        states.append({key: learned.get(key, value) for key, value in state.items()})
    stacked = NORMS[norm].stacked(made, lambda part: [s[part] for s in states if part in s])
    x = rng.normal(1.0, 2.0, size=(2, 20, 7))
    y = stacked(torch.from_numpy(x), batch_statistics=True, track=False).detach().numpy()
    for run, state in enumerate(states):
        gamma, beta = (np.asarray(state.get(key, 0.0)) for key in ("weight", "bias"))
        expected = gamma * FORMULAS[norm](x[run]) + beta
        np.testing.assert_allclose(y[run], expected, rtol=0, atol=1e-12)
        both = stacked.gamma_and_beta()[run].numpy()
        np.testing.assert_array_equal(both, np.broadcast_arrays(gamma, beta + np.zeros(7)))


@every_norm
def test_the_network_is_made_of_pytorchs_own_modules(norm):
    """The state_dict of a run loads strictly into nn.Sequential, and gives the same logits."""
    made = settings(model={"norm": norm})
    engine = make("torch", made)
    engine.advance(20)
    (state,) = engine.state_dicts()
    network = mlp(made.model, 64, 10).double().eval()
    loaded = {key: torch.from_numpy(np.asarray(value)) for key, value in state.items()}
    network.load_state_dict(loaded, strict=True)
    assert isinstance(network.norm1, TYPES[norm])
    assert network.norm1.eps == made.model.norm_eps
    x = torch.from_numpy(digits().test_x).double()
    ours, _ = engine.network(x[None], batch_statistics=False)
    np.testing.assert_allclose(ours[0].detach(), network(x).detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize(("gamma", "beta"), [(True, True), (False, True), (True, False)])
@pytest.mark.parametrize("case", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
def test_training_equals_a_plain_pytorch_loop(norm, gamma, beta, case):
    """nn.Sequential with torch.optim arrives at the same parameters; what is fixed stays."""
    made = settings(model={"norm": norm, "gamma": gamma, "beta": beta}, train=case)
    state = trained_as_plainly("torch", made)
    moved = {"weight": gamma, "bias": beta}
    for part in [key for key in state if key.startswith("norm1.")]:
        first = plain(made).state_dict()[part].numpy()
        assert (np.abs(state[part] - first).max() > 1e-6) == moved[part.removeprefix("norm1.")]


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_percentiles_are_of_what_the_norm_returns(norm):
    """Row 0 is numpy.percentile of the plain network's norms; gamma and beta stand beside it."""
    made = settings(model={"norm": norm})
    engine = make("torch", made)
    (rows,) = engine.advance(1)
    network, (x, _) = plain(made), minibatch(made, 0)
    first = network[:2](x)
    for values, unit in ((first, slice(9)), (network[2:5](first), slice(9, None))):
        expected = np.percentile(values.detach().numpy(), (15, 50, 85), axis=0)
        np.testing.assert_allclose(rows.minibatch[0][:, unit], expected, atol=1e-6)
    np.testing.assert_array_equal(rows.norm_parameters[0, 0], np.ones(16))
    np.testing.assert_array_equal(rows.norm_parameters[0, 1], np.zeros(16))


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_a_run_depends_on_itself_alone(norm):
    """A stack gives what its runs give alone, and a run goes on from its state, bit for bit."""
    made = settings(model={"norm": norm})
    stack, alone = make("torch", made, seeds=(0, 1)), make("torch", made, seeds=(1,))
    for rows, expected in zip(stack.advance(30)[1:], alone.advance(30), strict=True):
        np.testing.assert_allclose(rows.minibatch, expected.minibatch, atol=1e-6)
    again = make("torch", made, seeds=(1,))
    again.load_state(alone.step, alone.state())
    assert_same_bits(again.advance(10), alone.advance(10))


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_the_kernels_leave_other_norms_to_torch(norm):
    """`auto` means torch for them, and asking for the kernels is a mistake that says so."""
    made = settings(model={"norm": norm})
    assert choose_engine("auto", "cpu", made, numba=True) == "torch"
    with pytest.raises(ConfigError, match=f"kernels, but they have no norm '{norm}'"):
        choose_engine("kernels", "cpu", made, numba=True)
    for known in KERNEL_NORMS:
        made = settings(model={"norm": known})
        assert choose_engine("auto", "cpu", made, numba=True) == "kernels"


@pytest.mark.parametrize(("norm", "expected"), [("batch", True), ("layer", False), ("rms", False)])
def test_only_batch_norm_has_running_statistics_to_compare(norm, expected):
    """The others have gamma and beta, but no statistics of their own."""
    axes = axes_of(settings(model={"norm": norm}, record={"statistics_every": 5}))
    assert axes.norm_parameters
    assert axes.running_statistics == expected


def test_the_norms_differ_in_what_they_keep_steady():
    """At first, batch norm gives each unit mean 0 over examples; layer norm each example."""
    x, _ = minibatch(settings(), 0)
    means = {}
    for norm in ("batch", "layer"):
        values = plain(settings(model={"norm": norm}))[:2](x).detach()
        means[norm] = [float(values.mean(axis).abs().max()) for axis in (0, 1)]
    assert means["batch"][0] < 1e-12 < means["batch"][1]
    assert means["layer"][1] < 1e-12 < means["layer"][0]
