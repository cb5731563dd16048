"""Figure 1 of the paper, drawn from an experiment's files, for any variants."""

from collections.abc import Mapping

from matplotlib.axes import Axes  # noqa: TID253
from matplotlib.figure import Figure  # noqa: TID253

from bnexp import analysis, paper
from bnexp.drawing import WIDTH, caption, letter, looks, save, step_axis, style, title
from bnexp.errors import StorageError
from bnexp.panels import (
    accuracy_panel,
    label_lines,
    paper_curves,
    percentile_log,
    percentile_panel,
    read_curves,
)
from bnexp.runlog import ExperimentFiles, PercentileLog, Run

__all__ = ["draw", "file_name", "save"]


def draw(
    files: ExperimentFiles,
    source: str | None = None,
    layer: int | None = None,
    unit: str | int = "typical",
) -> Figure:
    """Figure 1 of the paper: (a) test accuracy, then the percentiles of each variant.

    Args:
        files: the experiment; variants without a row yet are left out.
        source: `probe` or `batch`; None: the probe, where there is one.
        layer: hidden layer, counted from 1; None: the last of each variant.
        unit: `typical`; `all` for bands over the units of all seeds; or a unit of the layer,
            counted from 0, of the first seed.

    Raises:
        ConfigError: no such source, layer or unit.
        StorageError: there is no row to draw yet.
    """
    runs = {name: run for name, run in files.runs.items() if len(run.metrics.steps)}
    if not runs:
        raise StorageError(f"{files.path}: no rows to draw yet; train it first")
    logs = {name: percentile_log(run, source) for name, run in runs.items()}
    panels = {name: read_curves(run, logs[name], layer, unit) for name, run in runs.items()}
    with style():
        figure, accuracy, axes = _layout(len(runs))
        accuracy_panel(accuracy, runs)
        seeds = max(len(run.metrics.seeds) for run in runs.values())
        about = f"mean of {seeds} seeds; band: lowest to highest" if seeds > 1 else "one seed"
        title(accuracy, "(a) test accuracy", about)
        for i, (panel, name, look) in enumerate(zip(axes, runs, looks(len(runs)), strict=True)):
            percentile_panel(panel, panels[name], look["color"])
            title(panel, f"({letter(i + 1)}) {name}", panels[name].unit)
            if layer in {None, len(runs[name].variant.settings.model.hidden)}:
                paper_curves(panel, runs[name])
        for panel, curves in zip(axes, panels.values(), strict=True):  # all limits are settled now
            label_lines(panel, curves)
        caption(figure, _caption(runs, logs, layer, unit))
    return figure


def file_name(
    source: str | None = None, layer: int | None = None, unit: str | int = "typical"
) -> str:
    """The name, without suffix, of the figure that `draw` makes of these."""
    parts = ["fig1"]
    parts += ["batch"] if source == "batch" else []
    parts += [f"layer{layer}"] if layer is not None else []
    parts += {"typical": [], "all": ["all"]}.get(str(unit), [f"unit{unit}"])
    return "_".join(parts)


def _layout(n: int) -> tuple[Figure, Axes, list[Axes]]:
    """Up to two variants in one row, as in the paper; more in a grid under the accuracy."""
    across = n if n <= 4 else -(-n // 2) if n <= 8 else 4
    if n <= 2:
        figure = Figure((WIDTH * (0.66, 1)[n - 1], 3.9), layout="constrained")
        grid = figure.add_gridspec(1, n + 1)
        cells = [grid[0, i] for i in range(n + 1)]
    else:
        down, top = -(-n // across), max(2.2, 0.15 * n)  # inches: room for n names of lines
        figure = Figure((WIDTH, 1 + top + 2.1 * down), layout="constrained")
        grid = figure.add_gridspec(down + 1, across, height_ratios=[top] + [1.6] * down)
        cells = [grid[0, :], *(grid[1 + i // across, i % across] for i in range(n))]
    accuracy = figure.add_subplot(cells[0])
    axes: list[Axes] = []
    for i, spot in enumerate(cells[1:]):
        first = axes[0] if axes else None
        panel = figure.add_subplot(spot, sharex=first, sharey=first)
        leftmost, lowest = i % across == 0, i + across >= n
        panel.tick_params(labelleft=leftmost, labelbottom=lowest)
        panel.set_ylabel("pre-activation" if leftmost else "")
        step_axis(panel, label=lowest)
        axes.append(panel)
    return figure, accuracy, axes


def _caption(
    runs: Mapping[str, Run],
    logs: Mapping[str, PercentileLog],
    layer: int | None,
    unit: str | int,
) -> str:
    log, run = next(iter(logs.values())), next(iter(runs.values()))
    batch = log is not run.probe
    q = [f"{percentile:g}" for percentile in log.percentiles]
    low, high = (q[i] for i in analysis.outermost(log.percentiles))
    where = "the last hidden layer" if layer is None else f"hidden layer {layer}"
    population = log.population + (f" ({log.examples} examples)" if batch else "")
    text = (
        f"Percentiles {', '.join(q)} of the pre-activation (the input of the nonlinearity) in "
        f"{where}, over {population}, network in training mode. "
    )
    if unit == "all":
        text += "Lines: median over all units and seeds; bands: 10 to 90 % of them. "
        if batch:
            text += "The bands hold the noise of minibatches, smaller with BN by construction. "
    elif unit == "typical":
        text += (
            "The unit is the one, of all units and seeds of its network, whose width at the end"
            f"{' of the probe' if batch and run.probe else ''}, P{high} - P{low}, is the median. "
        )
    else:
        text += "The same unit and seed in every panel. "
    if batch and unit != "all":
        text += (
            "Pale: every minibatch; dark: median of each 150th of the run. Black bars: where 95 % "
            "of the minibatches of a Gaussian unit that stands still would lie; shorter with BN by "
            "construction. "
        )
    if any(paper.paper_panel(run.variant.settings) for run in runs.values()):
        text += "Grey: Figure 1 of Ioffe & Szegedy (2015), digitised. "
    for name, run in runs.items():
        if run.status.get("state") != "done":
            text += f"Not finished: {name}, at step {run.status.get('step')}. "
    return text
