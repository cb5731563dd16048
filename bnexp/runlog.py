"""The files of a run: what training writes, and what analysis, figures and report read.

Rows are counted in steps: row r of a log holds step r * every, taken before that step's update;
the last row of the probe and of the metrics is the final network's. A reader takes as many rows as
`status.json` promises, and those bytes must have the CRC-32 that stands there. `status.json` and
`config.yaml` have one of their own; what the columns of the logs are follows from the config, and
`percentiles.json` says it to other programs.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp import config
from bnexp.config import Experiment, Settings, Variant
from bnexp.errors import BnexpError, ConfigError, DamagedError, StorageError
from bnexp.storage import (
    ANEW,
    CHECKSUM,
    RETRAIN,
    AppendedArray,
    AppendedFile,
    check,
    extent,
    npy_header,
    read_json,
    reading,
    write_whole,
)

BATCH, PROBE, METRICS = "batch_percentiles.npy", "probe_percentiles.npy", "metrics.csv"
ICS = "ics.csv"
PERCENTILES, STATUS = "percentiles.json", "status.json"
CHECKPOINT, PREVIOUS, MODEL = "checkpoint.pt", "checkpoint.previous.pt", "model.pt"
RUN_FILES = (BATCH, PROBE, METRICS, ICS, PERCENTILES, STATUS, CHECKPOINT, PREVIOUS, MODEL)
CONFIG, SUMMARY, FIGURES = "config.yaml", "summary.json", "figures"
COLUMNS = ("train_loss", "test_accuracy", "test_loss", "bias_norm", "bias_gradient_norm")
ICS_HEADER = b"step,seed,layer,distance,cosine\n"
METRICS_HEADER = ",".join(("step", "seed", *COLUMNS)).encode() + b"\n"


@dataclass(frozen=True)
class Task:
    """One run to do: everything its process must know."""

    variant: Variant
    seeds: tuple[int, ...]
    folder: Path
    provenance: Mapping[str, Any]  # versions, commit and command, as they go to status.json


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
        self.ics = None
        if record.ics_every is not None:
            self.ics = AppendedFile(folder / ICS, ICS_HEADER)
        opened = (self.batch, self.probe, self.metrics, self.ics)
        self.files = {file.path.name: file for file in opened if file}

    def start(self) -> None:
        """Begin all files anew."""
        for file in self.files.values():
            file.start()

    def check(self, extents: Mapping[str, Mapping[str, int]]) -> None:
        """Check that `resume` can continue after what `extents` returned.

        Raises:
            DamagedError: a file does not hold that any more.
        """
        for name, file in self.files.items():
            file.check(extents[name]["bytes"], extents[name]["crc32"])

    def resume(self, extents: Mapping[str, Mapping[str, int]]) -> None:
        """Continue all files after what `extents` returned; anything behind it is cut off."""
        for name, file in self.files.items():
            file.resume(extents[name]["bytes"], extents[name]["crc32"])

    def extents(self) -> dict[str, dict[str, int]]:
        """Length and CRC-32 of each file."""
        return {name: file.extent() for name, file in self.files.items()}

    def append_metrics(self, step: int, columns: Mapping[str, NDArray[np.float64]]) -> None:
        """Add one row of metrics for each seed."""
        rows = (
            _csv_row(step, seed, *(columns[name][index] for name in COLUMNS))
            for index, seed in enumerate(self.seeds)
        )
        self.metrics.append(b"".join(rows))

    def append_shift(self, step: int, shifts: NDArray[np.float64]) -> None:
        """Add one row for each seed and layer from 2 on, of shifts (layers, S, 2)."""
        assert self.ics is not None  # noqa: S101  (asked for by record.ics_every)
        rows = (
            _csv_row(step, seed, layer, distance, cosine)
            for layer, of_layer in enumerate(shifts, 2)
            for seed, (distance, cosine) in zip(self.seeds, of_layer, strict=True)
        )
        self.ics.append(b"".join(rows))

    def publish(self) -> None:
        """Put everything appended on the disk and make it visible to readers."""
        for file in self.files.values():
            file.publish()

    def close(self) -> None:
        """Close all files."""
        for file in self.files.values():
            file.close()


def _csv_row(*values: float) -> bytes:
    """A line; a value that is not there (NaN) is an empty cell, and the rest round-trips."""
    cells = ("" if math.isnan(v) else repr(v if isinstance(v, int) else float(v)) for v in values)
    return (",".join(cells) + "\n").encode()


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
        description["probe"] = log(record.probe_every, every_layer, record.probe_size, population)
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
class GradientShift:
    """Gradient internal covariate shift (Santurkar et al. 2018, Definition 2.1).

    Attributes:
        steps: (rows,).
        seeds: the last axis.
        layers: the middle axis, from layer 2 to the output layer.
        distance: (rows, layers, seeds): ||G - G'||.
        cosine: (rows, layers, seeds): of the angle between G and G'.
    """

    steps: NDArray[np.int64]
    seeds: tuple[int, ...]
    layers: tuple[int, ...]
    distance: NDArray[np.float64]
    cosine: NDArray[np.float64]


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
        table, seeds = self._table(METRICS, METRICS_HEADER), self._seeds()
        values = table[:, 2:].reshape(-1, len(seeds), len(COLUMNS))
        return Metrics(table[:: len(seeds), 0].astype(int), seeds, *np.moveaxis(values, 2, 0))

    @cached_property
    def ics(self) -> GradientShift | None:
        """The shifts of the gradients; None where the config asks for none."""
        if self.variant.settings.record.ics_every is None:
            return None
        table, seeds = self._table(ICS, ICS_HEADER), self._seeds()
        layers = tuple(range(2, len(self.variant.settings.model.hidden) + 2))
        values = table[:, 3:].reshape(-1, len(layers), len(seeds), 2)
        steps = table[:: len(layers) * len(seeds), 0].astype(int)
        return GradientShift(steps, seeds, layers, values[..., 0], values[..., 1])

    def _seeds(self) -> tuple[int, ...]:
        seeds = self.status.get("seeds")
        if not isinstance(seeds, list) or not seeds:
            raise DamagedError(f"{self.path / STATUS}: says nothing of its seeds; {ANEW}")
        return tuple(seeds)

    def _table(self, name: str, header: bytes) -> NDArray[np.float64]:
        """The numbers of a CSV of the run, one row a line; NaN for an empty cell."""
        path, size = self.path / name, self._checked(name, len(header))
        with reading(path, RETRAIN), path.open("rb") as file:
            file.seek(len(header))
            text = file.read(size).decode()
        rows = [[float(cell or "nan") for cell in line.split(",")] for line in text.splitlines()]
        return np.array(rows).reshape(len(rows), header.count(b",") + 1)

    def _checked(self, name: str, header: int) -> int:
        """How many bytes, after those of the header, the status promises; they are whole."""
        try:
            promised = self.status["files"][name]
            size, crc32 = int(promised["bytes"]), int(promised["crc32"])
        except (KeyError, TypeError, ValueError):
            raise DamagedError(f"{self.path / STATUS}: says nothing of {name}; {ANEW}") from None
        check(self.path / name, header, size, crc32)
        return size

    def _log(self, name: str, kind: str) -> PercentileLog:
        path = self.path / name
        about = describe_percentiles(self.variant.settings, self._seeds())[kind]
        shape = (len(about["seeds"]), len(about["percentiles"]), len(about["unit"]))
        header = len(npy_header(0, shape))
        rows = self._checked(name, header) // (4 * math.prod(shape))
        with reading(path, RETRAIN):
            values = np.memmap(path, "<f4", "r", header, (rows, *shape))
        return PercentileLog(
            np.minimum(np.arange(rows, dtype=np.int64) * about["every"], self.status["steps"]),
            values,
            tuple(about["percentiles"]),
            tuple(about["seeds"]),
            np.array(about["layer"], np.int64),
            np.array(about["unit"], np.int64),
            about["examples"],
            about["population"],
        )


@dataclass(frozen=True)
class ExperimentFiles:
    """An experiment as found on the disk; `runs` holds the variants that were begun."""

    path: Path
    experiment: Experiment
    runs: dict[str, Run]


def write_config(folder: Path, experiment: Experiment) -> None:
    """Write the experiment's config, below a line that holds its checksum."""
    text = config.dump(experiment).encode()
    write_whole(folder / CONFIG, _seal(text) + b"\n" + text)


def read_config(folder: Path) -> Experiment:
    """Read what `write_config` wrote.

    Raises:
        DamagedError: it cannot be read, or is not what was written.
    """
    path = folder / CONFIG
    with reading(path, "use --out DIR, or --force"):
        seal, _, text = path.read_bytes().partition(b"\n")
    if seal.startswith(b"#") and seal != _seal(text):
        raise DamagedError(
            f"{path}: damaged, or edited; to train another config, copy it and use --out DIR"
        )
    try:
        return config.load(path)
    except ConfigError as error:
        raise DamagedError(
            f"{path}: damaged ({error.mistakes[0]}); use --out DIR, or --force"
        ) from None


def _seal(text: bytes) -> bytes:
    return f"# Written by bnexp; CRC-32 of what follows: {zlib.crc32(text):08x}".encode()


def read_status(folder: Path) -> dict[str, Any]:
    """Read the status of a run.

    Raises:
        DamagedError: it is missing or damaged.
    """
    status = read_json(folder / STATUS)
    if CHECKSUM not in status:
        raise DamagedError(f"{folder / STATUS}: damaged (it has no checksum); {ANEW}")
    return status


def is_done(folder: Path, steps: int) -> bool:
    """Whether a run has made so many steps, and its final networks are there."""
    try:
        status = read_status(folder)
        if (status.get("state"), status.get("steps")) != ("done", steps):
            return False
        with reading(folder / MODEL, RETRAIN):
            model = extent((folder / MODEL).read_bytes())
    except DamagedError:
        return False
    return bool(model == status["files"].get(MODEL))


def read_run(folder: Path, variant: Variant) -> Run:
    """Read the files of one run.

    Raises:
        DamagedError: its status is missing or damaged.
    """
    return Run(variant, folder, read_status(folder))


def read_experiment(path: Path) -> ExperimentFiles:
    """Read an experiment's folder.

    Raises:
        StorageError: the folder holds no experiment.
        DamagedError: a file in it is damaged.
    """
    with reading(path, RETRAIN):
        if not (path / CONFIG).exists():
            raise StorageError(
                f"{path}: no experiment here ({CONFIG} is missing); "
                "`bnexp runs` lists those there are"
            )
        experiment = read_config(path)
        runs = {
            variant.name: read_run(path / variant.name, variant)
            for variant in experiment.variants
            if (path / variant.name / STATUS).exists()
        }
    return ExperimentFiles(path, experiment, runs)


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """A row for every run under a folder: experiment, variant, state, step, accuracy, heartbeat."""
    rows = []
    for path in sorted(folder.glob("**/" + CONFIG)):
        try:
            files = read_experiment(path.parent)
        except BnexpError as error:
            rows.append(_row(path.parent, "", state=f"damaged: {error}"))
            continue
        for variant in files.experiment.variants:
            progress = _progress(files.runs.get(variant.name))
            rows.append(_row(path.parent, variant.name, **progress))
    return rows


def _row(path: Path, variant: str, **progress: Any) -> dict[str, Any]:  # noqa: ANN401
    empty = dict.fromkeys(("state", "step", "test_accuracy", "heartbeat"))
    return {"experiment": str(path), "variant": variant, **empty, **progress}


def _state(status: Mapping[str, Any]) -> str:
    """The state that a status tells of, and for how long it has told nothing new."""
    state = str(status.get("state"))
    if state == "running":
        age = datetime.now(UTC) - datetime.fromisoformat(status["heartbeat"])
        if (minutes := age.total_seconds() // 60) >= 1:
            state += f"? silent for {minutes:,.0f} min"
    return state


def _progress(run: Run | None) -> dict[str, Any]:
    if run is None:
        return {"state": "not begun"}
    status = run.status
    row = {
        "state": _state(status),
        "step": f"{status.get('step')}/{status.get('steps')}",
        "heartbeat": status.get("heartbeat"),
    }
    try:
        accuracy = run.metrics.test_accuracy
    except BnexpError as error:
        return row | {"state": f"damaged: {error}"}
    return row | ({"test_accuracy": f"{accuracy[-1].mean():.4f}"} if len(accuracy) else {})
