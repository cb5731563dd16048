"""What an experiment's files say: the content of summary.json, and the rows of `bnexp compare`.

Both are ready for JSON; None stands for what was not reached or not recorded.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp import analysis, paper
from bnexp.config import Settings, differences, flatten
from bnexp.errors import ConfigError
from bnexp.located import suggestion
from bnexp.runlog import ExperimentFiles, Run

Measures = dict[str, NDArray[np.float64]]

CAVEAT = (
    "'End' is the end of the run. A net that still moves then would settle later in a longer run."
)
OF_THE_NORM = {"norm", "norm_eps", "norm_momentum", "bias", "bias_std", "gamma", "beta"}
"""Keys of `model` in which a normalized net and its plain counterpart may differ."""


def varied(settings: Sequence[Settings]) -> list[str]:
    """Dotted keys in which the settings differ; where the data lie is not one of them."""
    keys = {key for each in settings for key in differences(settings[0], each)} - {"data.root"}
    return [key for key in flatten(settings[0]) if key in keys]


def unit_measures(run: Run) -> Measures:
    """Settle steps and drift of each unit of the last hidden layer, each `(seeds, units)`.

    From the probe; empty where there is none, or no row yet.
    """
    log = run.probe
    if log is None or not len(log.steps):
        return {}
    layer = len(run.variant.settings.model.hidden)
    values = log.values[..., analysis.columns(log.layer, layer)]
    settled = {
        f"settle_{tolerance}": analysis.settle_step(log.steps, values, log.percentiles, tolerance)
        for tolerance in analysis.TOLERANCES
    }
    return settled | analysis.drift(log.steps, values, log.percentiles)


def measures(run: Run, units: Measures | None = None) -> Measures:
    """Every number of a run that has one value a seed, each `(seeds,)`.

    Args:
        run: the run.
        units: its `unit_measures`, where they are known; a seed's value is their median.
    """
    metrics = run.metrics
    if not len(metrics.steps):
        return {}
    units = unit_measures(run) if units is None else units
    found = {"test_accuracy": metrics.test_accuracy[-1], "train_loss": metrics.train_loss[-1]}
    found |= {name: np.median(values, axis=1) for name, values in units.items()}
    for accuracy in analysis.ACCURACIES:
        steps = analysis.steps_to(metrics.steps, metrics.test_accuracy, accuracy)
        found[f"steps_to_{100 * accuracy:g}"] = steps
    return found


def summarize(files: ExperimentFiles) -> dict[str, Any]:
    """The content of summary.json, but for the environment.

    Returns:
        `experiment`, `seeds`, `note`; `variants`: each begun run in numbers; `comparisons`: each
        finished normalized net less its plain counterpart, and P(one of its units settles sooner);
        `paper`: each finished network's distance to Figure 1, where the experiment is the paper's.
    """
    experiment, runs = files.experiment, files.runs
    keys = varied([variant.settings for variant in experiment.variants])
    units = {name: unit_measures(run) for name, run in runs.items()}
    found = {name: measures(run, units[name]) for name, run in runs.items()}
    variants = {}
    for name, run in runs.items():
        variants[name] = _entry(run.variant.settings, run, keys, found[name])
        variants[name]["median_of_all_units"] = {
            measure: np.median(values) for measure, values in units[name].items()
        }
        variants[name]["end"] = _end(run)
    comparisons = []
    for norm, plain in _counterparts(files):
        sooner = {
            name: _over_seeds(analysis.sooner(settled, units[plain][name]))
            for name, settled in units[norm].items()
            if name.startswith("settle_") and name in units[plain]
        }
        gaps = _differences(found[norm], found[plain])
        comparisons.append({"norm": norm, "plain": plain, "sooner": sooner, "differences": gaps})
    content: dict[str, Any] = {
        "experiment": experiment.name,
        "seeds": experiment.seeds,
        "note": CAVEAT,
        "variants": variants,
        "comparisons": comparisons,
        "paper": {
            name: distance
            for name, run in runs.items()
            if (distance := _paper_distance(run, variants[name]["end"]))
        },
    }
    return dict(_jsonable(content))


@dataclass(frozen=True)
class _Row:
    """A variant in a comparison; `run` is None before it was begun."""

    settings: Settings
    run: Run | None

    @property
    def done(self) -> bool:
        return self.run is not None and self.run.status.get("state") == "done"

    @property
    def state(self) -> str:
        if self.run is None:
            return "not started"
        step, steps = self.run.status.get("step", 0), self.settings.train.steps
        return f"{self.run.status.get('state')}: step {step:,} of {steps:,}"


def compare(files: Sequence[ExperimentFiles], baseline: str | None = None) -> list[dict[str, Any]]:
    """Every variant beside a baseline, paired by seed.

    Args:
        files: one experiment or several.
        baseline: a row's label: the variant's name; of several experiments, `experiment/variant`.
            None: the first row.

    Returns:
        A row a variant: `label`, `state`, `step`, `seeds`, `settings` (those that differ between
        rows), `parameters`, `seconds_per_step`, `measures` (mean, low, high, per_seed),
        `differences` from the baseline (the same and a verdict; None where there are none) and
        `notes`: why they are missing, or to be read with care.

    Raises:
        ConfigError: no row has the baseline's label.
    """
    rows = _labelled(files)
    baseline = next(iter(rows)) if baseline is None else baseline
    if baseline not in rows:
        hint = suggestion(baseline, rows) or f"; there are {', '.join(rows)}"
        raise ConfigError(f"--baseline {baseline}: no such variant{hint}")
    keys = varied([row.settings for row in rows.values()])
    found = {label: measures(row.run) if row.run else {} for label, row in rows.items()}
    table: list[dict[str, Any]] = []
    for label, row in rows.items():
        notes = [] if row.done else [row.state]
        gaps = None
        if label != baseline:
            mine, theirs, more = _pairs(row, rows[baseline])
            notes += more
            if mine:
                gaps = _differences(_at(found[label], mine), _at(found[baseline], theirs))
        entry = _entry(row.settings, row.run, keys, found[label])
        table.append({"label": label, **entry, "differences": gaps, "notes": notes})
    return [_jsonable(row) for row in table]


def _pairs(row: _Row, baseline: _Row) -> tuple[list[int], list[int], list[str]]:
    """Positions, in each, of the seeds that both have; and what to say of the pairing."""
    keys = {"data.name", "data.binarize", "train.steps"}
    notes = [
        f"{key} is not the baseline's: read the differences with care"
        for key in varied([row.settings, baseline.settings])
        if key in keys
    ]
    if not baseline.done:
        notes.append(f"the baseline is not finished ({baseline.state})")
    if not (row.done and baseline.done and row.run and baseline.run):
        return [], [], notes
    mine, theirs = row.run.metrics.seeds, baseline.run.metrics.seeds
    common = [seed for seed in mine if seed in theirs]
    if set(mine) != set(theirs):
        paired = f"paired over {_listed(common)}" if common else "none in common, so not paired"
        notes.append(f"seeds {_listed(mine)}, the baseline's {_listed(theirs)}: {paired}")
    here, there = ([seeds.index(seed) for seed in common] for seeds in (mine, theirs))
    return here, there, notes


def _differences(found: Measures, baseline: Measures) -> dict[str, Any]:
    """Each measure less the baseline's, seed by seed."""
    gaps = {name: found[name] - baseline[name] for name in found if name in baseline}
    return {
        name: _over_seeds(gap) | {"verdict": analysis.interval(gap).verdict}
        for name, gap in gaps.items()
    }


def _at(found: Measures, positions: Sequence[int]) -> Measures:
    """The measures of some seeds."""
    return {name: values[list(positions)] for name, values in found.items()}


def _entry(
    settings: Settings, run: Run | None, keys: Sequence[str], found: Measures
) -> dict[str, Any]:
    flat, status = flatten(settings), run.status if run else {"state": "not started"}
    return {
        "settings": {key: flat[key] for key in keys},
        "seeds": run.metrics.seeds if run else (),
        **{key: status.get(key) for key in ("state", "step", "parameters", "seconds_per_step")},
        "measures": {name: _over_seeds(values) for name, values in found.items()},
    }


def _end(run: Run) -> dict[str, Any] | None:
    """The last hidden layer's percentiles in the probe's last row."""
    log, layer = run.probe, len(run.variant.settings.model.hidden)
    if log is None or not len(log.steps):
        return None
    units = analysis.columns(log.layer, layer)
    end = log.values[-1][..., units]
    seed, unit = analysis.typical_unit(end, log.percentiles)
    return {
        "step": log.steps[-1],
        "layer": layer,
        "population": log.population,
        "percentiles": log.percentiles,
        "median_of_all_units": np.median(end, axis=(0, 2)),
        "typical_unit": end[seed, :, unit],
        "typical_seed": log.seeds[seed],
        "typical_index": log.unit[units][unit],
    }


def _paper_distance(run: Run, end: dict[str, Any] | None) -> dict[str, Any] | None:
    panel, metrics = paper.paper_panel(run.variant.settings), run.metrics
    if panel is None or end is None or run.status.get("state") != "done":
        return None
    accuracy = paper.accuracy_distance(panel, metrics.steps, metrics.test_accuracy.mean(axis=1))
    return {
        "panel": panel,
        "accuracy": accuracy and accuracy[0],
        "at_step": accuracy and accuracy[1],
        "end_percentiles": paper.end_distance(panel, end["percentiles"], end["typical_unit"]),
    }


def _labelled(files: Sequence[ExperimentFiles]) -> dict[str, _Row]:
    names = [each.experiment.name for each in files]
    if len(set(names)) < len(names):
        names = [str(each.path) for each in files]
    return {
        variant.name if len(files) == 1 else f"{name}/{variant.name}": _Row(
            variant.settings, each.runs.get(variant.name)
        )
        for name, each in zip(names, files, strict=True)
        for variant in each.experiment.variants
    }


def _counterparts(files: ExperimentFiles) -> list[tuple[str, str]]:
    """Pairs (normalized, plain) of finished runs that differ in nothing else."""
    done = {name: run for name, run in files.runs.items() if run.status.get("state") == "done"}
    settings = {name: run.variant.settings for name, run in done.items()}
    allowed = {f"model.{key}" for key in OF_THE_NORM}
    return [
        (norm, plain)
        for norm in settings
        for plain in settings
        if settings[norm].model.norm != "none"
        and settings[plain].model.norm == "none"
        and set(varied([settings[norm], settings[plain]])) <= allowed
    ]


def _over_seeds(values: NDArray[np.float64]) -> dict[str, Any]:
    found = asdict(analysis.interval(values))
    del found["seeds"]
    return found | {"per_seed": values}


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _jsonable(value: Any) -> Any:  # noqa: ANN401  (JSON's values have no narrower type)
    """Tuples and arrays as lists, numpy's numbers as Python's, NaN and infinity as None."""
    if isinstance(value, dict):
        return {key: _jsonable(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
