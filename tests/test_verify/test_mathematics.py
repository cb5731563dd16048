"""Checks 1 to 17 and 30 hold, and each of them fails for the mistake that it is there to find."""

import itertools
import json
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from bnexp.verify import bias, gamma, gradients, inference, networks, normalization, seeds, suite
from bnexp.verify.check import Verdict
from bnexp.verify.networks import initial_network, linear_layers, minibatches


def batch_norm(  # noqa: PLR0913  (one for each mistake)
    *,
    axes=0,
    correction=0,
    centre=1.0,
    eps=lambda eps: eps,
    gamma=lambda gamma: gamma,
    constants=False,
    mode=None,
    momentum=lambda momentum: momentum,
    running_correction=1,
    always_moves=False,
    fewest=2,
):
    """A batch norm in plain PyTorch, which is right by default, with mistakes to switch on.

    Args:
        axes: over which mean and variance are taken; (0, 1) shares them between the units.
        correction: 1 for the unbiased variance in training.
        centre: the share of the mean that is subtracted.
        eps: from the right eps to the one that is used.
        gamma: from the right gamma to the one that is used.
        constants: the gradient takes mean and variance for constants.
        mode: whose statistics are used, "batch" or "running", whatever is asked for.
        momentum: from the right momentum to the one that is used.
        running_correction: 0 for the biased variance in the running statistics.
        always_moves: evaluation moves the running statistics as well.
        fewest: examples that are accepted in training.
    """

    class Norm(nn.BatchNorm1d):
        def forward(self, x):
            if self.training and len(x) < fewest:
                raise ValueError(f"{len(x)} example")
            moments = torch.var_mean(x, axes, correction=correction, keepdim=True)
            var, mean = (each.squeeze(0) for each in moments)
            if constants:
                mean, var = mean.detach(), var.detach()
            if (mode or ("batch" if self.training else "running")) == "running":
                mean, var = self.running_mean, self.running_var
            normalized = (x - centre * mean) / (var + eps(self.eps)).sqrt()
            if (self.training or always_moves) and len(x) > 1:
                k = momentum(self.momentum)
                with torch.no_grad():
                    var, mean = torch.var_mean(x, 0, correction=running_correction)
                    self.running_mean.lerp_(mean, k)
                    self.running_var.lerp_(var, k)
            return gamma(self.weight) * normalized + self.bias

    return Norm


def building(norm=nn.BatchNorm1d, activation=None):
    """A function that builds networks with this batch norm, and with this activation if given."""

    def build(*arguments):
        network = initial_network(*arguments)
        for i, module in enumerate(network):
            if isinstance(module, nn.BatchNorm1d):
                network[i] = norm(module.num_features, module.eps, module.momentum).double()
                network[i].weight.requires_grad_(module.weight.requires_grad)
                network[i].bias.requires_grad_(module.bias.requires_grad)
            elif activation is not None and not isinstance(module, nn.Linear):
                network[i] = activation()
        return network

    return build


def with_exact_bias_gradients(*arguments):
    """Networks whose hidden biases have the gradient 0, without rounding."""
    network = initial_network(*arguments)
    for linear in linear_layers(network)[:-1]:
        if linear.bias is not None:
            linear.bias.register_hook(torch.zeros_like)
    return network


def with_one_stream(model, features, classes, seed):
    """Networks whose parameters come from one stream, so that a bias shifts what follows it."""
    network = initial_network(model, features, classes, seed)
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for linear in linear_layers(network):
            for parameter in linear.parameters():
                parameter.normal_(generator=stream)
    return network


def with_gamma_at_2(*arguments):
    """Networks that begin with gamma 2 where gamma is learned."""
    network = initial_network(*arguments)
    for module in network:
        if isinstance(module, nn.BatchNorm1d) and module.weight.requires_grad:
            nn.init.constant_(module.weight, 2.0)
    return network


def batches_of_one_seed(dataset, size, _seed, dtype):
    """The same minibatches for every seed."""
    return minibatches(dataset, size, 0, dtype)


def double(value):
    """A value twice as large."""
    return 2 * value


def nothing(_value):
    """What a scale of 0, or a momentum of 0, makes of everything."""
    return 0.0


CONSTANTS = batch_norm(constants=True)
ON_BATCH = batch_norm(mode="batch")
WITHOUT_GAMMA = batch_norm(gamma=lambda gamma: 1 + 0 * gamma)
NEVER_MOVED = batch_norm(momentum=nothing)
# Checks of a batch norm by itself, with the batch norm that has the mistake.
OF_NORMS = {
    "1 mean and variance shared by the units": (normalization.moments, batch_norm(axes=(0, 1))),
    "1 wrong eps": (normalization.moments, batch_norm(eps=double)),
    "1 unbiased variance": (normalization.moments, batch_norm(correction=1)),
    "1 gamma not applied": (normalization.moments, WITHOUT_GAMMA),
    "2 wrong eps": (normalization.identity, batch_norm(eps=double)),
    "2 no eps": (normalization.identity, batch_norm(eps=nothing)),
    "2 unbiased variance": (normalization.identity, batch_norm(correction=1)),
    "3 statistics taken for constants": (gradients.backward, CONSTANTS),
    "3 gamma not applied": (gradients.backward, WITHOUT_GAMMA),
    "4 batch statistics in evaluation": (normalization.others_matter, ON_BATCH),
    "4 running statistics in training": (
        normalization.others_matter,
        batch_norm(mode="running"),
    ),
    "5 moved in evaluation": (inference.moving_averages, batch_norm(always_moves=True)),
    "5 biased running variance": (inference.moving_averages, batch_norm(running_correction=0)),
    "5 the other convention of momentum": (
        inference.moving_averages,
        batch_norm(momentum=lambda k: 1 - k),
    ),
    "7 a share of the mean left in": (normalization.added_constant, batch_norm(centre=0.999)),
    "10 batch statistics in evaluation": (bias.allclose, ON_BATCH),
    "10 running statistics never updated": (bias.allclose, NEVER_MOVED),
}
# Checks of networks, with the function that builds the network with a mistake.
OF_NETWORKS = {
    "6 mean taken for a constant": (bias.bias_gradient, building(CONSTANTS)),
    "6 batch statistics in evaluation": (bias.bias_gradient, building(ON_BATCH)),
    "8 a share of the bias left in": (bias.bias_in_training, building(batch_norm(centre=0.999))),
    "9 bias not trained at all": (bias.bias_drift, with_exact_bias_gradients),
    "9 mean taken for a constant": (bias.bias_drift, building(CONSTANTS)),
    "11 gamma not applied": (gamma.fold, building(WITHOUT_GAMMA)),
    "12 gamma not applied": (gamma.fold_sign, building(WITHOUT_GAMMA)),
    "12 sigmoid is linear": (gamma.fold_sign, building(activation=nn.Identity)),
    "13 gamma ignored": (gamma.ablation, building(WITHOUT_GAMMA)),
    "13 gamma begins elsewhere": (gamma.ablation, with_gamma_at_2),
    "13 sigmoid is linear": (gamma.ablation, building(activation=nn.Identity)),
    "14 large eps": (gradients.scale_invariance, building(batch_norm(eps=lambda _: 1e-5))),
    "14 variance taken for a constant": (gradients.scale_invariance, building(CONSTANTS)),
    "15 running statistics never updated": (
        inference.running_statistics_on_digits,
        building(NEVER_MOVED),
    ),
    "15 moved too slowly": (
        inference.running_statistics_on_digits,
        building(batch_norm(momentum=lambda _: 0.001)),
    ),
    "17 a bias shifts the stream": (seeds.same_seed, with_one_stream),
}


@pytest.fixture
def fewer_steps(monkeypatch):
    """Of trainings with 1,000 steps, the first 300: they are enough to show every mistake."""

    def shorter(build, model, config=networks.SGD, seed=0):
        return networks.train(build, model, replace(config, steps=min(config.steps, 300)), seed)

    for module in (bias, gamma, inference):
        monkeypatch.setattr(module, "train", shorter)


@pytest.mark.xdist_group("verify")  # which has trained the networks already
def test_all_checks_without_an_experiment_hold():
    """In order, each once, and ready for JSON."""
    found = list(suite.checks())
    assert [check.number for check in found] == [*range(1, 18), 30]
    assert [check for check in found if check.verdict is not Verdict.HOLDS] == []
    assert len(json.loads(json.dumps([asdict(check) for check in found]))) == 18


@pytest.mark.parametrize("name", OF_NORMS)
def test_a_check_fails_for_a_batch_norm_with_its_mistake(name):
    """The text says which implementation it was."""
    check, norm = OF_NORMS[name]
    found = check({"broken": norm})
    assert found.number == int(name.split()[0])
    assert found.verdict is Verdict.FAILS, found.measured
    assert found.measured.startswith("broken: ")


@pytest.mark.usefixtures("fewer_steps")
@pytest.mark.parametrize("name", OF_NETWORKS)
def test_a_check_fails_for_networks_with_its_mistake(name):
    """A number stands before each mistake: that very check must fail."""
    check, build = OF_NETWORKS[name]
    found = check(build)
    assert found.number == int(name.split()[0])
    assert found.verdict is Verdict.FAILS, found.measured


def test_check_16_fails_where_one_example_is_normalized_or_the_config_accepts_it():
    """Both torch's class and bnexp's config must refuse a minibatch of one example."""
    accepting = normalization.one_example(norm=batch_norm(fewest=1))
    assert accepting.verdict is Verdict.FAILS
    silent = normalization.one_example(mistakes=lambda _: [])
    assert silent.verdict is Verdict.FAILS


def test_check_17_fails_where_all_seeds_see_the_same_minibatches():
    """Seeds must differ in what they see, and not only in their weights."""
    assert seeds.same_seed(batches=batches_of_one_seed).verdict is Verdict.FAILS


class KeepsItsMean(nn.BatchNorm2d):
    """A batch norm of channels that divides by the deviation and forgets to subtract the mean."""

    def forward(self, x):
        """Normalize."""
        mean = x.mean((0, 2, 3)) if self.training else torch.zeros(x.shape[1])
        return super().forward(x) + mean[:, None, None]


class ForgetsItsMode(nn.BatchNorm2d):
    """A batch norm of channels that uses the minibatch's statistics in evaluation too."""

    def forward(self, x):
        """Normalize."""
        return nn.functional.batch_norm(x, None, None, training=True)


@pytest.mark.parametrize("norm", [KeepsItsMean, ForgetsItsMode])
def test_check_30_fails_for_a_batch_norm_of_channels_with_a_mistake(norm):
    """One that shows the bias in training, and one that hides it in evaluation."""
    assert bias.convolution(norm).verdict is Verdict.FAILS


def test_check_30_leaves_the_global_random_state_alone():
    """Its convolutions are filled from a generator of their own."""
    before = torch.random.get_rng_state()
    bias.convolution()
    assert torch.equal(before, torch.random.get_rng_state())


def test_one_broken_implementation_among_several_is_enough_to_fail():
    """A correct one beside it does not hide the mistake."""
    both = {"torch": nn.BatchNorm1d, "broken": batch_norm(correction=1)}
    assert normalization.moments(both).verdict is Verdict.FAILS


@pytest.mark.usefixtures("fewer_steps")
def test_the_plain_batch_norm_without_a_mistake_satisfies_every_check():
    """So the mistakes above are found, and not the stand-in that carries them."""
    right = batch_norm()
    for check, _ in OF_NORMS.values():
        assert check({"plain": right}).verdict is Verdict.HOLDS, check.__name__
    build = building(right)
    for check in {check for check, _ in OF_NETWORKS.values()}:
        assert check(build).verdict is Verdict.HOLDS, check.__name__


def test_a_measurement_that_is_no_number_does_not_hold():
    """Every comparison with NaN is false, so a check that asks the wrong way round would hold."""
    norm = batch_norm(centre=float("nan"))
    for check in (
        normalization.moments,
        normalization.identity,
        gradients.backward,
        normalization.others_matter,
        normalization.added_constant,
    ):
        assert check({"broken": norm}).verdict is Verdict.FAILS, check.__name__
    assert gamma.fold(building(norm)).verdict is Verdict.FAILS


def test_the_chain_rule_is_what_autograd_finds_for_every_shape():
    """The six equations against torch's own derivative, for several sizes of a minibatch."""
    for m, units in itertools.product((3, 60), (1, 5)):
        x, g = torch.randn((2, m, units), dtype=torch.float64)
        weight = torch.randn(units, dtype=torch.float64)
        leaves = [x.requires_grad_(), weight.requires_grad_()]
        y = nn.functional.batch_norm(x, None, None, weight, None, training=True, eps=1e-5)
        wanted = torch.autograd.grad(y, leaves, g)
        with torch.no_grad():
            d_x, d_gamma, _ = gradients.chain_rule(x, weight, g, 1e-5)
        torch.testing.assert_close((d_x, d_gamma), wanted, rtol=1e-9, atol=1e-9)
