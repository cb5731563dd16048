"""Figures of a comparison: what the bias, gamma, or any two settings of a grid change."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bnexp.analysis.results import ExperimentResults, VariantResults
from bnexp.analysis.summary import varied
from bnexp.analysis.tables import cell
from bnexp.config.parsing import suggestion
from bnexp.config.schema import Value
from bnexp.errors import ConfigError
from bnexp.figures.drawing import (
    GREY,
    WIDTH,
    Array,
    caption,
    decimate,
    looks,
    step_axis,
    style,
    title,
)
from bnexp.figures.panels import (
    Asked,
    accuracy_panel,
    begun,
    locate,
    percentile_log,
    percentile_panels,
)


def comparison_kind(
    settings: Sequence[Mapping[str, Value]],
) -> Literal["bias", "gamma", "grid"] | None:
    """Which figure fits, by the settings that differ between the variants.

    `bias`: normalized nets that differ in their bias alone; `gamma`: in gamma and perhaps the
    activation; `grid`: every combination of the values of two settings or more.
    """
    keys = varied(settings)
    if keys and set(keys) <= {"model.bias", "model.bias_std"}:
        return "bias" if settings[0]["model.norm"] != "none" else None
    if "model.gamma" in keys and set(keys) <= {"model.gamma", "model.activation"}:
        return "gamma"
    levels = [len({each[key] for each in settings}) for key in keys]
    return "grid" if len(keys) >= 2 and len(settings) == np.prod(levels) else None


def draw_bias(files: ExperimentResults) -> Figure:
    """Percentiles of normalized nets that differ in their bias, their differences, and the bias.

    Raises:
        StorageError: fewer than two variants have rows yet.
    """
    runs = begun(files, 2)
    reference = min(runs, key=lambda name: runs[name].settings["model.bias"])
    logs = {name: percentile_log(run, None) for name, run in runs.items()}
    log = logs[reference]
    seed, column = locate(runs[reference], log, None, "typical")
    with style():
        figure = Figure((0.75 * WIDTH, 7.5), layout="constrained")
        top, gap, norms = figure.subplots(3, sharex=True, height_ratios=[1.4, 1, 1])
        for (name, run), look in zip(runs.items(), looks(len(runs)), strict=True):
            steps, values, metrics = logs[name].steps, logs[name].values, run.metrics
            width = {"lw": 3, "alpha": 0.4, "zorder": 1} if name == reference else {"lw": 1}
            for q, line in enumerate(values[:, seed, :, column].T):
                top.plot(*decimate(steps, line), label=None if q else name, **look | width)
            if name != reference:
                both = min(len(values), len(log.values))  # a run under way: as far as it got
                largest = np.abs(values[:both] - log.values[:both]).max(axis=(1, 2, 3))
                gap.plot(*decimate(steps[:both], largest), **look)
                norms.plot(metrics.steps, metrics.bias_norm.mean(axis=1), **look)
                dots = look | {"lw": 0.6, "marker": ".", "ms": 3}
                norms.plot(metrics.steps, metrics.bias_gradient_norm.mean(axis=1), **dots)
        # The lines lie on each other: labels at their ends would say nothing.
        top.legend(loc="upper right", ncols=len(runs), bbox_to_anchor=(1, 1.15))
        whose = f"unit {log.unit[column]}, seed {log.seeds[seed]}"
        title(top, "(a) percentiles of the pre-activation", whose)
        title(gap, f"(b) largest difference from {reference}", "over units, percentiles, seeds")
        title(norms, "(c) norm of the bias (lines) and of its gradient (dots)", "mean of the seeds")
        for axes in (gap, norms):
            axes.set_yscale("log", nonpositive="mask")
        step_axis(norms)
        caption(
            figure,
            f"Percentiles over {log.population}, network in training mode. The unit is the typical "
            f"one of {reference}. BN subtracts the mean, and with it any bias: what is left is "
            "float rounding, which training carries on. Exact zeros are not drawn.",
        )
    return figure


def draw_gamma(files: ExperimentResults, gammas: Mapping[str, Array]) -> Figure:
    """One row an activation: accuracy, percentiles without and with gamma, the learned gammas.

    The last are given by variant, of those that are finished, in any shape.

    Raises:
        StorageError: no variant has rows yet.
    """
    rows: dict[str, dict[str, VariantResults]] = {}
    for run in sorted(begun(files).values(), key=lambda run: run.settings["model.gamma"]):
        kind = "gamma" if run.settings["model.gamma"] else "no gamma"
        rows.setdefault(run.settings["model.activation"], {})[kind] = run
    with style():
        figure = Figure((WIDTH, 0.9 + 2.2 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), 4, squeeze=False, sharex="col")
        for (activation, runs), axes in zip(rows.items(), grid, strict=True):
            accuracy_panel(axes[0], runs, lowest=1)
            title(axes[0], activation, "test accuracy")
            axes[0].label_outer()
            axes[2].sharey(axes[1])
            titled = {f"{activation}, {name}": run for name, run in runs.items()}
            percentile_panels(axes[1 : 1 + len(runs)], titled, Asked())
            names = [run.name for run in runs.values()]
            learned = np.ravel([gammas[name] for name in names if name in gammas])
            below = 100 * np.sum(learned < 0) / max(len(learned), 1)
            title(axes[3], "learned gammas", f"dotted: start; {below:.1f} % below 0")
            axes[3].hist(learned, bins=40, color=looks(2)[1]["color"], alpha=0.6)
            axes[3].axvline(1, color=GREY, lw=0.8, ls=":")
            axes[3].set_yticks([])
        for each in grid[-1, 1:3]:
            step_axis(each)
        caption(
            figure,
            "Accuracy: mean over seeds; band: lowest to highest seed. Percentiles of the "
            "pre-activation of the typical unit (the one of median width at the end) of the last "
            "hidden layer, network in training mode.",
        )
    return figure


def draw_grid(rows: Sequence[Mapping[str, Any]], measure: str = "test_accuracy") -> Figure:
    """Heat map of a number of `summary.compare` over the two settings that have the most values.

    Each combination of the others, and best of all the norm, has a panel; where there are two, a
    third panel holds the second minus the first.

    Raises:
        ConfigError: fewer than two settings differ, or no row has the measure.
    """
    known = list(dict.fromkeys(name for row in rows for name in row["measures"]))
    if measure not in known:
        hint = suggestion(measure, known) or f"; there are {', '.join(known)}"
        raise ConfigError(f"--heatmap {measure}: no such measure{hint}")
    if len(rows[0]["settings"]) < 2:
        raise ConfigError(f"--heatmap {measure}: a heat map needs two settings that differ")
    settings = [{key: cell(each) for key, each in row["settings"].items()} for row in rows]
    levels = {key: list(dict.fromkeys(each[key] for each in settings)) for key in settings[0]}
    down, across, *others = sorted(levels, key=lambda key: (key == "model.norm", -len(levels[key])))
    ys, xs, maps = levels[down], levels[across], dict[str, Array]()
    for row, each in zip(rows, settings, strict=True):
        name = ", ".join(f"{key.split('.')[1]} {each[key]}" for key in others)
        grid = maps.setdefault(name, np.full((len(ys), len(xs)), np.nan))
        at = ys.index(each[down]), xs.index(each[across])
        grid[at] = row["measures"].get(measure, {}).get("mean")
    scale, measured = Normalize(), list(maps)
    scale.autoscale(np.ma.masked_invalid(list(maps.values())))
    if len(maps) == 2:
        (first, a), (second, b) = maps.items()
        maps[f"{second} minus {first}"] = b - a
    with style():
        width = max(1.2 + len(maps) * (1.1 + 0.5 * len(xs)), 5)
        figure = Figure((width, 1.8 + 0.45 * len(ys)), layout="constrained")
        panels = figure.subplots(1, len(maps), squeeze=False, sharey=True)[0]
        for axes, (name, grid) in zip(panels, maps.items(), strict=True):
            axes.imshow(grid, norm=scale if name in measured else None, alpha=0.5, aspect="auto")
            for (y, x), value in np.ndenumerate(grid):
                form = ".3f" if abs(value) < 100 else ",.0f"
                text = "-" if np.isnan(value) else f"{value:{form}}"
                axes.text(x, y, text, ha="center", va="center")
            axes.set(title=name, xlabel=across, xticks=range(len(xs)), xticklabels=xs)
        panels[0].set(ylabel=down, yticks=range(len(ys)), yticklabels=ys)
        caption(figure, f"{measure}: mean over seeds; -: not reached by every seed.")
    return figure
