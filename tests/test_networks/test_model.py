"""The networks against torch's own modules, autograd and finite differences."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from bnexp.config.experiment import ModelConfig
from bnexp.networks.activations import LEAKY_SLOPE
from bnexp.networks.backend import NumpyBackend, TorchBackend
from bnexp.networks.model import Network

FEATURES, CLASSES, HIDDEN, EXAMPLES, SEEDS = 12, 4, (7, 5), 9, (3, 8)
ACTIVATIONS = {
    "sigmoid": torch.nn.Sigmoid(),
    "tanh": torch.nn.Tanh(),
    "relu": torch.nn.ReLU(),
    "leaky_relu": torch.nn.LeakyReLU(LEAKY_SLOPE),
    "identity": torch.nn.Identity(),
}
MODELS = [
    ModelConfig(HIDDEN, activation, 0.5, bias, 0.3, norm, gamma, beta)
    for activation, bias, (norm, gamma, beta) in itertools.product(
        ACTIVATIONS,
        (True, False),
        [("none", True, True), *(("batch", g, b) for g in (True, False) for b in (True, False))],
    )
]


def build(config, seeds=SEEDS, backend=None):
    """A network whose gamma and beta have left their initial values."""
    network = Network(config, FEATURES, CLASSES, seeds, backend or NumpyBackend("float64"))
    rng = np.random.default_rng(0)
    for key, value in network.parameters.items():
        if key.endswith(("gamma", "beta")):
            moved = torch.from_numpy(rng.normal(1, size=tuple(value.shape)))
            value[...] = network.backend.asarray(moved)
    return network


def batch(examples=EXAMPLES):
    """x (S, B, features) and one-hot targets (S, B, classes)."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(len(SEEDS), examples, FEATURES))
    return x, np.eye(CLASSES)[rng.integers(CLASSES, size=(len(SEEDS), examples))]


def torch_network(network, index):
    """The same network in torch's modules, for one seed."""
    config, layers = network.config, []
    for number in range(1, network.depth + 1):
        key, hidden = f"layers.{number}.", number < network.depth
        weight = torch.tensor(network.parameters[key + "weight"][index])
        has_bias = key + "bias" in network.parameters
        linear = torch.nn.Linear(*weight.shape, bias=has_bias, dtype=torch.float64)
        linear.weight.data = weight.T
        if has_bias:
            linear.bias.data = torch.tensor(network.parameters[key + "bias"][index])
        layers.append(linear)
        if hidden and config.norm == "batch":
            norm = torch.nn.BatchNorm1d(
                weight.shape[1], config.norm_eps, config.norm_momentum, dtype=torch.float64
            )
            if config.gamma:
                norm.weight.data = torch.tensor(network.parameters[key + "gamma"][index])
            if config.beta:
                norm.bias.data = torch.tensor(network.parameters[key + "beta"][index])
            layers.append(norm)
        if hidden:
            layers.append(ACTIVATIONS[config.activation])
    return torch.nn.Sequential(*layers)


@pytest.mark.parametrize(
    "config", MODELS, ids=lambda c: f"{c.activation}-{c.norm}-{c.bias}-{c.gamma}-{c.beta}"
)
def test_forward_backward_and_running_statistics_match_torch(config):
    """Loss, every gradient, running statistics and evaluation mode are torch's to 1e-10."""
    network, (x, targets) = build(config), batch()
    work = network.workspace(EXAMPLES)
    network.forward(x, work, "batch")
    loss = network.loss(work, targets)
    network.backward(x, work)
    network.update_running(work)
    evaluated = network.forward(x, network.workspace(EXAMPLES), "running")
    for index in range(len(SEEDS)):
        reference = torch_network(network, index)
        labels = torch.tensor(targets[index].argmax(1))
        expected = torch.nn.functional.cross_entropy(reference(torch.tensor(x[index])), labels)
        expected.backward()
        assert loss[index] == pytest.approx(expected.item(), abs=1e-12)
        modules = [m for m in reference if isinstance(m, torch.nn.Linear | torch.nn.BatchNorm1d)]
        number = 0
        for module in modules:
            number += isinstance(module, torch.nn.Linear)
            names = (
                {"weight": "weight", "bias": "bias"}
                if isinstance(module, torch.nn.Linear)
                else {"weight": "gamma", "bias": "beta"}
            )
            for theirs, ours in names.items():
                gradient = network.gradients.get(f"layers.{number}.{ours}")
                if gradient is not None:
                    wanted = getattr(module, theirs).grad.numpy()
                    wanted = wanted.T if ours == "weight" else wanted
                    np.testing.assert_allclose(gradient[index], wanted, atol=1e-10, rtol=0)
            if isinstance(module, torch.nn.BatchNorm1d):
                for name in ("running_mean", "running_var"):
                    ours = network.running[f"layers.{number}.{name}"][index]
                    np.testing.assert_allclose(ours, getattr(module, name), atol=1e-12, rtol=0)
        reference.eval()
        wanted = reference(torch.tensor(x[index])).detach()
        np.testing.assert_allclose(evaluated[index], wanted, atol=1e-10, rtol=0)


def test_the_torch_backend_computes_what_the_numpy_backend_computes():
    """A step's loss and gradients are the same through both, to rounding, for every model."""
    for config in MODELS:
        results = []
        for backend in (NumpyBackend("float64"), TorchBackend("float64", "cpu")):
            network = build(config, backend=backend)
            x, targets = (backend.asarray(torch.from_numpy(a)) for a in batch())
            work = network.workspace(EXAMPLES)
            network.forward(x, work, "batch")
            loss = network.loss(work, targets)
            network.backward(x, work)
            network.update_running(work)
            state = [network.gradient_vector, loss, *network.running.values()]
            results.append([backend.numpy(a) for a in state])
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-12, rtol=0)


def test_gradient_matches_finite_differences():
    """Central differences of the loss agree with the written-out backward pass to 1e-8."""
    network, (x, targets) = build(ModelConfig(HIDDEN, "tanh", 0.5, False, 0.0, "batch")), batch()
    work = network.workspace(EXAMPLES)

    def loss():
        network.forward(x, work, "batch")
        return network.loss(work, targets).sum()

    loss()
    network.backward(x, work)
    gradient, h = network.gradient_vector.copy(), 1e-5
    for index in range(0, len(network.vector), 7):
        kept = network.vector[index]
        network.vector[index] = kept + h
        above = loss()
        network.vector[index] = kept - h
        below = loss()
        network.vector[index] = kept
        assert gradient[index] == pytest.approx((above - below) / (2 * h), abs=1e-8)


def test_backward_in_evaluation_mode_matches_autograd():
    """With running statistics the gradient of a bias before BN is autograd's, and not zero."""
    network, (x, targets) = build(MODELS[1]), batch()
    assert network.config.norm == "batch"
    work = network.workspace(EXAMPLES)
    network.forward(x, work, "running")
    network.loss(work, targets)
    network.backward(x, work)
    for index in range(len(SEEDS)):
        reference = torch_network(network, index).eval()
        labels = torch.tensor(targets[index].argmax(1))
        torch.nn.functional.cross_entropy(reference(torch.tensor(x[index])), labels).backward()
        ours = network.gradients["layers.1.bias"][index]
        assert np.abs(ours).max() > 1e-3
        np.testing.assert_allclose(ours, reference[0].bias.grad, atol=1e-10, rtol=0)


def test_initial_weights_depend_on_seed_and_parameter_alone():
    """Norm, bias and the other seeds of the stack change no bit of a seed's weights."""
    plain = Network(ModelConfig(HIDDEN), FEATURES, CLASSES, (0, 3, 7), NumpyBackend("float32"))
    normed = replace(plain.config, norm="batch", bias=False)
    alone = Network(normed, FEATURES, CLASSES, (3,), NumpyBackend("float32"))
    for number in (1, 2, 3):
        key = f"layers.{number}.weight"
        np.testing.assert_array_equal(plain.parameters[key][1], alone.parameters[key][0])
        assert not np.array_equal(plain.parameters[key][0], plain.parameters[key][1])


def test_initial_weights_have_the_configured_deviation():
    """weight_std is the Gaussian's; null means 1 / sqrt(fan_in)."""
    for std, expected in ((0.05, 0.05), (None, 400**-0.5)):
        config = ModelConfig((300,), weight_std=std)
        weights = Network(config, 400, CLASSES, (0,), NumpyBackend("float64")).parameters
        assert weights["layers.1.weight"].std() == pytest.approx(expected, rel=0.01)
        assert not weights["layers.1.bias"].any()


def test_batch_statistics_of_one_example_are_refused():
    """m = 1 in training mode is an error with a clear message; evaluation mode is none."""
    network, (x, _) = build(replace(MODELS[1])), batch(examples=1)
    with pytest.raises(ValueError, match="needs 2 examples or more"):
        network.forward(x, network.workspace(1), "batch")
    network.forward(x, network.workspace(1), "running")


def test_a_probe_pass_leaves_the_running_statistics_alone():
    """Forward with batch statistics changes no state; update_running does."""
    network, (x, _) = build(MODELS[1]), batch()
    before = {key: value.copy() for key, value in network.state().items()}
    work = network.workspace(EXAMPLES)
    network.forward(x, work, "batch")
    for key, value in network.state().items():
        np.testing.assert_array_equal(value, before[key])
    network.update_running(work)
    assert not np.array_equal(
        network.running["layers.1.running_mean"], before["layers.1.running_mean"]
    )


def test_extreme_preactivations_give_no_overflow():
    """The sigmoid of +-1000 is exactly 0 and 1 in float32, without a warning."""
    network = Network(ModelConfig((2,)), 1, 2, (0,), NumpyBackend("float32"))
    network.parameters["layers.1.weight"][...] = 1.0
    work = network.workspace(2)
    network.forward(np.array([[[1000.0], [-1000.0]]], np.float32), work, "batch")
    np.testing.assert_array_equal(work.layers[0].activation[0, :, 0], [1.0, 0.0])
