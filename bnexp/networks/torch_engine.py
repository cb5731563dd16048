"""The torch engine: autograd and `torch.optim`, on any device, one or many runs at once.

It is the reference: nothing is written out by hand that PyTorch has. The stacked parameters of R
runs are updated by one optimizer. SGD and Adam work on each number on its own, so this equals R
optimizers.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bnexp.config import Settings, probe_examples, recorded_layers
from bnexp.data.datasets import Dataset
from bnexp.files.run_folder import MetricsRow
from bnexp.networks.engine import (
    EngineName,
    Failure,
    Minibatches,
    Rows,
    State,
    is_due,
)
from bnexp.networks.gradient_shift import update_and_shift
from bnexp.networks.mlp import initial_state_dict
from bnexp.networks.optimizers import make_optimizer, memory_of
from bnexp.networks.stacked import StackedMLP, cross_entropy, host
from bnexp.networks.stacked_recorder import StackedRecorder
from bnexp.recording.torch_description import describe

CHUNK = 2000  # test examples evaluated at a time


class TorchEngine:
    """Trains R networks; see `bnexp.networks.engine` for what happens at a step.

    Args:
        settings: which the runs share.
        dataset: the arrays of the data set.
        seeds: one run for each.
        device: "cpu", "cuda" or "mps"; see `device.resolve_device`.
    """

    name: EngineName = "torch"

    def __init__(
        self, settings: Settings, dataset: Dataset, seeds: Sequence[int], device: str
    ) -> None:
        model, train = settings.model, settings.train
        self.settings, self.seeds, self.step = settings, tuple(seeds), 0
        self.device, self._dtype = torch.device(device), getattr(torch, train.dtype)
        self.description = describe(self.device)
        features = dataset.train_x.shape[1]
        initial = [
            initial_state_dict(model, features, dataset.classes, seed)[0] for seed in self.seeds
        ]
        self.network = StackedMLP(model, initial, self._dtype).to(self.device)
        self.optimizer = make_optimizer(self.network, train)
        self._minibatches = [Minibatches(len(dataset.train_y), train.batch_size, s) for s in seeds]
        self._train_x, self._train_y = self._put(dataset.train_x), self._put(dataset.train_y)
        self._test_x, self._test_y = self._put(dataset.test_x), self._put(dataset.test_y)
        self._probe_x = self._inputs(self._test_x[: probe_examples(settings)]).expand(
            len(seeds), -1, -1
        )
        # Sum and number of the losses since the last metrics row, of each run.
        self._losses = np.zeros((len(seeds), 2))
        self._recorded = [layer - 1 for layer in recorded_layers(settings)]
        self._recorder = StackedRecorder(settings, len(seeds))

    def _put(self, array: NDArray[Any]) -> Tensor:
        """The array on the device; zeros and ones as bytes, which take a quarter of the memory."""
        array = np.ascontiguousarray(array)
        if array.dtype.kind == "f" and ((array == 0) | (array == 1)).all():
            array = array.astype(np.uint8)
        return torch.from_numpy(array).to(self.device)

    def _inputs(self, rows: Tensor) -> Tensor:
        return rows.to(self._dtype)

    def advance(self, steps: int) -> list[Rows]:
        """Make so many updates; what they recorded, for each run."""
        end = self.step + steps
        losses: list[Tensor] = []
        while self.step < end:
            first = self.step
            order = np.stack([each.block(first, end) for each in self._minibatches], 1)
            indices = torch.from_numpy(order).to(self.device)
            for index in indices:
                if is_due(self.step, self.settings.record.evaluate_every):
                    self._add_losses(losses)
                    losses = []
                losses.append(self._update(index))
                self.step += 1
        self._add_losses(losses)
        return self._recorder.take()

    def _update(self, index: Tensor) -> Tensor:
        """One step on the minibatches `index` (R, B); the loss (R,) of each run."""
        record, step = self.settings.record, self.step
        if is_due(step, record.probe_every):
            self._record_probe()
        evaluated = is_due(step, record.evaluate_every)
        metrics = self._metrics() if evaluated else []
        self._losses[:] = np.where(evaluated, 0.0, self._losses)
        x, y = self._inputs(self._train_x[index]), self._train_y[index]
        logits, pre_activations = self.network(x, track=True)
        if is_due(step, record.every):
            self._recorder.add_batch(step, [pre_activations[n] for n in self._recorded])
        losses = cross_entropy(logits, y).mean(1)
        self.optimizer.zero_grad(set_to_none=True)
        # The runs share nothing, so the gradient of the sum holds the gradient of each.
        torch.autograd.backward(losses.sum())
        if evaluated:
            norms = self._bias_norms([bias.grad for bias in self.network.biases])
            rows = [
                row._replace(bias_gradient_norm=n) for row, n in zip(metrics, norms, strict=True)
            ]
            self._recorder.add_metrics(rows)
        if is_due(step, record.ics_every):
            shifts = update_and_shift(self.network, self.optimizer, step, x, y)
            self._recorder.add_gradient_shift(shifts)
        else:
            self.optimizer.step()
        return losses.detach()

    def _add_losses(self, losses: Sequence[Tensor]) -> None:
        """Add the losses of the steps before this one, one after the other, to the sums."""
        if not losses:
            return
        values = host(torch.stack([*losses])).astype(np.float64)
        first = self.step - len(values)
        for run in range(len(self.seeds)):
            bad = ~np.isfinite(values[:, run])
            if bad.any():
                step = first + int(bad.argmax())
                self._recorder.fail(run, Failure(step, "the loss is not finite"))
            # One at a time: `sum` adds in another order, which would depend on the number of steps.
            for value in values[:, run]:
                self._losses[run] += value, 1

    def _record_probe(self) -> None:
        with torch.no_grad():
            _, pre_activations = self.network(self._probe_x)
        self._recorder.add_probe(self.step, pre_activations)
        if (gamma_and_beta := self.network.gamma_and_beta) is not None:
            self._recorder.add_norm_parameters(self.step, gamma_and_beta)

    def _metrics(self) -> list[MetricsRow]:
        """A row of metrics for each run, still without the norm of the gradient."""
        correct = torch.zeros(len(self.seeds), dtype=torch.int64, device=self.device)
        # mps has no float64, so chunks are added up on the host.
        losses = np.zeros(len(self.seeds))
        for start in range(0, len(self._test_x), CHUNK):
            x = self._inputs(self._test_x[start : start + CHUNK]).expand(len(self.seeds), -1, -1)
            y = self._test_y[start : start + CHUNK].expand(len(self.seeds), -1)
            with torch.no_grad():
                logits, _ = self.network(x, batch_statistics=False)
                correct += (logits.argmax(2) == y).sum(1)
                losses += host(cross_entropy(logits, y)).astype(np.float64).sum(1)
        examples = len(self._test_x)
        columns = zip(
            (host(correct) / examples).tolist(),
            (losses / examples).tolist(),
            self._bias_norms(self.network.biases),
            self._losses.tolist(),
            strict=True,
        )
        return [
            MetricsRow(
                self.step, total / count if count else math.nan, accuracy, loss, norm, math.nan
            )
            for accuracy, loss, norm, (total, count) in columns
        ]

    def _bias_norms(self, biases: Sequence[Tensor | None]) -> list[float]:
        """The Euclidean norm of these arrays (R, 1, U), together, for each run; NaN of none."""
        squares = [
            np.square(host(b).astype(np.float64)).sum((1, 2)) for b in biases if b is not None
        ]
        norms: list[float] = np.sqrt(sum(squares, np.zeros(len(self.seeds)))).tolist()
        return norms if squares else [math.nan] * len(self.seeds)

    def finish(self) -> list[Rows]:
        """The row of each network as it is now."""
        for run, state in enumerate(self.state_dicts()):
            if not all(np.isfinite(array).all() for array in state.values()):
                self._recorder.fail(run, Failure(self.step, "a weight is not finite"))
        if self.settings.record.probe_every is not None:
            self._record_probe()
        self._recorder.add_metrics(self._metrics())
        return self._recorder.take()

    def state(self) -> list[State]:
        """The parameters, the optimizer's memory, and the training loss so far."""
        states = []
        for run, state in enumerate(self.state_dicts()):
            memory = {
                f"{key}.{name}": host(view)
                for name, arrays in memory_of(self.optimizer, self.network).items()
                for key, view in self.network.views(arrays, run).items()
            }
            states.append(state | memory | {"train_loss": self._losses[run].copy()})
        return states

    def load_state(self, step: int, states: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Continue from what `state` returned."""
        self.step = step
        self._recorder = StackedRecorder(self.settings, len(self.seeds))
        arrays = self._arrays()
        for run, state in enumerate(states):
            for key, view in self.network.views(arrays, run).items():
                view.copy_(torch.from_numpy(state[key]))
            for kind, memory in memory_of(self.optimizer, self.network).items():
                for key, view in self.network.views(memory, run).items():
                    view.copy_(torch.from_numpy(state[f"{key}.{kind}"]))
            self._losses[run] = state["train_loss"]
        for state in self.optimizer.state.values():
            if "step" in state:
                state["step"].fill_(step)

    def _arrays(self) -> dict[str, Tensor]:
        """All parameters and running statistics."""
        named = [*self.network.named_parameters(), *self.network.named_buffers()]
        return {name: tensor.detach() for name, tensor in named}

    def state_dicts(self) -> list[State]:
        """Each run's network for plain PyTorch."""
        arrays, counters = self._arrays(), {}
        if self.settings.model.norm == "batch":
            hidden = range(1, self.network.depth)
            counters = {f"norm{n}.num_batches_tracked": np.array(self.step) for n in hidden}
        return [
            {key: host(view) for key, view in self.network.views(arrays, run).items()} | counters
            for run in range(len(self.seeds))
        ]
