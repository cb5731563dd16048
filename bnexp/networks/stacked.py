"""Several multilayer perceptrons of one shape as one `nn.Module`, for the torch engine.

Shapes: R runs, B examples, units of a layer U. Weights are (R, in, U), activations (R, B, U).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bnexp.config import ModelConfig
from bnexp.networks.mlp import StateDict, activation_module, linear_name
from bnexp.networks.norms import NORMS, StackedNorm


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

        def of_norm(number: int, part: str) -> list[Tensor]:
            return of(f"norm{number}.{part}")

        linears, norms = [], []
        for number in range(1, self.depth + 1):
            name = linear_name(number, self.depth)
            linears.append(StackedLinear(of(f"{name}.weight"), of(f"{name}.bias")))
            if config.norm in NORMS and number < self.depth:
                norms.append(NORMS[config.norm].stacked(config, partial(of_norm, number)))
        self.linears, self.norms = nn.ModuleList(linears), nn.ModuleList(norms)
        self.activation = activation_module(config.activation)

    def forward(
        self, x: Tensor, *, batch_statistics: bool = True, track: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """The logits (R, B, classes) of x (R, B, features), and all hidden pre-activations.

        A pre-activation is the input of a nonlinearity: what the norm returns where there is one,
        else what the linear layer returns. The keywords are those of `StackedNorm`.
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

    @property
    def gamma_and_beta(self) -> Tensor | None:
        """Those of all hidden layers (R, 2, units), layer after layer; None without a norm."""
        norms = [norm.gamma_and_beta() for norm in self.norms if isinstance(norm, StackedNorm)]
        return torch.cat(norms, 2) if norms else None

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


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy (R, B) of logits (R, B, classes) and labels (R, B)."""
    return F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)


def host(tensor: Tensor) -> Any:  # noqa: ANN401  (an array of any dtype)
    """A copy as a NumPy array."""
    return np.array(tensor.detach().cpu().numpy(), order="C")
