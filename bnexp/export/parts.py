"""What is exported: of each run, which logs of percentiles, and which units of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis.distributions import units_of_layer
from bnexp.analysis.records import PercentileLog
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.runs import Run
from bnexp.analysis.variants import VariantResults
from bnexp.errors import ConfigError

SOURCES = ("probe", "batch")

BLOCK_NUMBERS = 1 << 18  # of a log, read at a time: with what is made of them, a few dozen MiB


@dataclass(frozen=True)
class ExportRequest:
    """What to export.

    Attributes:
        source: `probe` or `batch`, for percentiles over the probe or over each step's minibatch;
            None: both.
        layer: counted from 1; None: all.
        unit: `all`; `typical`, which is one unit of each layer of each run; or a number, counted
            from 0 in its layer.
    """

    source: str | None = None
    layer: int | None = None
    unit: str = "all"


@dataclass(frozen=True)
class Part:
    """The chosen units of one log of one run.

    Attributes:
        variant: its name.
        run: of one seed.
        source: `probe` or `batch`.
        log: the run's alone: its values are (rows, 1, percentiles, units).
        columns: where the chosen units stand among those of the log, ascending.
    """

    variant: str
    run: Run
    source: str
    log: PercentileLog
    columns: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many rows it has in long format."""
        return len(self.log.steps) * len(self.log.percentiles) * len(self.columns)

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Steps (rows,) and their values (rows, units, percentiles), as many as fit into memory."""
        log, columns = self.log, self.columns
        at_once = max(1, BLOCK_NUMBERS // (len(log.percentiles) * len(log.layer)))
        for start in range(0, len(log.steps), at_once):
            steps = log.steps[start : start + at_once]
            values = log.values[start : start + len(steps), 0][..., columns]
            yield steps, values.swapaxes(1, 2)


def single_runs(results: ExperimentResults) -> Iterable[VariantResults]:
    """Every run as a variant of one seed, so that its logs have all the rows that it wrote."""
    for variant in results.variants.values():
        for run in variant.runs:
            yield replace(variant, runs=(run,))


def parts_of(results: ExperimentResults, request: ExportRequest) -> list[Part]:
    """All that is selected, by source, then variant and seed.

    Raises:
        ConfigError: no such source, layer or unit.
    """
    if request.source not in {None, *SOURCES}:
        raise ConfigError(
            f"--source {request.source}: no such source; there are {', '.join(SOURCES)}"
        )
    found = []
    for source in SOURCES if request.source is None else (request.source,):
        for each in single_runs(results):
            log = each.probe if source == "probe" else each.minibatch
            if log is not None and len(log.steps):
                columns = _columns(each, log, request)
                found.append(Part(each.name, each.runs[0], source, log, columns))
    if not found and request.source is not None:
        raise ConfigError(f"--source {request.source}: nothing was recorded over it")
    return found


def _columns(run: VariantResults, log: PercentileLog, request: ExportRequest) -> NDArray[np.int64]:
    """Where the selected units stand among those of the log."""
    layers = [int(n) for n in np.unique(log.layer)]
    if request.layer is not None:
        if request.layer not in layers:
            raise ConfigError(
                f"--layer {request.layer}: not recorded in {run.name}; there is layer "
                f"{', '.join(map(str, layers))}"
            )
        layers = [request.layer]
    chosen = [_of_layer(run, log, layer, request.unit) for layer in layers]
    return np.concatenate(chosen).astype(np.int64)


def _of_layer(run: VariantResults, log: PercentileLog, layer: int, unit: str) -> NDArray[np.int64]:
    units = units_of_layer(log.layer, layer)
    columns = np.arange(units.start, units.stop)
    if unit == "all":
        return columns
    if unit == "typical":
        return columns[[run.typical_unit(log, layer)[1]]]
    if not unit.isdecimal() or int(unit) >= len(columns):
        raise ConfigError(
            f"--unit {unit}: no such unit in layer {layer} of {run.name}; give all, typical, or "
            f"0 to {len(columns) - 1}"
        )
    return columns[[int(unit)]]
