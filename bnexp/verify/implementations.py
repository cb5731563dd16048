"""The implementations of batch normalization that the checks measure.

The checks know one door: a subclass of `torch.nn.BatchNorm1d`. Its modules have the parameters
`weight` (gamma) and `bias` (beta), the buffers `running_mean` and `running_var`, and two modes,
`train()` and `eval()`. torch's own class is one implementation. A test passes a class with a
mistake in it, and the check must fail.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import nn

from bnexp.networks.engine import numba_available
from bnexp.verify.check import Finding, Verdict

BatchNorm = type[nn.BatchNorm1d]
EPS, MOMENTUM = 1e-5, 0.1


class OfImplementations(Protocol):
    """Measures each of these implementations; `None` stands for all that are installed."""

    def __call__(self, norms: Mapping[str, BatchNorm] | None = None) -> Finding:
        """Measure."""


def implementations() -> dict[str, BatchNorm]:
    """torch's batch norm and, where Numba is installed, that of bnexp's kernels; by name."""
    found: dict[str, BatchNorm] = {"torch": nn.BatchNorm1d}
    if numba_available():
        from bnexp.verify.kernels import KernelBatchNorm  # noqa: PLC0415  (it imports Numba)

        found["kernels"] = KernelBatchNorm
    return found


def for_each_implementation(measure: Callable[[BatchNorm], Finding]) -> OfImplementations:
    """Measure every implementation. The claim holds if it holds for each of them."""

    @functools.wraps(measure)
    def run(norms: Mapping[str, BatchNorm] | None = None) -> Finding:
        findings = {
            name: measure(norm)
            for name, norm in (implementations() if norms is None else norms).items()
        }
        fails = any(each.verdict is not Verdict.HOLDS for each in findings.values())
        text = "; ".join(f"{name}: {each.measured}" for name, each in findings.items())
        return Finding(Verdict.FAILS if fails else Verdict.HOLDS, text)

    return run


def layer(norm: BatchNorm, gamma: torch.Tensor, beta: torch.Tensor) -> nn.BatchNorm1d:
    """A layer of float64 with these gamma and beta (units,), in training mode."""
    made = norm(len(gamma), eps=EPS, momentum=MOMENTUM, dtype=torch.float64)
    with torch.no_grad():
        made.weight.copy_(gamma)
        made.bias.copy_(beta)
    return made.train()
