"""What `bnexp verify --explain` says is what is so."""

import pytest
import torch
from torch import nn

from bnexp.errors import ConfigError
from bnexp.verify import explanations
from bnexp.verify.computation_graph import backward_nodes
from bnexp.verify.implementations import EPS


def case(m=7, units=3):
    """x, gamma, beta and the gradient of the output."""
    generator = torch.Generator().manual_seed(1)
    x, upstream = torch.randn((2, m, units), generator=generator, dtype=torch.float64)
    gamma, beta = torch.randn((2, units), generator=generator, dtype=torch.float64)
    return x, gamma, beta, upstream


# The networks that the checks train are trained once, where one process makes all of these tests.
pytestmark = pytest.mark.xdist_group("verify")


def test_every_node_of_the_backward_pass_has_the_gradient_that_autograd_finds():
    """To 1e-12, for each of the eleven values of the graph."""
    nodes = backward_nodes(*case())
    assert [node.step for node in nodes] == [9, 9, 8, 8, 7, 6, 5, 4, 3, 2, 1]
    for node in nodes:
        assert node.gap <= 1e-12, node.of
        assert node.ours.abs().max() > 1e-3, node.of


def test_the_last_node_is_the_gradient_of_torchs_own_batch_norm():
    """The graph written out is the same function as F.batch_norm."""
    x, gamma, beta, upstream = case()
    leaf = x.clone().requires_grad_()
    y = nn.functional.batch_norm(leaf, None, None, gamma, beta, training=True, eps=EPS)
    (expected,) = torch.autograd.grad(y, leaf, upstream)
    torch.testing.assert_close(backward_nodes(x, gamma, beta, upstream)[-1].ours, expected)


def test_the_backward_pass_is_printed_node_by_node():
    """Each with its formula, our value and autograd's, under the derivation."""
    text = explanations.explain(3)
    assert "The six equations of section 3" in text
    lines = [line.split() for line in text.splitlines() if line.strip()[:1].isdigit()]
    (var,) = (line for line in lines if "d_var" in line and line[0] == "5")
    assert var[2:6] == ["d_sd", "/", "(2", "sd)"]
    assert var[6] == var[7]


def test_a_constant_that_is_added_leaves_the_table_of_outputs_as_it_is():
    """x against x + 10."""
    lines = explanations.explain(7).splitlines()[-5:]
    for line in lines:
        x, moved, y, y_moved, gap = line.split()
        assert float(moved) == float(x) + 10
        assert y == y_moved
        assert float(gap) < 1e-12


@pytest.mark.parametrize("number", [*range(1, 18), 30])
def test_every_check_without_an_experiment_can_be_explained(number):
    """With a derivation, and with what was measured."""
    derivation, _, measured = explanations.explain(number).partition("\n\n")
    assert len(derivation) > 80
    assert "holds" in measured
    assert f" {number}  " in measured


def test_a_number_without_a_check_is_refused():
    """With the numbers that there are."""
    with pytest.raises(ConfigError, match=r"--explain 18: no such check; .* 1, 2, 3, .* 17, 30$"):
        explanations.explain(18)
