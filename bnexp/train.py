"""One run: step, record, evaluate, checkpoint; continued exactly where it was stopped."""

import json
import math
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray

from bnexp import backend as backends
from bnexp import checkpoint, data, ics, optimizer
from bnexp.backend import Array, Backend
from bnexp.config import flatten, recorded_layers
from bnexp.errors import ConfigError, DamagedError, RunError
from bnexp.model import LayerWork, Network
from bnexp.percentiles import Percentiles
from bnexp.runlog import COLUMNS, MODEL, PERCENTILES, STATUS, RunFiles, Task, describe_percentiles
from bnexp.storage import AppendedArray, locked, storage_errors, write_json, write_sealed

BLOCK = 100  # rows kept on the device before they are written
CHUNK = 2000  # test examples evaluated at a time (see Backend.at_once for both)
HEARTBEAT_SECONDS = 1.0


class Batches:
    """The minibatches of S seeds; a function of the step alone, so resuming needs no state.

    Each seed goes through its own permutation of the training set in each epoch.
    """

    def __init__(self, dataset: data.Dataset, size: int, seeds: Sequence[int], to: Backend) -> None:
        self.backend, self.size, self.seeds = to, size, tuple(seeds)
        self.examples = len(dataset.train_x)
        self.per_epoch = self.examples // size
        x = dataset.train_x
        # Binary pixels take a quarter of the memory as bytes, and less time to gather.
        x = x.to(torch.uint8) if torch.equal(x, x.bool().to(x.dtype)) else x
        self._x, self._targets = to.asarray(x), to.asarray(one_hot(dataset, "train"))
        self._x_out = to.empty(len(seeds), size, dataset.train_x.shape[1])
        self._targets_out = to.empty(len(seeds), size, dataset.classes)
        self._epoch, self._order = -1, None

    def __call__(self, step: int) -> tuple[Array, Array]:
        """x (S, B, features) and one-hot targets (S, B, classes) of a step."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            orders = [
                data.batch_order(self.examples, self.size, seed, epoch) for seed in self.seeds
            ]
            self._epoch, self._order = epoch, self.backend.asarray(torch.stack(orders, 1))
        index = self._order[position]  # type: ignore[index]
        return (
            self.backend.take(self._x, index, self._x_out),
            self.backend.take(self._targets, index, self._targets_out),
        )


def one_hot(dataset: data.Dataset, part: str) -> torch.Tensor:
    """The labels of the `train` or `test` part as (n, classes)."""
    labels = getattr(dataset, f"{part}_y")
    return torch.nn.functional.one_hot(labels, dataset.classes).to(torch.float32)


def used_inputs(dataset: data.Dataset, weight_decay: float) -> torch.Tensor:
    """Indices of the features that are not 0 in all examples; of all, where weights decay.

    The border of the images is empty: a seventh of the binarised pixels of MNIST.
    """
    if weight_decay:
        return torch.arange(dataset.train_x.shape[1])
    return (dataset.train_x.any(0) | dataset.test_x.any(0)).nonzero()[:, 0]


class Recorder:
    """Percentiles of some layers, kept on the device for a block of rows and then appended."""

    def __init__(
        self, to: Backend, log: AppendedArray, q: Sequence[float], examples: int, block: int
    ) -> None:
        self.backend, self.log = to, log
        self.percentiles = Percentiles(q, examples, to)
        stack, _, units = log.row_shape
        self._columns = to.empty(stack, units, examples)
        shape = stack, units, len(self.percentiles.rows)
        self._block = to.empty(to.at_once(block, stack), *shape)
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
            dataset, train_x=dataset.train_x[:, inputs], test_x=dataset.test_x[:, inputs]
        )
        self.network = Network(model, features, dataset.classes, task.seeds, to, inputs)
        self.optimizer = optimizer.make(train, to, len(self.network.vector))
        self.batches = Batches(dataset, train.batch_size, task.seeds, to)
        self.work = self.network.workspace(train.batch_size)
        self.recorded = [self.work.layers[layer - 1] for layer in recorded_layers(self.settings)]
        self.recorder = Recorder(to, files.batch, record.percentiles, train.batch_size, BLOCK)
        if files.probe is not None:
            if record.probe_size > len(dataset.test_x):
                raise ConfigError(
                    f"record.probe_size: {record.probe_size}, but the test set of {dataset.name} "
                    f"has {len(dataset.test_x)} examples; choose at most that many"
                )
            self.probe = to.asarray(dataset.test_x[: record.probe_size])
            hidden = len(model.hidden)  # the logits are not recorded
            self.probe_work = self.network.workspace(len(self.probe), hidden)
            self.probe_recorder = Recorder(to, files.probe, record.percentiles, len(self.probe), 1)
        self.test = to.asarray(dataset.test_x), to.asarray(one_hot(dataset, "test"))
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

    def flush(self) -> None:
        """Hand everything recorded to the files.

        Raises:
            RunError: a loss or a weight is not finite.
        """
        self.recorder.flush()
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


def run(task: Task, stop: Callable[[], bool], say: Callable[[str], None]) -> str:
    """Do a run, or what is left of it; returns its state, `done` or `interrupted`.

    Args:
        task: the run.
        stop: asked several times a second; where true, the run stops after a checkpoint.
        say: told, in a line, what a user should know.

    Raises:
        RunError: the loss is not finite.
        DataError: the data set is missing or damaged.
        StorageError: the files cannot be written, or another process writes them.
    """
    with storage_errors(task.folder):
        task.folder.mkdir(parents=True, exist_ok=True)
        # A process whose parent was killed needs a moment to notice and end.
        with locked(task.folder, wait=5.0):
            return _run_locked(task, stop, say)


def _run_locked(task: Task, stop: Callable[[], bool], say: Callable[[str], None]) -> str:
    settings = task.variant.settings
    torch.set_num_threads(settings.train.threads)
    dataset = data.load(settings.data)
    with closing(RunFiles(task.folder, settings, task.seeds)) as files:
        trainer = Trainer(task, dataset, files)
        status = _Status(task, trainer)
        try:
            _begin(trainer, status, say)
            write_json(task.folder / PERCENTILES, describe_percentiles(settings, task.seeds))
            return _loop(trainer, status, stop)
        except Exception as error:
            # This error is the one to tell, whether or not the disk still takes what follows.
            with suppress(OSError):
                if isinstance(error, RunError):  # what led there is worth a look
                    files.publish()
                    status.extents = files.extents()
                if status.extents:  # else the files of before are untouched
                    status.write("failed", error=str(error) or type(error).__name__)
            raise


def _begin(trainer: Trainer, status: "_Status", say: Callable[[str], None]) -> None:
    """Restore the newest checkpoint that is whole and fits its logs, or start anew.

    At every moment, `status.json` promises readers only what the logs hold.
    """
    task, files = trainer.task, trainer.files
    state, complaints = checkpoint.load(task.folder, lambda state: _check_fit(trainer, state))
    for complaint in complaints:
        say(f"{complaint}; {'using the checkpoint before' if state else 'starting again'}")
    if state is None:
        status.path.unlink(missing_ok=True)
        files.start()
    else:
        trainer.step, status.extents = state["step"], state["extents"]
        status.write("running")
        trainer.restore(state)
        say(f"{task.variant.name}: continuing at step {trainer.step}")
    status.extents = files.extents()


def _check_fit(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Check that the run can continue from this checkpoint.

    Raises:
        DamagedError: it belongs to another run, or a log does not hold what it counts on.
    """
    task = trainer.task
    other = f"{task.folder}: its checkpoint belongs to other settings; use --out DIR, or --force"
    if state.get("format") != checkpoint.FORMAT or state["step"] > trainer.settings.train.steps:
        raise DamagedError(other)
    if state["settings"] != settings_text(task):
        raise DamagedError(other)
    trainer.files.check(state["extents"])


def _loop(trainer: Trainer, status: "_Status", stop: Callable[[], bool]) -> str:
    train, files = trainer.settings.train, trainer.files
    status.write("running")
    with np.errstate(all="ignore"):  # what is not finite is found, and said, by `flush`
        while trainer.step < train.steps:
            trainer.advance()
            stopping = status.due() and stop()
            if (
                stopping
                or trainer.step % train.checkpoint_every == 0
                or trainer.step == train.steps
            ):
                status.extents = _checkpoint(trainer)
                status.write("running")
            elif status.beat_due():
                status.write("running")
            if stopping and trainer.step < train.steps:
                status.write("interrupted")
                return "interrupted"
        # The final network's rows come after the last checkpoint, so that a longer run of the
        # same config can continue from it.
        if files.probe is not None:
            trainer.record_probe()
        trainer.record_metrics()
    files.publish()
    model = checkpoint.save_tensors(trainer.task.folder / MODEL, trainer.network.model())
    status.extents = {**files.extents(), MODEL: model}
    status.write("done")
    return "done"


def _checkpoint(trainer: Trainer) -> dict[str, dict[str, int]]:
    """Logs first, then the checkpoint that counts on them; returns the logs' extents."""
    trainer.flush()
    trainer.files.publish()
    checkpoint.save(trainer.task.folder, trainer.state())
    return trainer.files.extents()


class _Status:
    """Writes status.json, and knows when it is time to."""

    def __init__(self, task: Task, trainer: Trainer) -> None:
        self.path, self.trainer = task.folder / STATUS, trainer
        self.constant = {
            **task.provenance,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "backend": trainer.backend.name,
            "seeds": list(task.seeds),
            "threads": trainer.settings.train.threads,
            "parameters": trainer.network.parameter_count,
        }
        self.extents: Mapping[str, Any] = {}  # what readers may rely on
        self._began: tuple[float, int] | None = None
        self._look = self._beat = 0.0

    def due(self) -> bool:
        """Whether it is time to ask for a stop: five times a second."""
        now = time.monotonic()
        if now < self._look:
            return False
        self._look = now + 0.2
        return True

    def beat_due(self) -> bool:
        """Whether it is time for a heartbeat."""
        return self._look > self._beat

    def write(self, state: str, **more: str) -> None:
        """Write the file."""
        now, step = time.monotonic(), self.trainer.step
        if self._began is None:
            self._began = now, step
        began, first = self._began
        self._beat = now + HEARTBEAT_SECONDS
        write_sealed(
            self.path,
            {
                "state": state,
                "step": step,
                "steps": self.trainer.settings.train.steps,
                "heartbeat": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds_per_step": (now - began) / (step - first) if step > first else None,
                **self.constant,
                **more,
                "files": self.extents,
            },
        )
