"""The files of a run: what training writes, and what analysis, figures and report read.

Rows are counted in steps: row r of a log holds step r * every, taken before that step's update;
the last row of the probe and of the metrics is the final network's. A reader takes as many rows as
`status.json` promises, and those bytes must have the CRC-32 that stands there.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp import config
from bnexp.config import Experiment, Settings, Variant
from bnexp.errors import DamagedError, StorageError
from bnexp.storage import AppendedArray, AppendedFile, check, read_json

BATCH, PROBE, METRICS = "batch_percentiles.npy", "probe_percentiles.npy", "metrics.csv"
PERCENTILES, STATUS = "percentiles.json", "status.json"
CHECKPOINT, PREVIOUS, MODEL = "checkpoint.pt", "checkpoint.previous.pt", "model.pt"
RUN_FILES = (BATCH, PROBE, METRICS, PERCENTILES, STATUS, CHECKPOINT, PREVIOUS, MODEL)
CONFIG, SUMMARY, FIGURES = "config.yaml", "summary.json", "figures"
COLUMNS = ("train_loss", "test_accuracy", "test_loss", "bias_norm", "bias_gradient_norm")
METRICS_HEADER = ",".join(("step", "seed", *COLUMNS)).encode() + b"\n"


class RunFiles:
    """The growing files of a run, opened for writing.

    Args:
        folder: the run's folder; must exist.
        settings: the run's.
        seeds: the run's.
    """

    def __init__(self, folder: Path, settings: Settings, seeds: Sequence[int]) -> None:
        self.seeds = tuple(seeds)
        hidden, record = settings.model.hidden, settings.record
        shape = (len(seeds), len(record.percentiles))
        recorded = sum(hidden[layer - 1] for layer in config.recorded_layers(settings))
        self.batch = AppendedArray(folder / BATCH, (*shape, recorded))
        self.probe = None
        if record.probe_every is not None:
            self.probe = AppendedArray(folder / PROBE, (*shape, sum(hidden)))
        self.metrics = AppendedFile(folder / METRICS, METRICS_HEADER)
        self.files = {file.path.name: file for file in (self.batch, self.probe, self.metrics) if file}

    def start(self) -> None:
        """Begin all files anew."""
        for file in self.files.values():
            file.start()

    def resume(self, extents: Mapping[str, Mapping[str, int]]) -> None:
        """Continue all files after what `extents` returned.

        Raises:
            DamagedError: a file does not hold that any more.
        """
        for name, file in self.files.items():
            file.resume(extents[name]["bytes"], extents[name]["crc32"])

    def extents(self) -> dict[str, dict[str, int]]:
        """Length and CRC-32 of each file."""
        return {name: file.extent() for name, file in self.files.items()}

    def append_metrics(self, step: int, columns: Mapping[str, NDArray[np.float64]]) -> None:
        """Add one row a seed; a value that is not there (NaN) is an empty cell."""
        for index, seed in enumerate(self.seeds):
            values = [float(columns[name][index]) for name in COLUMNS]
            cells = [str(step), str(seed), *("" if v != v else repr(v) for v in values)]  # noqa: PLR0124
            self.metrics.append((",".join(cells) + "\n").encode())

    def publish(self) -> None:
        """Put everything appended on the disk and make it visible to readers."""
        for file in self.files.values():
            file.publish()

    def close(self) -> None:
        """Close all files."""
        for file in self.files.values():
            file.close()


def describe_percentiles(settings: Settings, seeds: Sequence[int]) -> dict[str, Any]:
    """The content of percentiles.json: what the rows and columns of both logs are."""
    hidden, record, train = settings.model.hidden, settings.record, settings.train

    def log(every: int, layers: Sequence[int], examples: int, population: str) -> dict[str, Any]:
        return {
            "every": every,
            "percentiles": list(record.percentiles),
            "seeds": list(seeds),
            "layer": [layer for layer in layers for _ in range(hidden[layer - 1])],
            "unit": [unit for layer in layers for unit in range(hidden[layer - 1])],
            "examples": examples,
            "population": population,
            "mode": "training: BN uses the statistics of these examples",
        }

    layers = config.recorded_layers(settings)
    description = {
        "steps": train.steps,
        "batch": log(record.every, layers, train.batch_size, "the step's minibatch"),
    }
    if record.probe_every is not None:
        every_layer = range(1, len(hidden) + 1)
        population = f"the first {record.probe_size} examples of the test set"
        description["probe"] = log(
            record.probe_every, every_layer, record.probe_size, population
        )
    return description


@dataclass(frozen=True)
class PercentileLog:
    """One log of percentiles.

    Attributes:
        steps: (rows,).
        values: (rows, seeds, percentiles, units) float32, memory-mapped.
        percentiles: in [0, 100], ascending.
        seeds: the second axis.
        layer: (units,): the layer of each unit, counted from 1.
        unit: (units,): its index in the layer, counted from 0.
        examples: how many the percentiles are over.
        population: which ones, in words.
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float32]
    percentiles: tuple[float, ...]
    seeds: tuple[int, ...]
    layer: NDArray[np.int64]
    unit: NDArray[np.int64]
    examples: int
    population: str


@dataclass(frozen=True)
class Metrics:
    """The metrics of a run, each (rows, seeds); NaN where there is no value.

    Attributes:
        steps: (rows,).
        seeds: the second axis.
        train_loss: mean cross-entropy of the minibatches since the row before.
        test_accuracy: in evaluation mode.
        test_loss: mean cross-entropy, in evaluation mode.
        bias_norm: Euclidean norm of all biases of hidden layers.
        bias_gradient_norm: that of their gradient at this step.
    """

    steps: NDArray[np.int64]
    seeds: tuple[int, ...]
    train_loss: NDArray[np.float64]
    test_accuracy: NDArray[np.float64]
    test_loss: NDArray[np.float64]
    bias_norm: NDArray[np.float64]
    bias_gradient_norm: NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One run, read from its folder. A log is read and checked when it is first asked for."""

    variant: Variant
    path: Path
    status: dict[str, Any]

    @cached_property
    def batch(self) -> PercentileLog:
        """The minibatch percentiles."""
        return self._log(BATCH, "batch")

    @cached_property
    def probe(self) -> PercentileLog | None:
        """The probe percentiles; None where the config asks for none."""
        every = self.variant.settings.record.probe_every
        return None if every is None else self._log(PROBE, "probe")

    @cached_property
    def metrics(self) -> Metrics:
        """The metrics."""
        path, extent = self.path / METRICS, self._extent(METRICS)
        check(path, len(METRICS_HEADER), extent["bytes"], extent["crc32"])
        text = path.read_bytes()[len(METRICS_HEADER) :][: extent["bytes"]].decode()
        rows = list(csv.reader(StringIO(text)))
        seeds = tuple(dict.fromkeys(int(row[1]) for row in rows))
        cells = [[float(cell or "nan") for cell in row[2:]] for row in rows]
        values = np.array(cells).reshape(-1, len(seeds) or 1, len(COLUMNS))
        steps = np.array([int(row[0]) for row in rows[:: len(seeds) or 1]], np.int64)
        return Metrics(steps, seeds, *np.moveaxis(values, 2, 0))

    def _extent(self, name: str) -> dict[str, int]:
        try:
            extent: dict[str, int] = self.status["files"][name]
            return {"bytes": int(extent["bytes"]), "crc32": int(extent["crc32"])}
        except (KeyError, TypeError, ValueError):
            raise DamagedError(f"{self.path / STATUS}: says nothing of {name}; train again") from None

    def _log(self, name: str, kind: str) -> PercentileLog:
        path, extent = self.path / name, self._extent(name)
        described = read_json(self.path / PERCENTILES)
        try:
            about, final = described[kind], int(described["steps"])
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            rows = extent["bytes"] // (array[:0].itemsize * int(np.prod(array.shape[1:])))
            shape = (len(about["seeds"]), len(about["percentiles"]), len(about["unit"]))
            if array.shape[1:] != shape or array.dtype != np.float32 or len(array) < rows:
                raise ValueError(f"shape {array.shape}, expected ({rows}, {shape})")  # noqa: TRY301
            log = PercentileLog(
                np.minimum(np.arange(rows, dtype=np.int64) * int(about["every"]), final),
                array[:rows],
                tuple(about["percentiles"]),
                tuple(about["seeds"]),
                np.array(about["layer"], np.int64),
                np.array(about["unit"], np.int64),
                int(about["examples"]),
                str(about["population"]),
            )
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            raise DamagedError(f"{path}: cannot be read ({error}); train again") from None
        check(path, array.offset, extent["bytes"], extent["crc32"])
        return log


@dataclass(frozen=True)
class ExperimentFiles:
    """An experiment as found on the disk; `runs` holds the variants that were begun."""

    path: Path
    experiment: Experiment
    runs: dict[str, Run]


def read_run(folder: Path, variant: Variant) -> Run:
    """Read the files of one run.

    Raises:
        DamagedError: its status is missing or damaged.
    """
    return Run(variant, folder, read_json(folder / STATUS))


def read_experiment(path: Path) -> ExperimentFiles:
    """Read an experiment's folder.

    Raises:
        StorageError: the folder holds no experiment.
        DamagedError: a file in it is damaged.
    """
    if not (path / CONFIG).is_file():
        raise StorageError(
            f"{path}: no experiment here ({CONFIG} is missing); `bnexp runs` lists those there are"
        )
    experiment = config.load(path / CONFIG)
    runs = {
        variant.name: read_run(path / variant.name, variant)
        for variant in experiment.variants
        if (path / variant.name / STATUS).is_file()
    }
    return ExperimentFiles(path, experiment, runs)
