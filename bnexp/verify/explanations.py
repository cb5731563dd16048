"""What `bnexp verify --explain N` prints: the derivation of a check, and its numbers."""

import inspect
import textwrap
from collections.abc import Callable, Mapping

import torch
from torch import nn

from bnexp.analysis.columns import aligned
from bnexp.errors import ConfigError
from bnexp.verify import inference
from bnexp.verify.computation_graph import __doc__ as graph_text
from bnexp.verify.computation_graph import backward_nodes
from bnexp.verify.implementations import layer
from bnexp.verify.suite import CHECKS


def explain(number: int) -> str:
    """The claim of a check, its derivation, what was measured, and a worked example if it has one.

    Raises:
        ConfigError: there is no check of this number that needs no experiment.
    """
    if number not in CHECKS:
        raise ConfigError(
            f"--explain {number}: no such check; those without an experiment are "
            f"{', '.join(map(str, CHECKS))}"
        )
    check = CHECKS[number]
    # Check 15 is one function for any network, and what measures it on the digits' network.
    derivation = inspect.getdoc(inference.running_statistics if number == 15 else check) or ""
    parts = [derivation.partition("\n")[2].strip(), check().lines()]
    if number in EXAMPLES:
        parts.append(EXAMPLES[number]())
    return "\n\n".join(parts)


def computation_graph() -> str:
    """The nodes of the backward pass for six examples of one unit, from the last to the first."""
    generator = torch.Generator().manual_seed(5)
    x, upstream = torch.randn((2, 6, 1), generator=generator, dtype=torch.float64)
    gamma, beta = torch.randn((2, 1), generator=generator, dtype=torch.float64)
    nodes = backward_nodes(x, gamma, beta, upstream)
    rows = [
        {
            "node": node.step,
            "gradient": f"d_{node.of}",
            "formula": node.formula,
            "ours": _shown(node.ours),
            "autograd": _shown(node.autograd),
            "largest difference": f"{node.gap:.0e}",
        }
        for node in nodes
    ]
    note = "Where a value has six examples, that of the first is shown; differences are over all."
    return f"{textwrap.dedent(graph_text or '').strip()}\n\n{aligned(rows)}\n\n{note}"


def constant_added() -> str:
    """BN of five numbers, and of the same numbers with 10 added."""
    x = torch.tensor([[-1.0], [0.0], [0.5], [2.0], [3.5]], dtype=torch.float64)
    tested = layer(nn.BatchNorm1d, torch.ones(1), torch.zeros(1))
    with torch.no_grad():
        outputs = tested(x), tested(x + 10)
    rows = [
        {
            "x": f"{float(a):.1f}",
            "x + 10": f"{float(a) + 10:.1f}",
            "BN(x)": f"{float(b):.6f}",
            "BN(x + 10)": f"{float(c):.6f}",
            "difference": f"{abs(float(b - c)):.0e}",
        }
        for a, b, c in zip(x, *outputs, strict=True)
    ]
    note = f"The mean is {float(x.mean()):g}, then 10 more; the variance is the same both times."
    return f"{note}\n\n{aligned(rows)}"


def _shown(values: torch.Tensor) -> str:
    return f"{float(values.flatten()[0]):+.6f}"


EXAMPLES: Mapping[int, Callable[[], str]] = {3: computation_graph, 7: constant_added}
