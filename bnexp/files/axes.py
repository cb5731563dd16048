"""`percentiles.json`: what the rows and columns of a run's logs are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bnexp.config import Settings, probe_examples, recorded_layers
from bnexp.errors import DamagedError
from bnexp.files.atomic import ANEW, Extent
from bnexp.files.sealed import read_sealed, write_sealed

PERCENTILES = "percentiles.json"
TRAINING_MODE = "training: batch normalization uses the statistics of these examples"


@dataclass(frozen=True)
class LogAxes:
    """What the rows and columns of a log of percentiles are.

    Attributes:
        every: steps between two rows.
        percentiles: of the second axis, in [0, 100], ascending.
        layer: (units,) of the last axis: the hidden layer of each unit, counted from 1.
        unit: (units,): its index in the layer, counted from 0.
        examples: how many examples the percentiles are over.
        population: which ones, in words.
        mode: how the network was run, in words.
        names: of the layers, from layer 1 on; empty: they are the hidden layers of a bnexp network.
    """

    every: int
    percentiles: tuple[float, ...]
    layer: tuple[int, ...]
    unit: tuple[int, ...]
    examples: int
    population: str
    mode: str
    names: tuple[str, ...] = ()

    @property
    def row_shape(self) -> tuple[int, int]:
        """Of one row: percentiles, units."""
        return len(self.percentiles), len(self.unit)


def columns(units: Mapping[int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """`LogAxes.layer` and `LogAxes.unit`, where each layer has so many units, by its number."""
    layer = tuple(number for number, size in units.items() for _ in range(size))
    return layer, tuple(index for size in units.values() for index in range(size))


@dataclass(frozen=True)
class Axes:
    """The content of `percentiles.json`; a log that is not written has no axes.

    Attributes:
        minibatch: of `batch_percentiles.npy`.
        probe: of `probe_percentiles.npy`; `norm_parameters.npy` has its rows and units.
        norm_parameters: whether gamma and beta are recorded.
        gradient_shift: whether `gradient_shift.csv` is written.
        running_statistics: whether `running_statistics.csv` is written.
    """

    minibatch: LogAxes | None
    probe: LogAxes | None
    norm_parameters: bool = False
    gradient_shift: bool = False
    running_statistics: bool = False


def axes_of(settings: Settings) -> Axes:
    """What a run with these settings records."""
    record, size = settings.record, settings.train.batch_size
    units, q = dict(enumerate(settings.model.hidden, 1)), tuple(record.percentiles)
    chosen = columns({layer: units[layer] for layer in recorded_layers(settings)})
    told, probe = "the step's minibatch", None
    minibatch = LogAxes(record.every, q, *chosen, size, told, TRAINING_MODE)
    if record.probe_every is not None:
        size = probe_examples(settings)
        told = f"the first {size:,} examples of the test set"
        probe = LogAxes(record.probe_every, q, *columns(units), size, told, TRAINING_MODE)
    normalized = settings.model.norm != "none"
    return Axes(
        minibatch,
        probe,
        norm_parameters=normalized and probe is not None,
        gradient_shift=record.ics_every is not None,
        running_statistics=settings.model.norm == "batch" and record.statistics_every is not None,
    )


def write_axes(folder: Path, axes: Axes) -> Extent:
    """Write `percentiles.json`, with its checksum; returns the file's extent."""
    return write_sealed(folder / PERCENTILES, asdict(axes))


def read_axes(folder: Path, promised: Extent | None = None) -> Axes:
    """Read `percentiles.json`.

    Args:
        folder: the run's.
        promised: by the run's status, so that no other run's file is taken for this one's.

    Raises:
        DamagedError: missing, or not what was written.
        StorageError: it cannot be read.
    """
    content = read_sealed(folder / PERCENTILES, promised)
    try:
        minibatch, probe = (_log_axes(content.pop(key)) for key in ("minibatch", "probe"))
        return Axes(minibatch, probe, **content)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"[:120]
        raise DamagedError(f"{folder / PERCENTILES}: damaged ({reason}); {ANEW}") from None


def _log_axes(content: dict[str, Any] | None) -> LogAxes | None:
    if content is None:
        return None
    # JSON has lists where the axes are tuples. They are flat.
    made: dict[str, Any] = {k: tuple(x) if isinstance(x, list) else x for k, x in content.items()}
    return LogAxes(**made)
