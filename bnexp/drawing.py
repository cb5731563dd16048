"""What every figure shares: the look, lines of many rows, labels at line ends, captions, saving."""

import re
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl  # noqa: TID253
import numpy as np
from matplotlib.axes import Axes  # noqa: TID253
from matplotlib.figure import Figure  # noqa: TID253
from numpy.typing import NDArray

from bnexp import storage
from bnexp.errors import ConfigError

Array = NDArray[Any]

WIDTH = 10.0
"""Inches; 1,500 pixels in a PNG."""
BINS = 600
"""What a long line is decimated to: about a bin a pixel of a panel."""
GREY = "0.4"
FORMATS: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}
"""Formats, each without the metadata that would differ between two drawings of the same data."""


def style() -> AbstractContextManager[None]:
    """The defaults of matplotlib and `bnexp.mplstyle`, whatever the user's matplotlibrc says."""
    return mpl.rc_context(fname=Path(__file__).with_name("bnexp.mplstyle"))


def looks(n: int) -> list[dict[str, Any]]:
    """Colour and line style of n variants, in order; the first 32 are all different."""
    colours, lines = mpl.rcParams["axes.prop_cycle"].by_key()["color"], ("-", "--", "-.", ":")
    return [{"color": colours[i % 8], "ls": lines[(i + i // 8) % 4]} for i in range(n)]


def save(figure: Figure, stem: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
    """Write the figure as `stem` with each format's suffix; the same data gives the same bytes.

    Raises:
        ConfigError: a format is not one of png, pdf, svg.
    """
    for name in formats:
        if name not in FORMATS:
            raise ConfigError(f"--format {name}: no such format; there are {', '.join(FORMATS)}")
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{name}") for name in formats]
    with style():
        for name, path in zip(formats, paths, strict=True):
            buffer = BytesIO()
            figure.savefig(buffer, format=name, metadata=FORMATS[name])
            storage.write_whole(path, buffer.getvalue())
    return paths


def decimate(steps: Array, values: Array) -> tuple[Array, Array]:
    """A line `(rows,)` as the lowest and highest value of each of at most BINS bins."""
    if len(steps) <= 2 * BINS:
        return steps, values
    starts = _bins(len(steps), BINS)
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    return np.repeat(steps[starts], 2), np.stack([low, high], axis=1).ravel()


def bin_median(steps: Array, values: Array, bins: int = BINS) -> tuple[Array, Array]:
    """Values `(rows, ...)` as their median in each of at most so many bins.

    For the edges of a band, which their extremes would make wider than it is.
    """
    if len(steps) <= 2 * bins:
        return steps, values
    starts = _bins(len(steps), bins)
    parts = np.split(values, starts[1:])
    return steps[starts], np.array([np.median(part, axis=0) for part in parts])


def _bins(rows: int, bins: int) -> NDArray[np.int64]:
    return np.linspace(0, rows, bins, endpoint=False).astype(np.int64)


def letter(i: int) -> str:
    """The name of panel i: a, b, ... z, aa, ab, ..."""
    return (chr(ord("a") + i // 26 - 1) if i >= 26 else "") + chr(ord("a") + i % 26)


def step_axis(axes: Axes, *, label: bool = True) -> None:
    """Write steps with thousands as K, as in the paper."""
    axes.set_xlabel("step" if label else "")
    axes.xaxis.set_major_formatter(
        lambda step, _: f"{step / 1e3:g}K" if step >= 1e3 else f"{step:g}"
    )


def title(axes: Axes, text: str, below: str) -> None:
    """A title as wide as the axes, and a line below it in grey."""
    letters = int(axes.get_window_extent().width * 72 / axes.figure.dpi / 5.5)
    text = re.sub(r",(?=\S)", ", ", text)  # where a variant's name may break
    axes.set_title(textwrap.fill(text, max(letters, 12)), pad=14)
    axes.text(0, 1.02, below, color=GREY, transform=axes.transAxes)


def end_labels(
    axes: Axes, ends: Sequence[float], names: Sequence[str], colours: Sequence[str]
) -> None:
    """Name each line at the right of the axes, at its end's height or the nearest free place."""
    points = axes.get_window_extent().height * 72 / axes.figure.dpi
    axes.get_ylim()  # autoscaling is put off until someone asks
    on_axes = axes.transScale + axes.transLimits
    heights = np.nan_to_num([on_axes.transform((0, end))[1] for end in ends])
    for name, colour, y in zip(names, colours, spread(heights, gap=10 / points), strict=True):
        axes.text(1.015, y, name, color=colour, va="center", transform=axes.transAxes)


def spread(positions: Array, gap: float) -> list[float]:
    """Move positions apart to at least `gap`, in their order, and below 1."""
    order = np.argsort(positions, kind="stable")
    placed = np.array(positions, np.float64)[order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    placed[-1:] = np.minimum(placed[-1:], 1)
    for i in reversed(range(len(placed) - 1)):
        placed[i] = min(placed[i], placed[i + 1] - gap)
    found = np.empty_like(placed)
    found[order] = placed
    return [float(position) for position in found]


def caption(figure: Figure, text: str) -> None:
    """Put a caption under the figure, across its width."""
    letters = int(17 * figure.get_figwidth())
    figure.supxlabel(textwrap.fill(text, letters), x=0.005, ha="left", fontsize=8)
