"""What every figure shares: the look, lines of many rows, labels at line ends, captions, saving."""

import re
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from bnexp.errors import ConfigError
from bnexp.files.atomic import write_whole

Array = NDArray[Any]
Keep = Sequence[Callable[[Array], Any]]

WIDTH = 10.0  # inches: 1,500 pixels in a PNG
BINS = 600  # of a long line: about a bin a pixel of a panel
GREY = "0.4"
# Without the metadata that would differ between two drawings of the same data.
METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}


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
        if name not in METADATA:
            raise ConfigError(f"--format {name}: no such format; there are {', '.join(METADATA)}")
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{name}") for name in formats]
    with style():
        for name, path in zip(formats, paths, strict=True):
            buffer = BytesIO()
            figure.savefig(buffer, format=name, metadata=METADATA[name])
            write_whole(path, buffer.getvalue())
    return paths


def decimate(steps: Array, line: Array, keep: Keep = (np.min, np.max)) -> tuple[Array, Array]:
    """A line `(rows,)` as what is kept of each of BINS bins, if it has more rows than that."""
    if len(steps) <= len(keep) * BINS:
        return steps, line
    starts = [each[0] for each in np.array_split(steps, BINS)]
    kept = [[reduce(each) for reduce in keep] for each in np.array_split(line, BINS)]
    return np.repeat(starts, len(keep)), np.ravel(kept)


def letter(i: int) -> str:
    """The name of panel i: a, b, ... z, aa, ab, ..."""
    return (chr(ord("a") + i // 26 - 1) if i >= 26 else "") + chr(ord("a") + i % 26)


def step_axis(axes: Axes) -> None:
    """Label the axis, with thousands as k."""
    axes.set_xlabel("step")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def title(axes: Axes, text: str, below: str) -> None:
    """A title as wide as the axes, and a line below it in grey."""
    letters = int(axes.get_window_extent().width * 72 / axes.figure.dpi / 5.5)
    text = re.sub(r",(?=\S)", ", ", text)  # where a variant's name may break
    axes.set_title(textwrap.fill(text, max(letters, 12)), pad=14)
    axes.text(0, 1.02, below, color=GREY, transform=axes.transAxes)


def end_labels(axes: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Name lines, by end, name and colour, at the right of axes whose limits are settled.

    A name stands at the height of its line's end, or at the nearest free place.
    """
    axes.get_ylim()  # autoscaling is put off until someone asks
    on_axes = axes.transScale + axes.transLimits
    heights = np.nan_to_num([on_axes.transform((0, end))[1] for end, _, _ in labels])
    gap = 10 / (axes.get_window_extent().height * 72 / axes.figure.dpi)  # 10 points
    for (_, name, colour), y in zip(labels, spread(heights, gap), strict=True):
        axes.text(1.015, y, name, color=colour, va="center", transform=axes.transAxes)


def spread(heights: Array, gap: float) -> Array:
    """Heights moved apart to at least `gap`, in their order, and below 1."""
    order, ladder = np.argsort(heights, kind="stable"), gap * np.arange(len(heights))
    above = np.maximum.accumulate(heights[order] - ladder)
    placed = np.empty(len(heights))
    placed[order] = np.minimum(above, 1 - ladder[-1]) + ladder
    return placed


def caption(figure: Figure, text: str) -> None:
    """Put a caption under the figure, across its width."""
    figure.supxlabel(text, x=0.005, ha="left", fontsize=8, wrap=True)
