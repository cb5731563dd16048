"""The networks of one run, step by step: what is recorded when, and all that a checkpoint holds."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray

from bnexp.config import flatten, probe_examples, recorded_layers
from bnexp.data import datasets as data
from bnexp.errors import RunError
from bnexp.files.run_folder import COLUMNS, RunFiles, Task
from bnexp.files.storage import AppendedArray
from bnexp.networks import backend as backends
from bnexp.networks import ics, optimizer
from bnexp.networks.backend import Array, Backend
from bnexp.networks.batches import Batches, one_hot, used_inputs
from bnexp.networks.batchnorm import LayerWork
from bnexp.networks.model import Network
from bnexp.networks.percentiles import Percentiles

BLOCK = 100  # rows kept on the device before they are written
CHUNK = 2000  # test examples evaluated at a time (see Backend.at_once for both)


class Recorder:
    """Percentiles of some layers, kept on the device for a block of rows and then appended."""

    def __init__(self, to: Backend, log: AppendedArray, q: Sequence[float], examples: int) -> None:
        self.backend, self.log = to, log
        self.percentiles = Percentiles(q, examples, to)
        stack, _, units = log.row_shape
        self._columns = to.empty(stack, units, examples)
        shape = stack, units, len(self.percentiles.rows)
        self._block = to.empty(to.at_once(BLOCK, stack), *shape)
        self._filled = 0

    def add(self, layers: Sequence[LayerWork]) -> None:
        """Record one row: the pre-activations of these layers."""
        start = 0
        for work in layers:
            end = start + work.preactivation.shape[2]
            self._columns[:, start:end] = work.preactivation.swapaxes(1, 2)
            start = end
        self._block[self._filled] = self.percentiles.select(self._columns)
        self._filled += 1
        if self._filled == len(self._block):
            self.flush()

    def flush(self) -> None:
        """Append the rows of the block to the log."""
        if self._filled:
            selected = self.backend.numpy(self._block[: self._filled])
            self.log.append(self.percentiles.interpolate(selected).tobytes())
            self._filled = 0


class Trainer:
    """The state of one run: networks, optimizer, losses since the last metrics row, step."""

    def __init__(self, task: Task, dataset: data.Dataset, files: RunFiles) -> None:
        self.task, self.files, self.settings = task, files, task.variant.settings
        model, train, record = self.settings.model, self.settings.train, self.settings.record
        to = self.backend = backends.choose(train.device, train.dtype)
        features = dataset.train_x.shape[1]
        inputs = used_inputs(dataset, train.weight_decay)
        dataset = replace(
            dataset,
            train_x=dataset.train_x[:, inputs.numpy()],
            test_x=dataset.test_x[:, inputs.numpy()],
        )
        self.network = Network(model, features, dataset.classes, task.seeds, to, inputs)
        self.optimizer = optimizer.make(train, to, len(self.network.vector))
        self.batches = Batches(dataset, train.batch_size, task.seeds, to)
        self.work = self.network.workspace(train.batch_size)
        self.recorded = [self.work.layers[layer - 1] for layer in recorded_layers(self.settings)]
        self.recorder = Recorder(to, files.batch, record.percentiles, train.batch_size)
        if files.probe is not None:
            probe = dataset.test_x[: probe_examples(self.settings)]
            self.probe = to.asarray(torch.from_numpy(probe))
            hidden = len(model.hidden)  # the logits are not recorded
            self.probe_work = self.network.workspace(len(self.probe), hidden)
            self.probe_recorder = Recorder(to, files.probe, record.percentiles, len(self.probe))
        self.test = (
            to.asarray(torch.from_numpy(dataset.test_x)),
            to.asarray(one_hot(dataset, "test")),
        )
        self.chunk = min(to.at_once(CHUNK, len(task.seeds)), len(dataset.test_x))
        self.test_work = self.network.workspace(self.chunk)
        self.step = 0
        self._losses = to.empty(BLOCK, len(task.seeds))
        self._losses_filled = 0
        self._losses_kept: list[NDArray[np.float64]] = []  # since the last metrics row

    def advance(self) -> None:
        """Make one update; before it, record what is due at this step."""
        record, step = self.settings.record, self.step
        if record.probe_every is not None and step % record.probe_every == 0:
            self.record_probe()
        x, targets = self.batches(step)
        self.network.forward(x, self.work, "batch")
        if step % record.every == 0:
            self.recorder.add(self.recorded)
        loss = self.network.loss(self.work, targets)
        self.network.backward(x, self.work)
        if step % record.evaluate_every == 0:
            self.record_metrics(bias_gradient_norm=self._bias_norm(self.network.gradients))
        self._losses[self._losses_filled] = loss
        self._losses_filled += 1
        self.network.update_running(self.work)
        if record.ics_every is not None and step % record.ics_every == 0:
            self._update_and_record_shift(x, targets)
        else:
            self.optimizer.update(self.network.vector, self.network.gradient_vector, step)
        self.step += 1
        if self._losses_filled == BLOCK:
            self._flush_losses()

    def _update_and_record_shift(self, x: Array, targets: Array) -> None:
        network, copy = self.network, self.backend.copy
        parameters, gradient = copy(network.vector), copy(network.gradient_vector)
        self.optimizer.update(network.vector, network.gradient_vector, self.step)
        shift = ics.gradient_shift(network, self.work, x, targets, parameters, gradient)
        self.files.append_shift(self.step, shift)

    def record_probe(self) -> None:
        """Record the probe percentiles of all hidden layers; the running statistics stay."""
        self.network.forward(self.probe, self.probe_work, "batch")
        self.probe_recorder.add(self.probe_work.layers)

    def record_metrics(self, bias_gradient_norm: NDArray[np.float64] | None = None) -> None:
        """Append a row of metrics for each seed."""
        self._flush_losses()
        missing = np.full(len(self.task.seeds), math.nan)
        losses = np.concatenate(self._losses_kept).mean(0) if self._losses_kept else missing
        self._losses_kept = []
        accuracy, loss = self.evaluate()
        gradient = missing if bias_gradient_norm is None else bias_gradient_norm
        columns = (losses, accuracy, loss, self._bias_norm(self.network.parameters), gradient)
        self.files.append_metrics(self.step, dict(zip(COLUMNS, columns, strict=True)))

    def evaluate(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Accuracy and mean cross-entropy (S,) on the test set, in evaluation mode."""
        x, targets = self.test
        correct, loss = np.zeros(len(self.task.seeds)), np.zeros(len(self.task.seeds))
        for start in range(0, len(x), self.chunk):
            here, wanted = x[start : start + self.chunk], targets[start : start + self.chunk]
            work = self.test_work
            if len(here) != self.chunk:
                work = self.network.workspace(len(here))
            logits = self.network.forward(here, work, "running")
            hits = logits.argmax(2) == wanted.argmax(1)
            correct += self.backend.numpy(hits.sum(1))
            loss += self.backend.numpy(self.network.loss(work, wanted)) * len(here)
        return correct / len(x), loss / len(x)

    def _bias_norm(self, arrays: Mapping[str, Array]) -> NDArray[np.float64]:
        """Euclidean norm (S,) of the biases of all hidden layers; NaN where there are none."""
        keys = [f"layers.{layer}.bias" for layer in range(1, self.network.depth)]
        squares = [
            np.square(self.backend.numpy(arrays[key]).astype(np.float64)).sum(1)
            for key in keys
            if key in arrays
        ]
        return np.sqrt(sum(squares)) if squares else np.full(len(self.task.seeds), math.nan)

    def publish(self) -> None:
        """Put everything recorded on the disk and make it visible to readers."""
        self.recorder.flush()
        if self.files.probe is not None:
            self.probe_recorder.flush()
        self.files.publish()

    def check_finite(self) -> None:
        """Check that training goes on.

        Raises:
            RunError: a loss or a weight is not finite.
        """
        self._flush_losses()
        if not np.isfinite(self.backend.numpy(self.network.vector)).all():
            self._fail(self.step, "a weight")

    def _flush_losses(self) -> None:
        if not self._losses_filled:
            return
        losses = self.backend.numpy(self._losses[: self._losses_filled]).astype(np.float64)
        bad = ~np.isfinite(losses).all(1)
        if bad.any():
            self._fail(self.step - len(losses) + int(bad.argmax()), "the loss")
        self._losses_kept.append(losses)
        self._losses_filled = 0

    def _fail(self, step: int, what: str) -> None:
        raise RunError(
            f"{self.task.variant.name}: {what} is not finite at step {step}; "
            f"lower train.lr (now {self.settings.train.lr:g}), or weight_std"
        )

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        host = {
            **self.network.state(),
            **{f"optimizer.{k}": v for k, v in self.optimizer.state.items()},
        }
        kept = [np.empty((0, len(self.task.seeds))), *self._losses_kept]
        return {
            "step": self.step,
            "settings": settings_text(self.task),
            "arrays": {key: torch.from_numpy(self.backend.numpy(a)) for key, a in host.items()},
            "losses": torch.from_numpy(np.concatenate(kept)),
            "extents": self.files.extents(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.step = state["step"]
        for key, array in self.network.state().items():
            array[...] = self.backend.asarray(state["arrays"][key])
        for key, array in self.optimizer.state.items():
            array[...] = self.backend.asarray(state["arrays"][f"optimizer.{key}"])
        self._losses_kept = [state["losses"].numpy()] if len(state["losses"]) else []
        self.files.resume(state["extents"])


def settings_text(task: Task) -> str:
    """What a checkpoint is good for: settings and seeds, for any steps and any `data.root`."""
    settings = flatten(task.variant.settings)
    del settings["train.steps"], settings["data.root"]
    return json.dumps({"seeds": task.seeds, **settings}, sort_keys=True)
