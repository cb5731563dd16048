"""Several multilayer perceptrons of one shape as one `nn.Module`, for the torch engine.

Shapes: R runs, B examples, units of a layer U. Weights are (R, in, U), activations (R, B, U).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config import ModelConfig
from bnexp.networks.mlp import StateDict, activation_module, linear_name


class StackedLinear(nn.Module):
    """y = x W + b of each run: `nn.Linear`, R times.

    Args:
        weights: (out, in) of each run, as in a state_dict.
        biases: (out,) of each run; empty: there is none.
    """

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([w.T for w in weights]).contiguous())
        self.bias = nn.Parameter(torch.stack([*biases])[:, None]) if biases else None

    def forward(self, x: Tensor) -> Tensor:
        """(R, B, in) to (R, B, out)."""
        if self.bias is None:
            return torch.bmm(x, self.weight)
        return torch.baddbmm(self.bias, x, self.weight)


class StackedBatchNorm(nn.Module):
    """Batch normalization of each unit of each run (Ioffe & Szegedy 2015, Algorithm 1).

    y = gamma (x - mean) / sqrt(var + eps) + beta. Every unit is normalized on its own, so R batch
    norms of (B, U) are one batch norm of (B, R U), exactly.

    Args:
        gammas: (U,) of each run, as the next three are.
        betas: see gammas.
        means: the running means.
        variances: the running variances.
        config: whether gamma and beta are learned, eps, and the momentum.
    """

    def __init__(
        self,
        gammas: Sequence[Tensor],
        betas: Sequence[Tensor],
        means: Sequence[Tensor],
        variances: Sequence[Tensor],
        config: ModelConfig,
    ) -> None:
        super().__init__()
        self.eps, self.momentum = config.norm_eps, config.norm_momentum
        self.gamma = nn.Parameter(torch.stack([*gammas]), requires_grad=config.gamma)
        self.beta = nn.Parameter(torch.stack([*betas]), requires_grad=config.beta)
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.stack([*means]))
        self.register_buffer("running_var", torch.stack([*variances]))

    def forward(self, x: Tensor, *, batch_statistics: bool, track: bool) -> Tensor:
        """Normalize x (R, B, U).

        Args:
            x: the input.
            batch_statistics: use those of x; false: the running ones.
            track: move the running statistics towards those of x.
        """
        runs, examples, units = x.shape
        use_running = track or not batch_statistics
        mean: Tensor | None = self.running_mean.view(-1) if use_running else None
        var: Tensor | None = self.running_var.view(-1) if use_running else None
        flat = x.transpose(0, 1).reshape(examples, runs * units)
        gamma, beta = self.gamma.view(-1), self.beta.view(-1)
        flat = F.batch_norm(flat, mean, var, gamma, beta, batch_statistics, self.momentum, self.eps)
        return flat.view(examples, runs, units).transpose(0, 1)


class StackedMLP(nn.Module):
    """R networks as `mlp.mlp` describes one: (linear, norm, activation) for each layer, output.

    Args:
        config: the `model` section.
        states: the state_dict of each run.
        dtype: of all parameters.
    """

    def __init__(
        self, config: ModelConfig, states: Sequence[StateDict], dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.depth = len(config.hidden) + 1

        def of(key: str) -> list[Tensor]:
            """What each run's state holds under a key, if anything."""
            return [torch.from_numpy(s[key].copy()).to(dtype) for s in states if key in s]

        linears, norms = [], []
        for number in range(1, self.depth + 1):
            name = linear_name(number, self.depth)
            linears.append(StackedLinear(of(f"{name}.weight"), of(f"{name}.bias")))
            if config.norm == "batch" and number < self.depth:
                norm = f"norm{number}"
                gammas, betas = of(f"{norm}.weight"), of(f"{norm}.bias")
                means, variances = of(f"{norm}.running_mean"), of(f"{norm}.running_var")
                norms.append(StackedBatchNorm(gammas, betas, means, variances, config))
        self.linears, self.norms = nn.ModuleList(linears), nn.ModuleList(norms)
        self.activation = activation_module(config.activation)

    def forward(
        self, x: Tensor, *, batch_statistics: bool = True, track: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """The logits (R, B, classes) of x (R, B, features), and all hidden pre-activations.

        A pre-activation is the input of a nonlinearity: what the batch norm returns where there is
        one, else what the linear layer returns. The keywords are those of `StackedBatchNorm`.
        """
        pre_activations = []
        for number in range(self.depth - 1):
            z = self.linears[number](x)
            if self.norms:
                z = self.norms[number](z, batch_statistics=batch_statistics, track=track)
            pre_activations.append(z)
            x = self.activation(z)
        return self.linears[-1](x), pre_activations

    @property
    def weights(self) -> list[Tensor]:
        """The weights (R, in, out) of all layers."""
        return [linear.weight for linear in self.linears if isinstance(linear, StackedLinear)]

    @property
    def biases(self) -> list[Tensor]:
        """The biases (R, 1, out) of the hidden layers, where they have some."""
        hidden = [linear for linear in self.linears[:-1] if isinstance(linear, StackedLinear)]
        return [linear.bias for linear in hidden if linear.bias is not None]

    def views(self, arrays: dict[str, Tensor], run: int) -> dict[str, Tensor]:
        """The part of a run, under the keys and in the layout of `mlp`.

        Args:
            arrays: by the names of this module's parameters and buffers; shaped like them.
            run: which of the stack.
        """
        views = {}
        for name, array in arrays.items():
            kind, place, part = name.split(".")
            number = int(place) + 1
            if kind == "linears":
                key = linear_name(number, self.depth)
                views[f"{key}.{part}"] = array[run].T if part == "weight" else array[run, 0]
            else:
                part = {"gamma": "weight", "beta": "bias"}.get(part, part)
                views[f"norm{number}.{part}"] = array[run]
        return views


def host(tensor: Tensor) -> Any:  # noqa: ANN401  (an array of any dtype)
    """A copy as a NumPy array."""
    return np.array(tensor.detach().cpu().numpy(), order="C")
