"""What an experiment's files say: the content of summary.json, and the rows of `bnexp compare`.

Both are ready for JSON; None stands for what was not reached or not recorded.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from bnexp.analysis import measures as analysis
from bnexp.analysis import paper
from bnexp.analysis.measures import Array
from bnexp.analysis.results import ExperimentResults, VariantResults
from bnexp.analysis.tables import cell
from bnexp.config.parsing import suggestion
from bnexp.config.schema import Value
from bnexp.errors import ConfigError

Measures = dict[str, Array]
Entry = dict[str, Any]

STATUS_KEYS = ("state", "step", "parameters", "seconds_per_step")
CAVEAT = "'End' is the end of the run. A net that still moves would settle later in a longer one."


def varied(settings: Sequence[Mapping[str, Value]]) -> list[str]:
    """Dotted keys in which the settings differ; where the data lie is not one of them."""
    first, *others = settings
    keys = [key for key in first if key != "data.root"]
    return [key for key in keys if any(other[key] != first[key] for other in others)]


def unit_measures(run: VariantResults) -> Measures:
    """Settle steps and drift of each unit of the last hidden layer, each `(seeds, units)`.

    From the probe; empty where there is none, or no row yet.
    """
    log = run.probe
    if log is None or not len(log.steps):
        return {}
    layer = len(run.settings["model.hidden"])
    values = log.values[..., analysis.columns(log.layer, layer)]
    settled = {
        f"settle_{tolerance}": analysis.settle_step(log.steps, values, log.percentiles, tolerance)
        for tolerance in analysis.TOLERANCES
    }
    return settled | analysis.drift(log.steps, values, log.percentiles)


def measures(run: VariantResults | None) -> Measures:
    """Every number of a run that has one value a seed, `(seeds,)`; of units, their median."""
    if run is None or not len(run.metrics.steps):
        return {}
    metrics = run.metrics
    found = {"test_accuracy": metrics.test_accuracy[-1], "train_loss": metrics.train_loss[-1]}
    found |= {name: np.median(values, axis=1) for name, values in unit_measures(run).items()}
    for accuracy in analysis.ACCURACIES:
        steps = analysis.steps_to(metrics.steps, metrics.test_accuracy, accuracy)
        found[f"steps_to_{100 * accuracy:g}"] = steps
    return found


def summarize(files: ExperimentResults) -> dict[str, Any]:
    """The content of summary.json, but for the environment.

    `variants`: each begun run in numbers. `comparisons`: each finished normalized net less its
    plain counterpart, and P(one of its units settles sooner). `paper`: each finished network's
    distance to Figure 1, where the experiment is the paper's.
    """
    keys = varied([*files.settings.values()])
    variants, units, comparisons = {}, {}, []
    for name, run in files.variants.items():
        units[name] = unit_measures(run)
        medians = {key: np.median(values) for key, values in units[name].items()}
        variants[name] = _entry(run.settings, run, keys)
        variants[name] |= {"median_of_all_units": medians, "end": _end(run)}
        variants[name] |= {"gradient_shift": _gradient_shift(run)}
    done = {name: run for name, run in files.variants.items() if variants[name]["state"] == "done"}
    for norm, plain in itertools.permutations(done, 2):
        if _counterparts(done[norm].settings, done[plain].settings):
            sooner = {
                key: _over_seeds(analysis.sooner(settled, units[plain][key]))
                for key, settled in units[norm].items()
                if key.startswith("settle_")
            }
            gaps = _differences(variants[norm], variants[plain])
            pair = {"norm": norm, "plain": plain, "sooner": sooner, "differences": gaps}
            comparisons.append(pair)
    distances = {name: paper.distance(run, variants[name]["end"]) for name, run in done.items()}
    content = {
        "experiment": files.name,
        "seeds": files.seeds,
        "note": CAVEAT,
        "variants": variants,
        "comparisons": comparisons,
        "paper": {name: found for name, found in distances.items() if found},
    }
    return dict(_jsonable(content))


def compare(
    files: Sequence[ExperimentResults], baseline: str | None = None
) -> list[dict[str, Any]]:
    """A row for every variant, with its differences from its baseline, paired by seed.

    Where these are None, `notes` say why.

    Args:
        files: the experiments.
        baseline: a label: the variant's name, or of several experiments `experiment/variant`; or
            `key=value`: each row's is then the one with this value and all other settings equal.
            None: in a grid, the first value of its last setting that has two; else the first row.

    Raises:
        ConfigError: no row is the baseline.
    """
    variants = _labelled(files)
    keys = varied([settings for settings, _ in variants.values()])
    rows = {label: {"label": label, **_entry(*each, keys)} for label, each in variants.items()}
    for label, base in _baselines(rows, baseline).items():
        row, other = rows[label], rows[base]
        row |= {"baseline": None if row is other else base, "differences": None}
        row |= {"notes": _notes(row, other), "percentile_gap": None}
        if row is not other and row["state"] == other["state"] == "done":
            row["differences"] = _differences(row, other)
            row["percentile_gap"] = _percentile_gap(variants[label][1], variants[base][1])
    return list(_jsonable([*rows.values()]))


def _baselines(rows: Mapping[str, Entry], baseline: str | None) -> dict[str, str]:
    """The label of the row that each row is compared with."""
    settings = {
        label: {k: cell(v) for k, v in row["settings"].items()} for label, row in rows.items()
    }
    first = next(iter(rows))
    if baseline is None:
        values = {key: {each[key] for each in settings.values()} for key in settings[first]}
        pairs = [key for key, found in values.items() if len(found) == 2]
        different = {tuple(each.values()) for each in settings.values()}
        grid = len(different) == len(rows) == math.prod(map(len, values.values()))
        many = grid and len(values) > 1 and pairs
        baseline = f"{pairs[-1]}={settings[first][pairs[-1]]}" if many else first
    if baseline in rows:
        return dict.fromkeys(rows, baseline)
    key, _, value = baseline.partition("=")
    found = {
        label: other
        for label, each in settings.items()
        for other, candidate in settings.items()
        if candidate == each | {key: value}
    }
    if len(found) < len(rows):
        hint = suggestion(baseline, rows) or f"; there are {', '.join(rows)}"
        raise ConfigError(f"--baseline {baseline}: no such variant{hint}")
    return found


def _percentile_gap(run: VariantResults | None, base: VariantResults | None) -> float | None:
    """Largest difference between the probe percentiles of two nets that should be equal.

    They should be where nothing but the bias before the norm differs: the norm subtracts it.
    """
    if run is None or base is None or run.probe is None or base.probe is None:
        return None
    settings = run.settings
    only_bias = set(varied([settings, base.settings])) <= {"model.bias", "model.bias_std"}
    if settings["model.norm"] == "none" or not only_bias or run.probe.seeds != base.probe.seeds:
        return None
    return float(np.abs(run.probe.values[:] - base.probe.values[:]).max())


def _labelled(
    files: Sequence[ExperimentResults],
) -> dict[str, tuple[Mapping[str, Value], VariantResults | None]]:
    """The variants by label; without a run before they were begun."""
    found, names = {}, {each.name for each in files}
    for each in files:
        folder = each.name if len(names) == len(files) else each.path
        for name, settings in each.settings.items():
            label = name if len(files) == 1 else f"{folder}/{name}"
            found[label] = settings, each.variants.get(name)
    return found


def _entry(settings: Mapping[str, Value], run: VariantResults | None, keys: Sequence[str]) -> Entry:
    """A variant in numbers: those of its settings that differ, its state, and its measures."""
    return {
        "settings": {key: settings[key] for key in keys},
        "seeds": run.metrics.seeds if run else (),
        **{key: getattr(run, key) if run else None for key in STATUS_KEYS},
        **({} if run else {"state": "not started"}),
        "measures": {name: _over_seeds(values) for name, values in measures(run).items()},
    }


def _notes(row: Entry, base: Entry) -> list[str]:
    mine, theirs = (f"{each['state']} (step {each['step'] or 0:,})" for each in (row, base))
    notes = [] if row["state"] == "done" else [mine]
    if row is base:
        return notes
    notes += [
        f"{key} is not the baseline's: read the differences with care"
        for key in ("data.name", "data.binarize", "train.steps")
        if row["settings"].get(key) != base["settings"].get(key)
    ]
    if base["state"] != "done":
        notes.append(f"the baseline is not finished: {theirs}")
    elif row["state"] == "done" and set(row["seeds"]) != set(base["seeds"]):
        notes.append("not the baseline's seeds: only those in common are paired")
    return notes


def _differences(row: Entry, base: Entry) -> Entry | None:
    """Each measure less the baseline's, over the seeds that both have; None if there are none."""
    common = [seed for seed in row["seeds"] if seed in base["seeds"]]
    mine, theirs = ([each["seeds"].index(seed) for seed in common] for each in (row, base))
    if not common:
        return None
    found = {}
    for name, values in row["measures"].items():
        if name in base["measures"]:
            gap = values["per_seed"][mine] - base["measures"][name]["per_seed"][theirs]
            found[name] = {**_over_seeds(gap), "verdict": analysis.interval(gap).verdict}
    return found


def _over_seeds(values: Array) -> Entry:
    return asdict(analysis.interval(values)) | {"per_seed": values}


def _counterparts(norm: Mapping[str, Value], plain: Mapping[str, Value]) -> bool:
    """Whether these are a normalized net and a plain one that differ in nothing else."""
    both = {"model.hidden", "model.activation", "model.weight_std"}
    differ = [key for key in varied([norm, plain]) if key in both or not key.startswith("model.")]
    return not differ and norm["model.norm"] != "none" and plain["model.norm"] == "none"


def _end(run: VariantResults) -> Entry | None:
    """The last hidden layer's percentiles in the probe's last row."""
    log, layer = run.probe, len(run.settings["model.hidden"])
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


def _gradient_shift(run: VariantResults) -> Entry | None:
    """Median distance and cosine of each layer's gradients, over seeds and the last half."""
    ics = run.gradient_shift
    if ics is None or not len(ics.steps):
        return None
    half = len(ics.steps) // 2
    return {
        "from_step": ics.steps[half],
        "layers": ics.layers,
        "distance": np.median(ics.distance[half:], axis=(0, 2)),
        "cosine": np.nanmedian(ics.cosine[half:], axis=(0, 2)),
    }


def _jsonable(value: Any) -> Any:  # noqa: ANN401  (JSON's values have no narrower type)
    """Tuples and arrays as lists, numpy's numbers as Python's, NaN and infinity as None."""
    text = json.dumps(value, default=lambda array: array.tolist())
    return json.loads(text, parse_constant=lambda _: None)
