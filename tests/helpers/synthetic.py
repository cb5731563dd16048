"""Experiments without training: logs that behave like the paper's two networks."""

from pathlib import Path

import numpy as np

from bnexp.analysis.records import MetricsLog, PercentileLog
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.variants import VariantResults
from bnexp.config import (
    DataConfig,
    ModelConfig,
    RecordConfig,
    Settings,
    TrainConfig,
    Variant,
    flatten,
)

Z = np.array([-1.0364, 0.0, 1.0364])


def settings(norm="none", *, steps=50_000, data="mnist", hidden=(100, 100, 100), **model):
    """Settings of the paper's experiment, or near it."""
    return Settings(
        DataConfig(name=data),
        ModelConfig(hidden=hidden, norm=norm, bias=norm == "none", **model),
        TrainConfig(steps=steps),
        RecordConfig(),
    )


class MadeUp(VariantResults):
    """Results whose logs are given, with nothing on the disk."""

    GIVEN = (
        "metrics",
        "probe",
        "minibatch",
        "gradient_shift",
        "norm_parameters",
        "running_statistics",
    )
    ABOUT = ("state", "step", "parameters", "seconds_per_step")
    state = step = parameters = seconds_per_step = None

    @classmethod
    def of(cls, name, settings, **given):
        """The results with these logs, and this to say about themselves."""
        made = cls(name, settings, Path(name), ())
        vars(made).update(given)
        return made

    @property
    def seeds(self):
        """Those of the metrics."""
        return self.metrics.seeds


def percentile_log(values, every=1, hidden=(100, 100, 100), examples=60):
    """A log of these values `(rows, seeds, 3, units)`: of a minibatch, or of a larger probe."""
    steps = every * np.arange(len(values))
    layer = np.repeat(np.arange(1, len(hidden) + 1), hidden)[-values.shape[3] :]
    unit = np.concatenate([np.arange(n) for n in hidden])[-values.shape[3] :]
    seeds = tuple(range(values.shape[1]))
    population = f"the first {examples} examples" if examples > 60 else "the step's minibatch"
    values = values.astype(np.float32)
    return PercentileLog(
        steps, values, (15.0, 50.0, 85.0), seeds, layer, unit, examples, population
    )


def run(variant, accuracy, probe, batch=None):
    """A finished run whose logs are these, with nothing on the disk."""
    rows, seeds = accuracy.shape
    nothing = np.full((rows, seeds), np.nan)
    steps = np.linspace(0, variant.settings.train.steps, rows).astype(np.int64)
    metrics = MetricsLog(
        steps, tuple(range(seeds)), 1 - accuracy, accuracy, nothing, nothing, nothing
    )
    return MadeUp.of(
        variant.name,
        flatten(variant.settings),
        state="done",
        step=int(steps[-1]),
        parameters=99_710,
        seconds_per_step=1e-3,
        metrics=metrics,
        probe=probe,
        minibatch=batch,
        gradient_shift=None,
        norm_parameters=None,
        running_statistics=None,
    )


def other(run, **changes):
    """The run with another name, other settings or logs, or another state or step."""
    name, settings = changes.pop("name", run.name), changes.pop("settings", run.settings)
    kept = {key: getattr(run, key) for key in (*MadeUp.GIVEN, *MadeUp.ABOUT)}
    return MadeUp.of(name, settings, **(kept | changes))


def paths(norm, rng, rows, seeds, units):
    """Percentiles over time: swinging from one line without BN, a slowly growing width with."""
    t = np.linspace(0, 1, rows)[:, None, None, None]
    if norm == "batch":
        middle = 0.1 * rng.standard_normal((1, seeds, 1, units)) * np.sqrt(t)
        wide = 1.2 + 0.8 * t**0.4 * rng.uniform(0.6, 1.4, (1, seeds, 1, units))
        jitter = 0.01
    else:
        grown = 1 / (1 + np.exp(-120 * (t - 0.05)))
        late = rng.uniform(2, 6, (1, seeds, 1, units))
        phase = rng.uniform(0, 6, (1, seeds, 1, units))
        middle = grown * (1.1 * np.sin(30 * np.sqrt(t) + phase) * np.exp(-late * t) + 0.2 * t)
        wide = 0.05 + grown * rng.uniform(0.9, 1.7, (1, seeds, 1, units)) * (0.8 + 0.3 * t)
        jitter = 0.03
    noise = jitter * rng.standard_normal((rows, seeds, 3, units))
    return (middle + wide * Z[:, None] + noise * wide).astype(np.float32)


def experiment_of(variants, name="fig1"):
    """An experiment with these results of variants, by name."""
    seeds = next(iter(variants.values())).metrics.seeds if variants else (0,)
    settings = {label: each.settings for label, each in variants.items()}
    return ExperimentResults(Path("results") / name, name, seeds, settings, variants)


def fig1(rows=1001, seeds=5, hidden=(100, 100, 100), data="mnist", batch_rows=None):
    """The paper's experiment in miniature or whole, with made-up curves."""
    rng = np.random.default_rng(0)
    runs = {}
    for name, norm in (("baseline", "none"), ("batchnorm", "batch")):
        variant = Variant(name, {"model.norm": norm}, settings(norm, hidden=hidden, data=data))
        t = np.linspace(0, 50, 101)[:, None] * 1000
        pace = (3000, 700)[norm == "batch"] * rng.uniform(0.9, 1.1, seeds)
        top = (0.969, 0.98)[norm == "batch"] + 0.001 * rng.standard_normal(seeds)
        accuracy = top - (top - 0.1) * np.exp(-t / pace)
        values = paths(norm, rng, rows, seeds, sum(hidden))
        probe = percentile_log(values, 50_000 // (rows - 1), hidden, examples=1000)
        batch = None
        if batch_rows:
            values = paths(norm, rng, batch_rows, seeds, hidden[-1])
            values += (0.16, 0.1)[norm == "batch"] * rng.standard_normal(values.shape, np.float32)
            batch = percentile_log(values, 50_000 // batch_rows, hidden)
        runs[name] = run(variant, accuracy, probe, batch)
    return experiment_of(runs)
