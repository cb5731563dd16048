"""TEMPORARY stand-in for the engines."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
import numpy as np
from numpy.typing import NDArray
import torch
from bnexp.networks import backend as backends
from bnexp.networks import optimizer
from bnexp.networks.batches import Batches, one_hot
from bnexp.networks.model import Network
from bnexp.networks.percentiles import Percentiles
from bnexp.config.experiment import recorded_layers


class MetricsRow(NamedTuple):
    step: int
    train_loss: float
    test_accuracy: float
    test_loss: float
    bias_norm: float
    bias_gradient_norm: float


class GradientShiftRow(NamedTuple):
    step: int
    layer: int
    distance: float
    relative_distance: float
    cosine: float


@dataclass
class Rows:
    batch: Any
    probe: Any
    norm_parameters: Any
    metrics: list = field(default_factory=list)
    gradient_shift: list = field(default_factory=list)
    failure: str | None = None


class Engine(Protocol):
    name: str
    description: str
    step: int

    def advance(self, steps: int) -> list[Rows]: ...
    def finish(self) -> list[Rows]: ...
    def state(self) -> list[dict[str, NDArray]]: ...
    def load_state(self, step: int, states) -> None: ...
    def state_dicts(self) -> list[dict[str, NDArray]]: ...


class Old:
    name = "torch"
    description = "stand-in"

    def __init__(self, settings, dataset, seeds):
        self.s = settings
        self.step = 0
        to = self.to = backends.NumpyBackend(settings.train.dtype)
        m, t, r = settings.model, settings.train, settings.record
        self.net = Network(m, dataset.train_x.shape[1], dataset.classes, seeds, to)
        self.opt = optimizer.make(t, to, len(self.net.vector))
        self.batches = Batches(dataset, t.batch_size, seeds, to)
        self.work = self.net.workspace(t.batch_size)
        self.p = Percentiles(r.percentiles, t.batch_size, to)
        n = r.probe_size or min(1000, len(dataset.test_x))
        self.pp = Percentiles(r.percentiles, n, to)
        self.probe = to.asarray(dataset.test_x[:n])
        self.pw = self.net.workspace(n, len(m.hidden))
        self.test = to.asarray(dataset.test_x), to.asarray(one_hot(dataset, "test"))
        self.tw = self.net.workspace(len(dataset.test_x))
        self.loss_sum = 0.0
        self.count = 0

    def _pct(self, p, layers):
        z = np.concatenate([l.preactivation for l in layers], 2).swapaxes(1, 2).copy()
        return p.interpolate(p.select(z))[0]

    def _probe(self, rows):
        self.net.forward(self.probe, self.pw, "batch")
        rows.probe.append(self._pct(self.pp, self.pw.layers))
        if self.s.model.norm == "batch":
            h = self.s.model.hidden
            g = [
                np.asarray(self.net.parameters.get(f"layers.{i + 1}.gamma", np.ones((1, n))))[0]
                for i, n in enumerate(h)
            ]
            b = [
                np.asarray(self.net.parameters.get(f"layers.{i + 1}.beta", np.zeros((1, n))))[0]
                for i, n in enumerate(h)
            ]
            rows.norm_parameters.append(
                np.stack([np.concatenate(g), np.concatenate(b)]).astype(np.float32)
            )

    def _norm(self, arrays):
        x = [
            np.square(arrays[k].astype(np.float64)).sum()
            for k in (f"layers.{i}.bias" for i in range(1, self.net.depth))
            if k in arrays
        ]
        return float(np.sqrt(sum(x))) if x else math.nan

    def _metrics(self, rows, grad):
        logits = self.net.forward(self.test[0], self.tw, "running")
        acc = float((logits.argmax(2) == self.test[1].argmax(1)).mean())
        loss = float(self.net.loss(self.tw, self.test[1])[0])
        rows.metrics.append(
            MetricsRow(
                self.step,
                self.loss_sum / self.count if self.count else math.nan,
                acc,
                loss,
                self._norm(self.net.parameters),
                grad,
            )
        )
        self.loss_sum, self.count = 0.0, 0

    def _rows(self, rows):
        q = len(self.s.record.percentiles)
        h = self.s.model.hidden
        rows.batch = np.array(rows.batch, np.float32).reshape(
            -1, q, sum(h[l - 1] for l in recorded_layers(self.s))
        )
        rows.probe = np.array(rows.probe, np.float32).reshape(-1, q, sum(h))
        rows.norm_parameters = np.array(rows.norm_parameters, np.float32).reshape(-1, 2, sum(h))
        return [rows]

    def advance(self, steps):
        rows, r = Rows([], [], []), self.s.record
        for _ in range(steps):
            t = self.step
            if r.probe_every is not None and t % r.probe_every == 0:
                self._probe(rows)
            x, y = self.batches(t)
            self.net.forward(x, self.work, "batch")
            if t % r.every == 0:
                rows.batch.append(
                    self._pct(self.p, [self.work.layers[l - 1] for l in recorded_layers(self.s)])
                )
            loss = float(self.net.loss(self.work, y)[0])
            self.net.backward(x, self.work)
            if t % r.evaluate_every == 0:
                self._metrics(rows, self._norm(self.net.gradients))
            if not math.isfinite(loss):
                rows.failure = f"the loss is not finite at step {t}"
                return self._rows(rows)
            self.loss_sum += loss
            self.count += 1
            self.net.update_running(self.work)
            self.opt.update(self.net.vector, self.net.gradient_vector, t)
            if r.ics_every and t % r.ics_every == 0:
                rows.gradient_shift += [
                    GradientShiftRow(t, l, 1.0, 0.5, 0.25) for l in range(2, self.net.depth + 1)
                ]
            self.step += 1
        return self._rows(rows)

    def finish(self):
        rows = Rows([], [], [])
        if self.s.record.probe_every is not None:
            self._probe(rows)
        self._metrics(rows, math.nan)
        return self._rows(rows)

    def state(self):
        return [
            {
                **{f"n.{k}": np.array(v) for k, v in self.net.state().items()},
                **{f"o.{k}": np.array(v) for k, v in self.opt.state.items()},
                "loss_sum": np.array(self.loss_sum),
                "count": np.array(self.count),
            }
        ]

    def load_state(self, step, states):
        self.step = step
        (s,) = states
        for k, v in self.net.state().items():
            v[...] = s[f"n.{k}"]
        for k, v in self.opt.state.items():
            v[...] = s[f"o.{k}"]
        self.loss_sum, self.count = float(s["loss_sum"]), int(s["count"])

    def state_dicts(self):
        out = {}
        for k, v in self.net.state().items():
            _, n, what = k.split(".")
            last = int(n) == self.net.depth
            a = np.array(v)[0]
            name = {
                "weight": f"linear{n}.weight",
                "bias": f"linear{n}.bias",
                "gamma": f"norm{n}.weight",
                "beta": f"norm{n}.bias",
                "running_mean": f"norm{n}.running_mean",
                "running_var": f"norm{n}.running_var",
            }[what]
            if last:
                name = name.replace(f"linear{n}", "output")
            out[name] = a.T.copy() if what == "weight" else a
        return [out]


def make_engine(settings, dataset, seeds):
    return Old(settings, dataset, seeds)


def prepare(settings, say):
    return False
