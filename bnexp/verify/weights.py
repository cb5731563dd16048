"""Check 31: without batch norm, mean and variance are implicit in the weights."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from bnexp.analysis.distributions import normal_quantiles
from bnexp.verify.check import Finding, check, found, largest, not_tested
from bnexp.verify.networks import linear_layers


@check(
    31,
    "section 2: the distribution of a layer's inputs depends on all layers before it",
    "mean and variance to 1e-9 of the largest",
)
@torch.no_grad()
def implied_by_weights(networks: Sequence[nn.Sequential], x: torch.Tensor) -> Finding:
    """Without BN a unit's mean and variance are w'mu + b and w'Sigma w, and not parameters.

    Let mu and Sigma be the mean and the covariance of the activations of the layer before, over
    some examples. The pre-activation z = w'a + b then has the mean w'mu + b and the variance
    w'Sigma w, so every update of any layer before moves both. With BN they are beta and gamma^2,
    and two parameters of the unit itself decide. Percentiles follow from mean and variance as far
    as the distribution is Gaussian: P_q = mean + z_q sd. How far they are from that is told, as the
    root mean square over percentiles 15, 50 and 85 and over units, in standard deviations.

    Networks and examples are of float64.
    """
    gaps, shape = [], []
    for network in networks:
        last = linear_layers(network)[-2]
        activations = x
        for module in network:
            if module is last:
                break
            activations = module(activations)
        mu = activations.mean(0)
        centered = activations - mu
        covariance = centered.T @ centered / len(x)
        mean = last.weight @ mu + last.bias
        variance = ((last.weight @ covariance) * last.weight).sum(1)
        if not variance.any():  # it diverged, and its units are saturated for all examples
            return not_tested("a network gives every example the same values in its last layer")
        z = last(activations)
        gaps.append(largest(mean - z.mean(0)) / largest(mean))
        gaps.append(largest(variance - z.var(0, correction=0)) / largest(variance))
        quantiles = torch.as_tensor(normal_quantiles((15.0, 50.0, 85.0)))[:, None]
        measured = torch.quantile(z, torch.tensor([0.15, 0.5, 0.85], dtype=torch.float64), dim=0)
        off = (measured - mean - quantiles * variance.sqrt()) / variance.sqrt()
        shape.append(float(off.square().mean().sqrt()))
    return found(
        largest(*gaps) <= 1e-9,
        f"to {largest(*gaps):.0e}; percentiles are {np.mean(shape):.2f} standard deviations from "
        "those of a Gaussian with them",
    )
