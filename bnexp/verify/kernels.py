"""bnexp's own compiled batch norm as a module of PyTorch, so that the same checks measure it.

The arithmetic is that of `bnexp.networks.kernels.batch_norm`, called as the kernels engine calls
it. Only what is around it is PyTorch: parameters, buffers, and autograd, which asks the compiled
backward pass for its gradients. This module needs Numba.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bnexp.networks.kernels import batch_norm as kernels
from bnexp.networks.kernels.compiler import entry
from bnexp.verify.networks import tensors

Floats = NDArray[np.floating]


@entry
def _forward(
    x: Floats,
    gamma: Floats,
    beta: Floats,
    running_mean: Floats,
    running_var: Floats,
    eps: float,
    momentum: float,
    training: bool,
) -> tuple[Floats, Floats, Floats]:
    """y, x-hat and 1 / sqrt(var + eps); in training the running statistics move."""
    x_hat, y, inv_std = x.copy(), np.empty_like(x), np.empty_like(gamma)
    if training:
        mean, var = np.empty_like(gamma), np.empty_like(gamma)
        kernels.batch_statistics(x_hat, mean, var)
        kernels.normalize(x_hat, var, eps, inv_std)
        kernels.move_running(
            mean, var, x.shape[0], 1 - momentum, momentum, running_mean, running_var
        )
    else:
        kernels.subtract(x_hat, running_mean)
        kernels.normalize(x_hat, running_var, eps, inv_std)
    kernels.scale_and_shift(x_hat, gamma, beta, y)
    return y, x_hat, inv_std


@entry
def _backward(
    upstream: Floats, x_hat: Floats, gamma: Floats, inv_std: Floats
) -> tuple[Floats, Floats, Floats]:
    """The gradients of x, gamma and beta in training mode."""
    d, d_gamma, d_beta = upstream.copy(), np.empty_like(gamma), np.empty_like(gamma)
    kernels.batch_norm_backward(d, x_hat, gamma, inv_std, d_gamma, d_beta)
    return d, d_gamma, d_beta


class _Function(torch.autograd.Function):
    """The two compiled passes as one function of autograd."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        gamma: torch.Tensor,
        beta: torch.Tensor,
        norm: nn.BatchNorm1d,
    ) -> torch.Tensor:
        """y of a minibatch x (m, units)."""
        _, _, mean, var = tensors(norm)
        y, x_hat, inv_std = _forward(
            x.detach().contiguous().numpy(),
            gamma.detach().numpy(),
            beta.detach().numpy(),
            mean.numpy(),
            var.numpy(),
            norm.eps,
            float(norm.momentum or 0),
            norm.training,
        )
        ctx.save_for_backward(torch.from_numpy(x_hat), gamma, torch.from_numpy(inv_std))
        return torch.from_numpy(y)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients of x, gamma and beta, and none of the module."""
        saved = (each.detach().numpy() for each in ctx.saved_tensors)
        gradients = _backward(upstream[0].contiguous().numpy(), *saved)
        return *(torch.from_numpy(each) for each in gradients), None


class KernelBatchNorm(nn.BatchNorm1d):
    """Batch norm by the kernels, in float64, since they take eps and momentum in x's precision."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize a minibatch x (m, units)."""
        y: torch.Tensor = _Function.apply(x, self.weight, self.bias, self)
        return y
