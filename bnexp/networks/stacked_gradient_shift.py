"""The update of a stack of runs, with the gradient shift that it causes in each."""

import torch
from torch import Tensor

from bnexp.files.run_folder import GradientShiftRow
from bnexp.networks.gradient_shift import gradient_shift
from bnexp.networks.stacked import StackedMLP, cross_entropy, host


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
