"""A film of training: the percentiles of a unit, and its distribution, as they grow.

A distribution of which only percentiles are known is drawn as what is known of it. Between two
recorded percentiles lies a known share of the examples, and the film draws it as a box of that
area. Beyond the outermost, where nothing was recorded, it draws a pale triangle of the share that
is left.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.animation import AbstractMovieWriter, FFMpegWriter, PillowWriter
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from numpy.typing import NDArray

from bnexp.analysis.distributions import middle
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.stacking import spaced_rows
from bnexp.analysis.variants import VariantResults
from bnexp.errors import ConfigError
from bnexp.figures.curves import Curves, Selection, read_curves, variants_with_rows
from bnexp.figures.drawing import GREY, Look, readable, step_axis, style
from bnexp.figures.panels import looks_of, panel_name
from bnexp.files.atomic import write_whole

FRAMES, HELD = 110, 25  # pictures of training, and how often the last one is repeated
PER_SECOND = 12
SIZE, DPI = (9.6, 5.4), 100  # inches: 960 by 540 pixels
MOST = 3  # variants that have room beside each other
NAME = 0.035  # of the height of a panel: that of a percentile's name
TAILS = 0.45  # of the range of the percentiles: room for what lies beyond the outermost
FORMATS = ("gif", "mp4")


@dataclass(frozen=True)
class Panel:
    """One variant: its axes, its curves, and what is drawn anew in each frame."""

    variant: VariantResults
    curves: Curves
    lines: Axes
    beside: Axes
    colour: str


def save_film(files: ExperimentResults, selection: Selection, stem: Path, form: str) -> str:
    """Write the film as `stem` with the format's suffix; returns its caption.

    The same logs give the same bytes of a GIF.

    Args:
        files: the experiment; its first variants are shown, at most three.
        selection: what to draw of each variant: a unit, and not all of them.
        stem: the path without suffix.
        form: `gif` or `mp4`.

    Raises:
        ConfigError: no such format, layer, unit or seed; or MP4 where there is no ffmpeg.
        StorageError: there is no row to draw yet.
    """
    if form not in FORMATS:
        raise ConfigError(
            f"--animate --format {form}: no such film; there are {', '.join(FORMATS)}"
        )
    if selection.unit == "all":
        raise ConfigError("--animate shows one unit: give --unit typical, or its number")
    if form == "mp4" and shutil.which("ffmpeg") is None:
        raise ConfigError("--format mp4: needs ffmpeg, which is not on the path; use --format gif")
    variants = dict(list(variants_with_rows(files).items())[:MOST])
    writer: AbstractMovieWriter = (
        PillowWriter(PER_SECOND) if form == "gif" else FFMpegWriter(PER_SECOND, "h264")
    )
    with style(), tempfile.TemporaryDirectory() as folder:
        figure, panels = layout(variants, looks_of(files), selection)
        path = Path(folder) / f"film.{form}"
        with writer.saving(figure, str(path), DPI):
            for _ in frames(figure, panels):
                writer.grab_frame()
            for _ in range(HELD):
                writer.grab_frame()
        stem.parent.mkdir(parents=True, exist_ok=True)
        write_whole(stem.with_name(f"{stem.name}.{form}"), path.read_bytes())
    return _caption(panels)


def layout(
    variants: Mapping[str, VariantResults], styles: Mapping[str, Look], selection: Selection
) -> tuple[Figure, list[Panel]]:
    """A pair of axes for each variant, all with the same vertical axis."""
    figure = Figure(SIZE, layout="constrained")
    ratios = [3.2, 1.0] * len(variants)
    row = figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios, squeeze=False)[0]
    panels = []
    for i, (name, variant) in enumerate(variants.items()):
        lines, beside = row[2 * i], row[2 * i + 1]
        curves = read_curves(variant, selection)
        colour = str(styles[name]["color"])
        panels.append(Panel(variant, curves, lines, beside, colour))
        lines.set_title(panel_name(name, variant), fontsize=15, color=readable(colour), pad=28)
        lines.text(0, 1.03, curves.unit, fontsize=10, color=GREY, transform=lines.transAxes)
        lines.set_xlim(0, max(int(curves.steps[-1]), 1))
        step_axis(lines)
        lines.set_xlabel("step", fontsize=12)
        lines.tick_params(labelsize=11)
        beside.set_xticks([0], [" "], fontsize=11)  # so that the label stands as low as "step"
        beside.spines["bottom"].set_visible(False)
        beside.tick_params(left=False, bottom=False)
        beside.set_xlabel("distribution", fontsize=12)
    row[0].set_ylabel("pre-activation", fontsize=12)
    known = np.concatenate([each.curves.lines.ravel() for each in panels])
    low, high = np.percentile(known[np.isfinite(known)], [0, 100])
    room = TAILS * max(high - low, 1e-6)
    row[0].set_ylim(low - room, high + room)
    return figure, panels


def frames(figure: Figure, panels: list[Panel]) -> Iterator[None]:
    """Draw one frame after the other; training is seen more closely at its beginning."""
    longest = max((each.curves for each in panels), key=lambda curves: len(curves.steps))
    heading = figure.suptitle("step 0", fontsize=17, fontweight="bold")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # once: it takes longer than drawing, and must not wobble
    drawn: list[Artist] = []
    for row in spaced_rows(len(longest.steps), FRAMES):
        step = int(longest.steps[row])
        heading.set_text(f"step {step:,}")
        for artist in drawn:
            artist.remove()
        drawn = [artist for panel in panels for artist in _draw(panel, step)]
        yield


def _draw(panel: Panel, step: int) -> Iterator[Artist]:
    """What a panel shows at a step."""
    curves, metrics = panel.curves, panel.variant.metrics
    until = max(int(np.searchsorted(curves.steps, step, side="right")), 1)
    for q, line in enumerate(curves.lines[:until].T):
        thick = 2.6 if q == middle(curves.percentiles) else 1.6
        yield from panel.lines.plot(curves.steps[:until], line, color=panel.colour, lw=thick)
    yield from _distribution(panel, curves.lines[until - 1])
    evaluated = metrics.steps <= step
    accuracy = metrics.test_accuracy[evaluated]
    if len(accuracy) and np.isfinite(accuracy[-1]).any():
        text = f"test accuracy {np.nanmean(accuracy[-1]):.3f}"
        yield panel.lines.text(
            0.97, 0.03, text, ha="right", fontsize=13, transform=panel.lines.transAxes
        )


def _distribution(panel: Panel, values: NDArray[np.float32]) -> Iterator[Artist]:
    """Boxes between the percentiles, triangles beyond them; each has the area of its share."""
    shares = np.array(panel.curves.percentiles) / 100
    if len(values) < 2 or not np.isfinite(values).all():
        return
    heights = np.diff(shares) / np.maximum(np.diff(values), 1e-9)
    panel.beside.set_xlim(0, 1.05 * float(heights.max()))
    for low, high, height in zip(values[:-1], values[1:], heights, strict=True):
        box = Rectangle((0, low), height, high - low, color=panel.colour, alpha=0.5, lw=0)
        yield panel.beside.add_patch(box)
    for end, height, share, sign in (
        (values[0], heights[0], shares[0], -1),
        (values[-1], heights[-1], 1 - shares[-1], 1),
    ):
        corners = [(0, end), (height, end), (0, end + sign * 2 * share / height)]
        yield panel.beside.add_patch(Polygon(corners, color=panel.colour, alpha=0.2, lw=0))
    # The lowest name hangs below its percentile, and the others stand on theirs. Where percentiles
    # are one, as in a network that has not begun to learn, each stands on the name below it.
    low, high = panel.beside.get_ylim()
    ladder = NAME * (high - low) * np.maximum(np.arange(len(values)) - 1, 0)
    places = [values[0], *(np.maximum.accumulate((values - ladder)[1:]) + ladder[1:])]
    for i, (q, place) in enumerate(zip(panel.curves.percentiles, places, strict=True)):
        yield panel.beside.text(
            0.05, place, f"P{q:g}", va="bottom" if i else "top", fontsize=10,
            transform=panel.beside.get_yaxis_transform(),
        )  # fmt: skip


def _caption(panels: list[Panel]) -> str:
    q = ", ".join(f"{percentile:g}" for percentile in panels[0].curves.percentiles)
    return (
        f"Percentiles {q} of one unit's pre-activation in each network while it learns, and beside "
        "them its distribution, drawn from these percentiles: boxes hold the share of examples "
        "between two of them, pale triangles the share beyond the outermost, where nothing was "
        "recorded. Early steps are shown more closely. Accuracies are means over seeds."
    )
