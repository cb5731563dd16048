"""The kernels engine: one run on the CPU, a block of steps per call of a compiled function."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp.config import Settings, probe_examples, recorded_layers
from bnexp.data.datasets import Dataset
from bnexp.files.run_folder import GradientShiftRow, MetricsRow
from bnexp.networks.engine import (
    EngineName,
    Failure,
    Minibatches,
    Rows,
    State,
    count_due,
    empty_rows,
    is_due,
    joined,
    until_event,
)
from bnexp.networks.gradient_shift import gradient_shift
from bnexp.networks.kernels import step as kernels
from bnexp.networks.kernels.compiler import description
from bnexp.networks.kernels.examples import examples_of
from bnexp.networks.kernels.layout import (
    BIAS,
    UNITS,
    WEIGHT,
    Buffers,
    Examples,
    buffers_for,
    layers_of,
    options_of,
    parameters_for,
)
from bnexp.networks.kernels.packing import Packing
from bnexp.networks.kernels.percentiles import PercentileTable, percentile_table, sorting_size
from bnexp.networks.mlp import initial_state_dict, layer_sizes
from bnexp.recording.percentiles import Percentiles

CHUNK = 200  # test examples evaluated at a time: what the second cache holds


class KernelsEngine:
    """Trains one network; see `bnexp.networks.engine` for what happens at a step.

    Args:
        settings: of the run.
        dataset: the arrays of the data set.
        seed: of the run.
    """

    name: EngineName = "kernels"

    def __init__(self, settings: Settings, dataset: Dataset, seed: int) -> None:
        model, train, record = settings.model, settings.train, settings.record
        self.settings, self.seed, self.step = settings, seed, 0
        self.description = description()
        self._failure: Failure | None = None
        dtype = self._dtype = np.dtype(train.dtype)
        features, classes = dataset.train_x.shape[1], dataset.classes
        initial, trained = initial_state_dict(model, features, classes, seed)
        self._layers, total = layers_of(layer_sizes(model, features, classes))
        self._options = options_of(model, train, dtype)
        self._parameters = parameters_for(self._layers, total, self._options, dtype)
        self._packing = Packing(self._layers, self._parameters, [*initial], trained)
        self._packing.load(initial)

        self._train, self._test = examples_of(dataset)
        self._minibatches = Minibatches(len(dataset.train_y), train.batch_size, seed)
        self._percentiles = percentile_table(Percentiles(record.percentiles, train.batch_size))
        self._buffers = self._buffers_for(self._train, train.batch_size, sorts=True, backward=True)
        self._recorded = np.array(recorded_layers(settings), np.int64) - 1
        self._losses = np.zeros(2)  # sum and number since the last metrics row
        self._everything = np.arange(len(dataset.test_y))
        self._test_buffers = self._buffers_for(self._test, min(CHUNK, len(dataset.test_y)))
        if record.probe_every is not None:
            size = probe_examples(settings)
            self._probe_percentiles = percentile_table(Percentiles(record.percentiles, size))
            self._probe_buffers = self._buffers_for(self._test, size, sorts=True)

    def _buffers_for(
        self, examples: Examples, capacity: int, *, sorts: bool = False, backward: bool = False
    ) -> Buffers:
        """The arrays for batches of up to `capacity` of these examples."""
        return buffers_for(
            self._layers,
            capacity,
            self._dtype,
            examples,
            sorting=sorting_size(capacity) if sorts else 0,
            backward=backward,
        )

    def advance(self, steps: int) -> list[Rows]:
        """Make so many updates; what they recorded."""
        record, end = self.settings.record, self.step + steps
        blocks: list[Rows] = []
        while self.step < end and self._failure is None:
            until = until_event(self.step, end, record)
            order = self._minibatches.block(self.step, until)
            blocks.append(self._block(order))
        self.step = end  # also of a run that has failed: see `Engine.advance`
        blocks.append(empty_rows(self.settings, self._failure))
        return [joined(blocks)]

    def _block(self, order: NDArray[np.int64]) -> Rows:
        """The steps of some minibatches; what is due besides is due at the first of them."""
        record, first = self.settings.record, self.step
        end = first + len(order)
        rows = empty_rows(self.settings)
        if is_due(first, record.probe_every):
            self._record_probe(rows)
        evaluated = is_due(first, record.evaluate_every)
        losses = self._losses.copy()
        if evaluated:
            rows.metrics = [self._metrics()]
            self._losses[:] = 0
        shifted = is_due(first, record.ics_every)
        before = self._parameters.vector.copy() if shifted else None
        out = self._empty_rows_of_batch(count_due(first, end, record.every))
        failed = self._run(order, first, out, self._losses, change=True)
        if failed >= 0:
            self._failure = Failure(failed, "the loss is not finite")
            if failed == first:  # then nothing of this block counts
                self._losses[:] = losses
                return empty_rows(self.settings)
            end = failed
        rows.minibatch = out[: count_due(first, end, record.every)]
        if evaluated:
            norm = self._bias_norm(self._parameters.gradient)
            rows.metrics = [rows.metrics[0]._replace(bias_gradient_norm=norm)]
        if before is not None:
            rows.gradient_shift = self._gradient_shift(first, order, before)
        self.step = end
        return rows

    def _empty_rows_of_batch(self, rows: int) -> NDArray[np.float32]:
        _, q, units = empty_rows(self.settings).minibatch.shape
        return np.empty((rows, q, units), np.float32)

    def _run(
        self,
        order: NDArray[np.int64],
        step: int,
        out: NDArray[np.float32],
        losses: NDArray[np.float64],
        *,
        change: bool,
    ) -> int:
        """Do the steps of these minibatches; the step at which the loss is not finite, or -1."""
        network = self._layers, self._options, self._parameters, self._buffers
        failed: int = kernels.train(
            *network, self._train, order, step, change,
            self._percentiles, self.settings.record.every, self._recorded, out, losses,
        )  # fmt: skip
        return failed

    def _observe(
        self,
        buffers: Buffers,
        index: NDArray[np.int64],
        table: PercentileTable,
        out: NDArray[np.float32],
        results: NDArray[np.float64],
    ) -> None:
        """Record the probe if `out` has room for it, else evaluate."""
        network = self._layers, self._options, self._parameters
        kernels.observe(*network, buffers, self._test, index, out.size > 0, table, out, results)

    def _record_probe(self, rows: Rows) -> None:
        """Put a row of the probe, and one of gamma and beta, into `rows`."""
        _, q, units = rows.probe.shape
        rows.probe = np.empty((1, q, units), np.float32)
        index = self._everything[: probe_examples(self.settings)]
        self._observe(
            self._probe_buffers, index, self._probe_percentiles, rows.probe[0], np.empty(2)
        )
        if self._options.norm:
            rows.norm_parameters = self._packing.norm_parameters()[np.newaxis]

    def _metrics(self) -> MetricsRow:
        """A row of metrics, still without the norm of the gradient."""
        results = np.empty(2)
        nothing = np.empty((0, 0), np.float32)
        self._observe(self._test_buffers, self._everything, self._percentiles, nothing, results)
        correct, loss = (results / len(self._everything)).tolist()
        total, count = self._losses.tolist()
        train_loss = total / count if count else math.nan
        norm = self._bias_norm(self._parameters.vector)
        return MetricsRow(self.step, train_loss, correct, loss, norm, math.nan)

    def _bias_norm(self, vector: NDArray[Any]) -> float:
        """The Euclidean norm of all hidden biases, or of their gradient; NaN without them."""
        if not self._options.bias:
            return math.nan
        squares = 0.0
        for start, number in self._layers[:-1, [BIAS, UNITS]]:
            squares += float(np.square(vector[start : start + number].astype(np.float64)).sum())
        return math.sqrt(squares)

    def _gradient_shift(
        self, step: int, order: NDArray[np.int64], before: NDArray[Any]
    ) -> list[GradientShiftRow]:
        """The shift of this step's update, which has just been made; changes nothing."""
        vector, gradient = self._parameters.vector, self._parameters.gradient
        updated, depth = vector.copy(), len(self._layers)
        old = [self._packing.weights(gradient, n).copy() for n in range(1, depth)]
        new = []
        for n in range(1, depth):  # where only the layers before this one are updated
            here = self._layers[n, WEIGHT]
            vector[:here], vector[here:] = updated[:here], before[here:]
            self._run(order, step, self._empty_rows_of_batch(0), np.zeros(2), change=False)
            new.append(self._packing.weights(gradient, n).copy())
        vector[:] = updated
        return gradient_shift(step, old, new)

    def finish(self) -> list[Rows]:
        """The row of the network as it is now."""
        rows = empty_rows(self.settings, self._failure)
        finite = all(np.isfinite(array).all() for array in self._packing.state_dict(0).values())
        if rows.failure is None and not finite:
            rows.failure = Failure(self.step, "a weight is not finite")
        if rows.failure is None:
            if self.settings.record.probe_every is not None:
                self._record_probe(rows)
            rows.metrics = [self._metrics()]
        return [rows]

    def state(self) -> list[State]:
        """The parameters, the optimizer's memory, and the training loss so far."""
        return [self._packing.state(self.step) | {"train_loss": self._losses.copy()}]

    def load_state(self, step: int, states: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Continue from what `state` returned."""
        (state,) = states
        self._packing.load(state)
        self._losses[:] = state["train_loss"]
        self.step, self._failure = step, None

    def state_dicts(self) -> list[State]:
        """The network for plain PyTorch."""
        return [self._packing.state_dict(self.step)]
