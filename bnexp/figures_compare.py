"""Figures of a comparison: what the bias, gamma, or any two settings of a grid change."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes  # noqa: TID253
from matplotlib.figure import Figure  # noqa: TID253
from numpy.typing import NDArray

from bnexp.config import Experiment, flatten
from bnexp.drawing import GREY, WIDTH, caption, decimate, looks, step_axis, style, title
from bnexp.errors import ConfigError, StorageError
from bnexp.panels import (
    accuracy_panel,
    blocks,
    label_lines,
    locate,
    percentile_log,
    percentile_panel,
    read_curves,
)
from bnexp.runlog import ExperimentFiles, PercentileLog, Run
from bnexp.summary import varied
from bnexp.tables import cell


def comparison_kind(experiment: Experiment) -> Literal["bias", "gamma", "grid"] | None:
    """Which figure of a comparison fits, by the settings that differ between the variants.

    `bias`: normalized nets that differ in their bias alone; `gamma`: in gamma and perhaps the
    activation; `grid`: every combination of the values of two settings or more; None: no such.
    """
    settings = [variant.settings for variant in experiment.variants]
    keys = varied(settings)
    if keys and set(keys) <= {"model.bias", "model.bias_std"}:
        return "bias" if settings[0].model.norm != "none" else None
    if "model.gamma" in keys and set(keys) <= {"model.gamma", "model.activation"}:
        return "gamma"
    values = [{flatten(each)[key] for each in settings} for key in keys]
    full = len(keys) >= 2 and len(settings) == np.prod([len(each) for each in values])
    return "grid" if full else None


def largest_difference(a: PercentileLog, b: PercentileLog) -> NDArray[np.float64]:
    """Largest |P_q - P_q| between two logs at each row, over units, percentiles and seeds.

    Args:
        a: a log.
        b: a log of the same shape; of two lengths, the rows both have count.
    """
    rows = min(len(a.steps), len(b.steps))
    pairs = zip(blocks(a.values[:rows]), blocks(b.values[:rows]), strict=True)
    return np.concatenate([np.abs(x - y).max(axis=(1, 2, 3)) for x, y in pairs]).astype(np.float64)


def draw_bias(files: ExperimentFiles, source: str | None = None) -> Figure:
    """Percentiles with and without bias laid over each other, their difference, and the bias.

    Args:
        files: normalized nets that differ in their bias alone.
        source: as for `figures.draw`.

    Raises:
        StorageError: fewer than two variants have rows yet.
    """
    runs = _begun(files, 2)
    reference = min(runs, key=lambda name: runs[name].variant.settings.model.bias)
    logs = {name: percentile_log(run, source) for name, run in runs.items()}
    log = logs[reference]
    seed, column = locate(runs[reference], log, None, "typical")
    with style():
        look = dict(zip(runs, looks(len(runs)), strict=True))
        figure = Figure((0.75 * WIDTH, 7.5), layout="constrained")
        top, gap, norms = figure.subplots(3, sharex=True, height_ratios=[1.4, 1, 1])
        others = [name for name in runs if name != reference]
        for name in (reference, *others):
            values = logs[name].values[:, seed, :, column]
            width = {"lw": 3, "alpha": 0.4} if name == reference else {"lw": 1}
            for q in range(values.shape[1]):
                steps, line = decimate(logs[name].steps, values[:, q])
                top.plot(steps, line, label=None if q else name, **look[name] | width)
        # The lines lie on each other: labels at their ends would say nothing.
        top.legend(loc="upper right", ncols=len(runs), bbox_to_anchor=(1, 1.15))
        title(
            top,
            "(a) percentiles of the pre-activation",
            f"unit {log.unit[column]}, seed {log.seeds[seed]}",
        )
        for name in others:
            largest = largest_difference(logs[name], log)
            steps, largest = decimate(log.steps[: len(largest)], largest)
            gap.plot(steps, np.where(largest > 0, largest, np.nan), **look[name])
        title(gap, f"(b) largest difference from {reference}", "over units, percentiles, seeds")
        for name in others:
            metrics = runs[name].metrics
            norms.plot(metrics.steps, metrics.bias_norm.mean(axis=1), **look[name])
            gradient = metrics.bias_gradient_norm.mean(axis=1)
            norms.plot(metrics.steps, gradient, **look[name] | {"lw": 0.6, "marker": ".", "ms": 3})
        title(norms, "(c) norm of the bias (lines) and of its gradient (dots)", "mean of the seeds")
        for axes in (gap, norms):
            axes.set_yscale("log")
        step_axis(norms)
        caption(
            figure,
            f"Percentiles over {log.population}, network in training mode. The unit is the typical "
            f"one of {reference}. BN subtracts the mean, and with it any bias: what is left is "
            "float rounding, which training carries on. Exact zeros are not drawn.",
        )
    return figure


def draw_gamma(files: ExperimentFiles, gammas: Mapping[str, NDArray[Any]] | None = None) -> Figure:
    """One row an activation: accuracy, percentiles without and with gamma, the learned gammas.

    Args:
        files: nets that differ in gamma and perhaps the activation.
        gammas: learned gammas of each variant, any shape; None: no histograms.

    Raises:
        StorageError: no variant has rows yet.
    """
    by_activation: dict[str, dict[str, Run]] = {}
    for run in _begun(files, 1).values():
        model = run.variant.settings.model
        name = "gamma" if model.gamma else "no gamma"
        by_activation.setdefault(model.activation, {})[name] = run
    gammas = gammas or {}
    with style():
        figure = Figure((WIDTH, 0.9 + 2.2 * len(by_activation)), layout="constrained")
        shape = (len(by_activation), 4 if gammas else 3)
        grid = figure.subplots(*shape, squeeze=False, sharex="col")
        for i, (activation, found) in enumerate(by_activation.items()):
            row = grid[i]
            runs = {name: found[name] for name in sorted(found, reverse=True)}  # no gamma first
            ends = [run.metrics.test_accuracy[-1].mean() for run in runs.values()]
            accuracy_panel(row[0], runs, (min(ends) - 0.04, min(1.0, max(ends) + 0.005)))
            title(row[0], activation, "test accuracy")
            row[2].sharey(row[1])
            panels = []
            for axes, (name, run), look in zip(row[1:], runs.items(), looks(2), strict=False):
                curves = read_curves(run, percentile_log(run, None), None, "typical")
                percentile_panel(axes, curves, look["color"])
                title(axes, f"{activation}, {name}", curves.unit)
                panels.append((axes, curves))
            for axes, curves in panels:
                label_lines(axes, curves)
            for axes in row[:3]:
                step_axis(axes, label=i == len(grid) - 1)
            learned = runs.get("gamma")
            if learned and learned.variant.name in gammas:
                _histogram(row[3], gammas[learned.variant.name])
        caption(
            figure,
            "Accuracy: mean over seeds; band: lowest to highest seed. Percentiles of the "
            "pre-activation of the typical unit (the one of median width at the end) of the last "
            "hidden layer, network in training mode.",
        )
    return figure


def draw_grid(rows: Sequence[Mapping[str, Any]], measure: str = "test_accuracy") -> Figure:
    """Heat map of one number of `summary.compare` over two settings: those with the most values.

    Each combination of the others, and best of all the norm, has a panel; where there are two, a
    third panel holds the second less the first.

    Args:
        rows: of `summary.compare`.
        measure: one of their `measures`.

    Raises:
        ConfigError: the rows differ in fewer than two settings, or none has the measure.
    """

    def rank(key: str) -> tuple[bool, int]:
        return key == "model.norm", -len(_levels(rows, key))

    keys = sorted(rows[0]["settings"], key=rank)
    found = {
        tuple(cell(row["settings"][key]) for key in keys): row["measures"][measure]["mean"]
        for row in rows
        if measure in row["measures"]
    }
    if len(keys) < 2 or not found:
        known = ", ".join(dict.fromkeys(name for row in rows for name in row["measures"]))
        raise ConfigError(f"{measure}: needs two settings that differ, and one of: {known}")
    down, across, *others = (_levels(rows, key) for key in keys)
    maps = {}
    for rest in itertools.product(*others):
        cells = [[found.get((y, x, *rest)) for x in across] for y in down]
        names = (f"{key.split('.')[1]} {value}" for key, value in zip(keys[2:], rest, strict=True))
        maps[", ".join(names) or measure.replace("_", " ")] = np.array(cells, np.float64)
    shared = [value for value in found.values() if value is not None] or [0.0]
    with style():
        width = 1.2 + (1 + (len(maps) == 2)) * len(maps) * (0.6 + 0.55 * len(across))
        figure = Figure((max(width, 5), 1.8 + 0.45 * len(down)), layout="constrained")
        drawn = maps | _difference(maps)
        panels = figure.subplots(1, len(drawn), squeeze=False, sharey=True)[0]
        for axes, (name, grid) in zip(panels, drawn.items(), strict=True):
            if name in maps:
                _heat_map(axes, grid, "cividis", (min(shared), max(shared)))
            else:
                most = float(np.nanmax(np.abs(grid), initial=1e-12))
                _heat_map(axes, grid, "PuOr", (-most, most))
            axes.set_title(name)
            axes.set_xticks(range(len(across)), across)
            axes.set_xlabel(keys[1])
        panels[0].set_yticks(range(len(down)), down)
        panels[0].set_ylabel(keys[0])
        words = measure.replace("_", " ")
        caption(figure, f"{words.capitalize()}: mean over seeds; -: not reached by every seed.")
    return figure


def _difference(maps: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Of two maps, the second less the first."""
    if len(maps) != 2:
        return {}
    (first, a), (second, b) = maps.items()
    return {f"{second} less {first}": b - a}


def _begun(files: ExperimentFiles, least: int) -> dict[str, Run]:
    runs = {name: run for name, run in files.runs.items() if len(run.metrics.steps)}
    if len(runs) < least:
        raise StorageError(f"{files.path}: {len(runs)} variants have rows yet; train it first")
    return runs


def _levels(rows: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """The values of one setting, as text, in the order of the rows."""
    return list(dict.fromkeys(cell(row["settings"][key]) for row in rows))


def _histogram(axes: Axes, gammas: NDArray[Any]) -> None:
    below = 100 * float(np.mean(gammas < 0))
    axes.hist(np.ravel(gammas), bins=40, color=looks(2)[1]["color"], alpha=0.6)
    axes.axvline(1, color=GREY, lw=0.8, ls=":")
    axes.set_yticks([])
    axes.spines.left.set_visible(False)
    title(axes, "learned gammas", f"dotted: start; {below:.1f} % below 0")


def _heat_map(
    axes: Axes, grid: NDArray[np.float64], colours: str, limits: tuple[float, float]
) -> None:
    """A map with its numbers written in; a cell without a number stays white."""
    image = axes.imshow(grid, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
    for (y, x), value in np.ndenumerate(grid):
        red, green, blue, _ = image.to_rgba(np.array(value))
        light = np.isnan(value) or 0.3 * red + 0.6 * green + 0.1 * blue > 0.5
        text = "-" if np.isnan(value) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}"
        axes.text(x, y, text, ha="center", va="center", color="black" if light else "white")
