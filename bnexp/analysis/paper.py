"""Figure 1 of Ioffe & Szegedy (2015), digitised, and how far a run is from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis.numbers import End, Panel, PaperDistance
from bnexp.analysis.records import MetricsLog
from bnexp.config.schema import Value

# What section 4.1 of the paper states of both networks.
STATED: Mapping[str, Value] = {
    "data.name": "mnist",
    "data.binarize": True,
    "model.hidden": (100, 100, 100),
    "model.activation": "sigmoid",
    "train.steps": 50_000,
    "train.batch_size": 60,
}


@dataclass(frozen=True)
class PaperNet:
    """The paper's curves of one network; a step is known to about 500."""

    accuracy_steps: NDArray[Any]  # (points,)
    accuracy: NDArray[Any]  # (points,), test accuracy of panel a, known to about 0.003
    steps: NDArray[Any]  # (rows,)
    values: NDArray[Any]  # (rows, 3), percentiles 15, 50, 85 of panel b or c, known to about 0.03


@cache
def paper_net(panel: Panel) -> PaperNet:
    """The network of panel b (without normalization) or c (with)."""
    path = Path(__file__).with_name("paper_fig1.csv")
    table = np.genfromtxt(path, None, delimiter=",", skip_header=3, names=True, encoding="utf-8")
    rows = table[table["panel"] == panel]
    top = table[(table["panel"] == "a") & (table["variant"] == rows["variant"][0])]
    values = np.stack([rows["p15"], rows["p50"], rows["p85"]], axis=1)
    return PaperNet(top["step"], top["accuracy"], rows["step"], values)


def paper_panel(settings: Mapping[str, Value]) -> Panel | None:
    """The panel these settings reproduce; None if they are not the paper's.

    Only what the paper states counts (section 4.1); what it leaves open may be anything.
    """
    if any(settings.get(key) != value for key, value in STATED.items()):
        return None
    if settings["model.norm"] == "none":
        return "b"
    return "c" if settings["model.gamma"] and settings["model.beta"] else None


def distance(
    settings: Mapping[str, Value], metrics: MetricsLog, end: End | None
) -> PaperDistance | None:
    """How far a finished variant is from the paper's curves; None if it is not that network."""
    panel = paper_panel(settings)
    if panel is None or end is None:
        return None
    net, ends = paper_net(panel), None
    accuracy = np.interp(net.accuracy_steps, metrics.steps, metrics.test_accuracy.mean(axis=1))
    legible = net.accuracy_steps >= 7000  # earlier, the digitised curve is too steep to be read
    gaps = np.abs(accuracy - net.accuracy) * legible
    if {15, 50, 85} <= set(end.percentiles):
        at = [end.percentiles.index(q) for q in (15, 50, 85)]
        unit = np.array(end.typical_unit)
        ends = tuple(map(float, np.abs(unit[at] - net.values[-1])))
    return PaperDistance(panel, float(gaps.max()), int(net.accuracy_steps[gaps.argmax()]), ends)
