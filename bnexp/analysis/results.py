"""An experiment as found on the disk: what analysis, figures and tables read.

A reader takes as many rows as `status.json` promises, and those bytes must have the CRC-32 that
stands there. What the columns of the logs are follows from the config.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp.config.experiment import Variant, flatten
from bnexp.config.schema import Value, settings_of
from bnexp.errors import BnexpError, DamagedError, StorageError
from bnexp.files.run_folder import (
    BATCH,
    COLUMNS,
    CONFIG,
    ICS,
    ICS_HEADER,
    METRICS,
    METRICS_HEADER,
    PROBE,
    STATUS,
    describe_percentiles,
    read_config,
    read_status,
)
from bnexp.files.storage import ANEW, RETRAIN, check, npy_header, reading


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
class VariantResults:
    """All runs of one variant, stacked over their seeds.

    A log is read and checked when it is first asked for.

    Attributes:
        name: the variant's.
        settings: of all its runs, by dotted key, such as `model.norm`.
        path: the variant's folder.
        status: what `status.json` says.
    """

    name: str
    settings: Mapping[str, Value]
    path: Path
    status: Mapping[str, Any]

    @property
    def state(self) -> str:
        """`running`, `interrupted`, `failed` or `done`."""
        return str(self.status.get("state"))

    @property
    def step(self) -> int:
        """How many updates were made."""
        return int(self.status.get("step", 0))

    @cached_property
    def minibatch(self) -> PercentileLog:
        """The minibatch percentiles."""
        return self._log(BATCH, "batch")

    @cached_property
    def probe(self) -> PercentileLog | None:
        """The probe percentiles; None where the config asks for none."""
        every = self.settings["record.probe_every"]
        return None if every is None else self._log(PROBE, "probe")

    @cached_property
    def metrics(self) -> Metrics:
        """The metrics."""
        table, seeds = self._table(METRICS, METRICS_HEADER), self._seeds()
        values = table[:, 2:].reshape(-1, len(seeds), len(COLUMNS))
        return Metrics(table[:: len(seeds), 0].astype(int), seeds, *np.moveaxis(values, 2, 0))

    @cached_property
    def gradient_shift(self) -> GradientShift | None:
        """The shifts of the gradients; None where the config asks for none."""
        if self.settings["record.ics_every"] is None:
            return None
        table, seeds = self._table(ICS, ICS_HEADER), self._seeds()
        layers = tuple(range(2, len(self.settings["model.hidden"]) + 2))
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
        about = describe_percentiles(settings_of(self.settings), self._seeds())[kind]
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
class ExperimentResults:
    """An experiment as found on the disk.

    Attributes:
        path: its folder.
        name: the experiment's.
        seeds: of all its variants.
        settings: of each variant of its config, by name, whether it was begun or not.
        variants: those that were begun, by name.
    """

    path: Path
    name: str
    seeds: tuple[int, ...]
    settings: Mapping[str, Mapping[str, Value]]
    variants: Mapping[str, VariantResults]


def read_variant(folder: Path, variant: Variant) -> VariantResults:
    """Read the files of one variant.

    Raises:
        DamagedError: its status is missing or damaged.
    """
    return VariantResults(variant.name, flatten(variant.settings), folder, read_status(folder))


def read_experiment(path: Path) -> ExperimentResults:
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
        begun = {
            variant.name: read_variant(path / variant.name, variant)
            for variant in experiment.variants
            if (path / variant.name / STATUS).exists()
        }
    settings = {variant.name: flatten(variant.settings) for variant in experiment.variants}
    return ExperimentResults(path, experiment.name, experiment.seeds, settings, begun)


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """A row for every run under a folder: experiment, variant, state, step, accuracy, heartbeat."""
    rows = []
    for path in sorted(folder.glob("**/" + CONFIG)):
        try:
            files = read_experiment(path.parent)
        except BnexpError as error:
            rows.append(_row(path.parent, "", state=f"damaged: {error}"))
            continue
        for name in files.settings:
            rows.append(_row(path.parent, name, **_progress(files.variants.get(name))))
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


def _progress(run: VariantResults | None) -> dict[str, Any]:
    if run is None:
        return {"state": "not started"}
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
