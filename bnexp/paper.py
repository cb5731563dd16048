"""Figure 1 of Ioffe & Szegedy (2015), digitised, and how far a run is from it."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bnexp.config import Settings

Panel = Literal["b", "c"]

PERCENTILES = (15, 50, 85)
FIRST_STEP = 7000
"""Accuracy is compared from here: earlier, the digitised curve is too steep to be read."""


@dataclass(frozen=True)
class PaperNet:
    """The paper's curves of one network.

    Attributes:
        accuracy_steps: `(points,)`, known to about 500 steps.
        accuracy: `(points,)` test accuracy of panel a, known to about 0.003.
        steps: `(rows,)` of panel b or c.
        values: `(rows, 3)`, the percentiles 15, 50 and 85, known to about 0.03.
    """

    accuracy_steps: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    steps: NDArray[np.float64]
    values: NDArray[np.float64]


@cache
def paper_net(panel: Panel) -> PaperNet:
    """The network of panel b (without normalization) or c (with)."""
    lines = Path(__file__).with_name("paper_fig1.csv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    variant = {"b": "baseline", "c": "batchnorm"}[panel]
    rows = [row for row in rows if row["variant"] == variant]

    def read(panel: str, *columns: str) -> NDArray[np.float64]:
        cells = [[float(row[name]) for name in columns] for row in rows if row["panel"] == panel]
        return np.array(cells)

    accuracy, values = read("a", "step", "accuracy"), read(panel, "step", "p15", "p50", "p85")
    return PaperNet(accuracy[:, 0], accuracy[:, 1], values[:, 0], values[:, 1:])


def paper_panel(settings: Settings) -> Panel | None:
    """The panel these settings reproduce; None if they are not the paper's.

    Only what the paper states counts (section 4.1); what it leaves open may be anything.
    """
    data, model, train = settings.data, settings.model, settings.train
    stated = (
        data.name == "mnist"
        and data.binarize
        and tuple(model.hidden) == (100, 100, 100)
        and model.activation == "sigmoid"
        and (train.steps, train.batch_size) == (50_000, 60)
    )
    if not stated:
        return None
    if model.norm == "none":
        return "b"
    return "c" if model.gamma and model.beta else None


def accuracy_distance(
    panel: Panel, steps: NDArray[np.int64], accuracy: NDArray[np.float64]
) -> tuple[float, float] | None:
    """Largest distance to the paper's test accuracy, from step 7,000 on.

    Args:
        panel: which network.
        steps: `(rows,)`; between them the accuracy is interpolated.
        accuracy: `(rows,)`, mean over seeds.

    Returns:
        The distance, and the step where it is; None if no digitised point was reached.
    """
    net = paper_net(panel)
    seen = net.accuracy_steps >= FIRST_STEP
    seen &= net.accuracy_steps <= (steps[-1] if len(steps) else 0)
    if not seen.any():
        return None
    at = net.accuracy_steps[seen]
    gaps = np.abs(np.interp(at, steps, accuracy) - net.accuracy[seen])
    worst = int(np.argmax(gaps))
    return float(gaps[worst]), float(at[worst])


def end_distance(
    panel: Panel, percentiles: Sequence[float], end: NDArray[np.floating]
) -> list[float] | None:
    """Distance of a unit's last percentiles `(Q,)` to the paper's at step 50,000: 15, 50, 85.

    None if the three are not all recorded.
    """
    if not set(PERCENTILES) <= set(percentiles):
        return None
    at = [list(percentiles).index(q) for q in PERCENTILES]
    return [float(gap) for gap in np.abs(end[at] - paper_net(panel).values[-1])]
