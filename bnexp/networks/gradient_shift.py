"""Internal covariate shift as a change of gradients (Santurkar et al. 2018, Definition 2.1).

For layer i, let G be the gradient of its weights at the old parameters, and G' the one after the
layers before i, and only they, have made their update, both on the same minibatch. How far the
update of the layers before has moved the gradient is

    distance = ||G - G'||, relative_distance = ||G - G'|| / ||G||, cosine = <G, G'> / ||G|| ||G'||.

Layer 1 has no layer before it, so its shift is 0 and is not recorded. The definition says nothing
of the running statistics of batch norm: the gradients are those of training mode, and computing
them leaves the running statistics alone.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bnexp.files.run_folder import GradientShiftRow
from bnexp.networks.stacked import StackedMLP, cross_entropy, host


def gradient_shift(
    step: int, before: Sequence[NDArray[Any]], after: Sequence[NDArray[Any]]
) -> list[GradientShiftRow]:
    """The rows of layers 2 and up.

    Args:
        step: of the update.
        before: G of each of these layers, shaped as its weights.
        after: G' of each.
    """
    rows = []
    for layer, gradients in enumerate(zip(before, after, strict=True), 2):
        old, new = (gradient.astype(np.float64).ravel() for gradient in gradients)
        distance = float(np.linalg.norm(old - new))
        norm, other = float(np.linalg.norm(old)), float(np.linalg.norm(new))
        relative = distance / norm if norm > 0 else math.nan
        cosine = float(old @ new) / (norm * other) if norm > 0 and other > 0 else math.nan
        rows.append(GradientShiftRow(step, layer, distance, relative, cosine))
    return rows


def update_and_shift(
    network: StackedMLP, optimizer: torch.optim.Optimizer, step: int, x: Tensor, y: Tensor
) -> list[list[GradientShiftRow]]:
    """Make the update of a step, and compute the shift that it causes.

    Args:
        network: R networks, whose parameters hold their gradients on the minibatches.
        optimizer: of its parameters.
        step: of the update.
        x: (R, B, features), the minibatches.
        y: (R, B), their labels.

    Returns:
        The rows of each run; see `gradient_shift`.
    """
    parameters, weights = [*network.named_parameters()], network.weights
    before = [host(weight.grad) for weight in weights[1:] if weight.grad is not None]
    old = {name: p.detach().clone() for name, p in parameters}
    optimizer.step()
    new = {name: p.detach().clone() for name, p in parameters}
    after = []
    for place in range(1, len(weights)):
        with torch.no_grad():
            for name, p in parameters:
                updated = int(name.split(".")[1]) < place
                p.copy_((new if updated else old)[name])
        logits, _ = network(x)
        loss = cross_entropy(logits, y).mean(1).sum()
        after.append(host(torch.autograd.grad(loss, weights[place])[0]))
    with torch.no_grad():
        for name, p in parameters:
            p.copy_(new[name])
    return [
        gradient_shift(step, [g[run] for g in before], [g[run] for g in after])
        for run in range(len(x))
    ]
