"""Check 31: mean and variance by the weights before a unit."""

import torch
from helpers.cases import plain, settings
from torch import nn

from bnexp.verify.check import Verdict
from bnexp.verify.weights import implied_by_weights


def network(std=0.3):
    """A small network without batch norm, and examples for it."""
    made = settings(model={"norm": "none", "bias": True, "weight_std": std, "bias_std": 1.0})
    x = torch.randn((200, 64), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return plain(made), x


def test_mean_and_variance_are_those_that_the_weights_imply():
    """And the distance to a Gaussian's percentiles is told."""
    made, x = network()
    found = implied_by_weights([made], x)
    assert found.verdict is Verdict.HOLDS
    assert "standard deviations from those of a Gaussian" in found.measured


def test_a_layer_whose_output_is_not_its_weights_times_its_input_fails():
    """One that scales its output."""

    class Scaled(nn.Linear):
        def forward(self, x):
            return 1.01 * super().forward(x)

    made, x = network()
    scaled = Scaled(9, 7, dtype=torch.float64)
    scaled.load_state_dict(made.linear2.state_dict())
    made.linear2 = scaled
    assert implied_by_weights([made], x).verdict is Verdict.FAILS


def test_a_network_whose_units_are_the_same_for_every_example_is_not_tested():
    """One that diverged: there is no variance to imply, and nothing is divided by it."""
    made, x = network()
    torch.nn.init.zeros_(made.linear1.weight)
    torch.nn.init.constant_(made.linear1.bias, -1e6)
    assert implied_by_weights([made], x).verdict is Verdict.NOT_TESTED
