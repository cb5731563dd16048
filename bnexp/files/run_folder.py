"""The files of a run, as training writes them, and those that say how far an experiment is.

Rows are counted in steps: row r of a log holds step r * every, taken before that step's update;
the last row of the probe and of the metrics is the final network's. `status.json` promises readers
so many bytes of each log, with their CRC-32; it and `config.yaml` have a checksum of their own.
`percentiles.json` tells other programs what the columns of the logs are. For reading: `reader`.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp.config import Experiment, Settings, Variant, probe_examples
from bnexp.config import experiment as config
from bnexp.errors import ConfigError, DamagedError
from bnexp.files.storage import (
    ANEW,
    CHECKSUM,
    RETRAIN,
    AppendedArray,
    AppendedFile,
    extent,
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
        examples = probe_examples(settings)
        population = f"the first {examples} examples of the test set"
        description["probe"] = log(record.probe_every, every_layer, examples, population)
    return description


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
