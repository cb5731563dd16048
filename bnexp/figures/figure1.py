"""Figure 1 of the paper, drawn from an experiment's files, for any variants."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.analysis import measures as analysis
from bnexp.analysis import paper
from bnexp.analysis.results import ExperimentResults, VariantResults
from bnexp.figures.drawing import WIDTH, caption, letter, save, step_axis, style, title
from bnexp.figures.panels import Asked, accuracy_panel, begun, percentile_log, percentile_panels

__all__ = ["draw", "file_name", "save"]


def draw(
    files: ExperimentResults,
    source: str | None = None,
    layer: int | None = None,
    unit: str | int = "typical",
) -> Figure:
    """Figure 1 of the paper: (a) test accuracy, then the percentiles of each variant begun.

    Args:
        files: the experiment.
        source: `probe` or `batch`; None: the probe, where there is one.
        layer: hidden layer, counted from 1; None: the last of each variant.
        unit: `typical`; `all` for bands over the units of all seeds; or a unit of the layer,
            counted from 0, of the first seed.

    Raises:
        ConfigError: no such source, layer or unit.
        StorageError: there is no row to draw yet.
    """
    runs, asked = begun(files), Asked(source, layer, unit)
    with style():
        figure, accuracy, panels = _layout(len(runs))
        accuracy_panel(accuracy, runs)
        seeds = max(len(run.metrics.seeds) for run in runs.values())
        title(accuracy, "(a) test accuracy", f"seeds: {seeds}; mean and range")
        titled = {f"({letter(i + 1)}) {name}": runs[name] for i, name in enumerate(runs)}
        percentile_panels(panels, titled, asked)
        caption(figure, _caption(runs, asked))
    return figure


def file_name(source: str | None, layer: int | None, unit: str | int) -> str:
    """The name, without suffix, of the figure that `draw` makes of these."""
    shown = {"typical": "", "all": "_all"}.get(str(unit), f"_unit{unit}")
    of_layer = "" if layer is None else f"_layer{layer}"
    return "fig1" + ("_batch" if source == "batch" else "") + of_layer + shown


def _layout(n: int) -> tuple[Figure, Axes, list[Axes]]:
    """The accuracy and n variants in rows of up to four: of up to two in one, as in the paper."""
    down = -(-(n + 1) // 4)
    across = -(-(n + 1) // down)
    height = 2.9 if down == 1 else max(2.4, 0.15 * n + 0.8)  # inches: room for n names of lines
    figure = Figure((WIDTH * min(across / 3, 1), 1 + height * down), layout="constrained")
    accuracy, *panels = figure.subplots(down, across, squeeze=False).flat
    for unused in panels[n:]:
        unused.remove()
    for panel in panels[1:n]:
        panel.sharex(panels[0])
        panel.sharey(panels[0])
    for panel in panels[:n]:
        step_axis(panel)
    panels[0].set_ylabel("pre-activation")
    return figure, accuracy, panels[:n]


def _caption(runs: Mapping[str, VariantResults], asked: Asked) -> str:
    source, layer, unit = asked
    run = next(iter(runs.values()))
    log = percentile_log(run, source)
    batch = log is not run.probe
    q = [f"{percentile:g}" for percentile in log.percentiles]
    low, high = (q[i] for i in analysis.outermost(log.percentiles))
    where = "the last hidden layer" if layer is None else f"hidden layer {layer}"
    text = (
        f"Percentiles {', '.join(q)} of the pre-activation (the input of the nonlinearity) in "
        f"{where}, over {log.population}{f' ({log.examples} examples)' if batch else ''}, network "
        "in training mode. "
    )
    judged = "the end of the probe" if batch and run.probe else "the end"
    text += {
        "all": "Lines: median over all units and seeds; bands: 10 to 90 % of them. ",
        "typical": "The unit is the one, of all units and seeds of its network, whose width at "
        f"{judged}, P{high} - P{low}, is the median. ",
    }.get(str(unit), "The same unit and seed in every panel. ")
    if batch and unit == "all":
        text += "The bands hold the noise of minibatches, smaller with BN by construction. "
    elif batch:
        text += (
            "Pale: every minibatch; dark: their median, bin by bin. Black bars: where 95 % of the "
            "minibatches of a Gaussian unit that stands still would lie; shorter with BN by "
            "construction. "
        )
    if any(paper.paper_panel(run.settings) for run in runs.values()):
        text += "Grey: Figure 1 of Ioffe & Szegedy (2015), digitised. "
    for name, run in runs.items():
        if run.state != "done":
            text += f"Not finished: {name}, at step {run.step}. "
    return text
