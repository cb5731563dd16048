"""Batch norm's backward pass as a computation graph, node by node.

The forward pass is nine nodes, each a single operation on the results of those before it:

    1  mu     = mean of x           4  var  = mean of square      7  x_hat  = centered * inv
    2  centered = x - mu            5  sd   = sqrt(var + eps)     8  scaled = gamma * x_hat
    3  square = centered^2          6  inv  = 1 / sd              9  y      = scaled + beta

The backward pass walks through them from the last to the first. Each node turns the gradient of
its result into those of its operands by the derivative of its one operation; where a value is used
twice, as `centered` by nodes 3 and 7, its gradients add up. Solved for x, the nine steps are the
six equations of section 3.
"""

from dataclasses import dataclass

import torch

from bnexp.verify.check import largest
from bnexp.verify.implementations import EPS


@dataclass(frozen=True)
class Node:
    """The gradient of the loss for one value of the graph.

    Attributes:
        step: the node whose operation is differentiated; 0 for sums over two nodes.
        of: the value that the gradient is for.
        formula: of the gradient, by those of later nodes. `d_v` is dL/dv.
        ours: by the formula.
        autograd: what torch finds.
    """

    step: int
    of: str
    formula: str
    ours: torch.Tensor
    autograd: torch.Tensor

    @property
    def gap(self) -> float:
        """The largest difference between the two."""
        return largest(self.ours - self.autograd)


def backward_nodes(
    x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor, upstream: torch.Tensor
) -> list[Node]:
    """The backward pass in its order, each gradient beside autograd's.

    Args:
        x: (m, units), float64.
        gamma: (units,).
        beta: (units,).
        upstream: (m, units): dL/dy.
    """
    leaves = [each.clone().requires_grad_() for each in (x, gamma, beta)]
    m, (at_x, at_gamma, at_beta) = len(x), leaves
    mu = at_x.mean(0)
    centered = at_x - mu
    square = centered**2
    var = square.mean(0)
    sd = (var + EPS).sqrt()
    inv = 1 / sd
    x_hat = centered * inv
    scaled = at_gamma * x_hat
    y = scaled + at_beta
    values = {
        "beta": at_beta, "scaled": scaled, "gamma": at_gamma, "x_hat": x_hat, "inv": inv, "sd": sd,
        "var": var, "square": square, "centered": centered, "mu": mu, "x": at_x,
    }  # fmt: skip
    found = torch.autograd.grad(y, [*values.values()], upstream)
    autograd = dict(zip(values, found, strict=True))
    with torch.no_grad():
        d_beta, d_scaled = upstream.sum(0), upstream
        d_gamma, d_x_hat = (d_scaled * x_hat).sum(0), d_scaled * gamma
        d_inv = (d_x_hat * centered).sum(0)
        d_sd = -d_inv / sd**2
        d_var = d_sd / (2 * sd)
        d_square = d_var.expand_as(x) / m
        d_centered = d_x_hat * inv + 2 * centered * d_square
        d_mu = -d_centered.sum(0)
        d_x = d_centered + d_mu / m
    steps = (
        (9, "beta", "sum of d_y", d_beta),
        (9, "scaled", "d_y", d_scaled),
        (8, "gamma", "sum of d_scaled * x_hat", d_gamma),
        (8, "x_hat", "d_scaled * gamma", d_x_hat),
        (7, "inv", "sum of d_x_hat * centered", d_inv),
        (6, "sd", "-d_inv / sd^2", d_sd),
        (5, "var", "d_sd / (2 sd)", d_var),
        (4, "square", "d_var / m", d_square),
        (3, "centered", "d_x_hat * inv + 2 centered * d_square", d_centered),
        (2, "mu", "-sum of d_centered", d_mu),
        (1, "x", "d_centered + d_mu / m", d_x),
    )
    return [Node(step, of, formula, ours, autograd[of]) for step, of, formula, ours in steps]
