"""The norms of `model.norm`: as PyTorch's own module, and stacked over runs for the torch engine.

Each norm computes y = gamma x-hat + beta for every unit. They differ in x-hat, and in what its mean
and variance are over, for an input x of one example i and unit j:

    batch:  x-hat_ij = (x_ij - mean_j) / sqrt(var_j + eps), over the examples of the minibatch
    layer:  x-hat_ij = (x_ij - mean_i) / sqrt(var_i + eps), over the units of the layer
    rms:    x-hat_ij = x_ij / sqrt(mean_i(x^2) + eps), over the units of the layer, and without beta

Batch norm is Ioffe & Szegedy (2015), layer norm Ba, Kiros & Hinton (2016), and RMS norm Zhang &
Sennrich (2019). Only batch norm makes a unit's distribution over examples steady, and only batch
norm needs running statistics.

To add a norm, give it a name in `ModelConfig.norm` and an entry in `NORMS`.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config import ModelConfig

Parts = Callable[[str], list[Tensor]]  # what the state of each run holds under a key: (U,) each


class StackedNorm(nn.Module):
    """The norm of one layer of R runs.

    Args:
        config: eps, and whether gamma and beta are learned.
        parts: gives `weight` and `bias` of each run, as in PyTorch's own module.
    """

    def __init__(self, config: ModelConfig, parts: Parts) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.gamma = nn.Parameter(torch.stack(parts("weight")), requires_grad=config.gamma)
        if biases := parts("bias"):
            self.beta: nn.Parameter | None
            self.beta = nn.Parameter(torch.stack(biases), requires_grad=config.beta)
        else:
            self.beta = None

    def forward(self, x: Tensor, *, batch_statistics: bool, track: bool) -> Tensor:
        """Normalize x (R, B, U).

        Args:
            x: the input.
            batch_statistics: use those of x; false: the running ones, where the norm has some.
            track: move the running statistics towards those of x.
        """
        raise NotImplementedError

    def gamma_and_beta(self) -> Tensor:
        """(R, 2, U); beta is 0 where the norm has none."""
        beta = torch.zeros_like(self.gamma) if self.beta is None else self.beta
        return torch.stack([self.gamma, beta], 1).detach()

    def _scale_and_shift(self, x_hat: Tensor) -> Tensor:
        y = x_hat * self.gamma[:, None]
        return y if self.beta is None else y + self.beta[:, None]


class StackedBatchNorm(StackedNorm):
    """Batch norm. Every unit is normalized on its own, so R of (B, U) are one of (B, R U)."""

    def __init__(self, config: ModelConfig, parts: Parts) -> None:
        super().__init__(config, parts)
        self.momentum = config.norm_momentum
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.stack(parts("running_mean")))
        self.register_buffer("running_var", torch.stack(parts("running_var")))

    def forward(self, x: Tensor, *, batch_statistics: bool, track: bool) -> Tensor:
        """See `StackedNorm`."""
        runs, examples, units = x.shape
        use_running = track or not batch_statistics
        mean: Tensor | None = self.running_mean.view(-1) if use_running else None
        var: Tensor | None = self.running_var.view(-1) if use_running else None
        flat = x.transpose(0, 1).reshape(examples, runs * units)
        gamma, beta = self.gamma.view(-1), None if self.beta is None else self.beta.view(-1)
        flat = F.batch_norm(flat, mean, var, gamma, beta, batch_statistics, self.momentum, self.eps)
        return flat.view(examples, runs, units).transpose(0, 1)


class StackedLayerNorm(StackedNorm):
    """Layer norm. Every example is normalized on its own, in training and in evaluation alike."""

    def forward(self, x: Tensor, *, batch_statistics: bool, track: bool) -> Tensor:
        """See `StackedNorm`."""
        return self._scale_and_shift(F.layer_norm(x, x.shape[-1:], eps=self.eps))


class StackedRMSNorm(StackedNorm):
    """RMS norm. As layer norm, but the mean is neither subtracted nor learned again as beta."""

    def forward(self, x: Tensor, *, batch_statistics: bool, track: bool) -> Tensor:
        """See `StackedNorm`."""
        return self._scale_and_shift(F.rms_norm(x, x.shape[-1:], eps=self.eps))


class Norm(NamedTuple):
    """A norm of `model.norm`."""

    module: Callable[[int, ModelConfig], nn.Module]  # PyTorch's own, for so many units
    stacked: type[StackedNorm]


NORMS = {
    "batch": Norm(
        lambda units, c: nn.BatchNorm1d(units, c.norm_eps, c.norm_momentum), StackedBatchNorm
    ),
    "layer": Norm(lambda units, c: nn.LayerNorm(units, c.norm_eps), StackedLayerNorm),
    "rms": Norm(lambda units, c: nn.RMSNorm(units, c.norm_eps), StackedRMSNorm),
}
