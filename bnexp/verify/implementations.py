"""The implementations of batch normalization that the checks measure.

The checks know one door: a class that is made like `torch.nn.BatchNorm1d(units, eps=..., momentum=
..., dtype=...)` and whose modules have its parameters (`weight` is gamma, `bias` is beta), its
buffers (`running_mean`, `running_var`), and its two modes, `train()` and `eval()`. torch's own class
is one implementation. A test passes a class with a mistake in it, and the check must fail.
"""

import functools
from collections.abc import Callable, Mapping

import torch  # noqa: TID253
from torch import nn  # noqa: TID253

from bnexp.verify.check import Finding, Verdict

BatchNorm = type[nn.BatchNorm1d]
EPS, MOMENTUM = 1e-5, 0.1


def implementations() -> dict[str, BatchNorm]:
    """Every implementation that is installed here, by name."""
    return {"torch": nn.BatchNorm1d}


def for_each_implementation(
    measure: Callable[[BatchNorm], Finding],
) -> Callable[[Mapping[str, BatchNorm] | None], Finding]:
    """Measure every implementation. The claim holds if it holds for each of them.

    The function that is made takes the implementations by name; `None` stands for all that are
    installed.
    """

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


def layer(
    norm: BatchNorm, gamma: torch.Tensor, beta: torch.Tensor, eps: float = EPS
) -> nn.BatchNorm1d:
    """A layer of float64 with these gamma and beta (units,), in training mode."""
    made = norm(len(gamma), eps=eps, momentum=MOMENTUM, dtype=torch.float64)
    with torch.no_grad():
        made.weight.copy_(gamma)
        made.bias.copy_(beta)
    return made.train()
