"""What every figure shares: the look, lines of many rows, titles, saving."""

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Annotation
from matplotlib.ticker import EngFormatter
from matplotlib.transforms import Bbox
from matplotlib.typing import ColorType
from numpy.typing import NDArray

from bnexp.errors import ConfigError
from bnexp.files.atomic import write_whole

Line = NDArray[Any]  # (rows,)
Keep = Sequence[Callable[[Line], Any]]
Look = dict[str, Any]  # colour and line style of a variant

PAGE = 6.75  # inches: the width of a journal's page; one of its columns has 3.25
TALLEST = 9.0  # inches: the height of a page, with room for a caption
BINS = 500  # of a long line: about a bin a pixel of a panel
FEW = 12  # points of a line that are marked
DASH = 4  # how long one is of lines that take turns, in thicknesses of the line
LETTER = 4.6  # points: how wide a letter of a title is, nearly
GREY = "0.4"
# What each format calls the caption and the source of a figure. The date and the version of
# matplotlib are left out, so that two drawings of the same data are the same bytes.
METADATA = {
    "png": {"caption": "Description", "source": "Source", "without": "Software"},
    "pdf": {"caption": "Subject", "source": "Keywords", "without": "CreationDate"},
    "svg": {"caption": "Description", "source": "Source", "without": "Date"},
}


class NotebookFigure(Figure):
    """A figure that a notebook shows, although it belongs to no window.

    `savefig` draws a figure twice: first with nothing to see, so that the layout is made, and then
    into the file. The layout needs no drawing, so the first time only the layout is made.
    """

    def draw(self, renderer: RendererBase) -> None:
        """Draw the figure, or make its layout where nothing else will be seen of it."""
        constrained = isinstance(self.get_layout_engine(), ConstrainedLayoutEngine)
        if self.canvas.is_saving() and constrained:
            self.lay_out()  # for the drawing that follows, `savefig` takes the engine away
        else:
            with self._names_readable():
                super().draw(renderer)

    @contextmanager
    def _names_readable(self) -> Iterator[None]:
        """Darken names of lines, unless a page shines through: it has colours of its own."""
        opaque = mpl.colors.to_rgba(self.get_facecolor())[3] > 0
        texts = [text for axes in self.axes for text in axes.texts if opaque]
        names = {each: each.get_color() for each in texts if isinstance(each, Annotation)}
        for each, colour in names.items():
            each.set_color(readable(colour))
        yield
        for each, colour in names.items():
            each.set_color(colour)

    def lay_out(self) -> None:
        """Give the axes their places, as far as texts that are there already leave room.

        The solver of the layout adds up in the order of addresses in memory, so that the last bits
        of a place differ from process to process. Rounded, the same data give the same bytes: an
        SVG names what it clips by its place.
        """
        if (engine := self.get_layout_engine()) is None:
            return
        engine.execute(self)
        for axes in self.axes:
            place, takes_part = axes.get_position(original=True), axes.get_in_layout()
            axes.set_position(Bbox(place.get_points().round(9)), which="original")
            axes.set_in_layout(takes_part)  # to set a position ends that

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        with style():
            self.savefig(buffer, format="png")
        return buffer.getvalue()


@dataclass(frozen=True)
class Picture:
    """A figure and the caption that belongs under it."""

    figure: Figure
    caption: str


def style() -> AbstractContextManager[None]:
    """The defaults of matplotlib and `bnexp.mplstyle`, whatever the user's matplotlibrc says."""
    return mpl.rc_context(fname=Path(__file__).with_name("bnexp.mplstyle"))


def looks(n: int) -> list[Look]:
    """Colour and line style of n variants, in order; the first 32 are all different."""
    colours, lines = mpl.rcParams["axes.prop_cycle"].by_key()["color"], ("-", "--", "-.", ":")
    return [{"color": colours[i % 8], "ls": lines[(i + i // 8) % 4]} for i in range(n)]


def contrast(colour: ColorType) -> float:
    """The contrast of a colour to white, from 1 to 21, by the formula of WCAG 2."""
    rgb = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return 1.05 / (float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)


def readable(colour: ColorType) -> str:
    """A colour of lines for text on white: as much darker as WCAG asks, a contrast of 4.5 to 1."""
    rgb = np.array(mpl.colors.to_rgb(colour))
    shades = (mpl.colors.to_hex(share * rgb) for share in np.linspace(1, 0, 101))
    return next(shade for shade in shades if contrast(shade) >= 4.5)


def save(
    picture: Picture,
    stem: Path,
    formats: Sequence[str] = ("png",),
    *,
    source: str = "",
    burn_caption: bool = False,
) -> list[Path]:
    """Write a figure as `stem` with each format's suffix; the same data gives the same bytes.

    Args:
        picture: its caption goes into the files' metadata.
        stem: the path without suffix.
        formats: of png, pdf, svg.
        source: the experiment, commit and command, which go into the metadata too.
        burn_caption: also put the caption under the figure.

    Raises:
        ConfigError: a format is not one of png, pdf, svg.
    """
    for name in formats:
        if name not in METADATA:
            raise ConfigError(f"--format {name}: no such format; there are {', '.join(METADATA)}")
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{name}") for name in formats]
    with style():
        if burn_caption:
            _put_below(picture.figure, picture.caption)
        for name, path in zip(formats, paths, strict=True):
            keys, buffer = METADATA[name], BytesIO()
            metadata = {keys["caption"]: picture.caption, keys["without"]: None}
            if source:
                metadata[keys["source"]] = source
            picture.figure.savefig(buffer, format=name, metadata=metadata)
            write_whole(path, buffer.getvalue())
    return paths


def _put_below(figure: Figure, text: str) -> None:
    """Put a caption under the figure, across its width."""
    width, height = figure.get_size_inches()
    wrapped = textwrap.fill(text, int(width * 17))
    figure.set_size_inches(width, height + 0.14 * (wrapped.count("\n") + 2))
    figure.supxlabel(wrapped, x=0.01, ha="left", fontsize=7)


def decimate(steps: Line, line: Line, keep: Keep = (np.min, np.max)) -> tuple[Line, Line]:
    """A line as what is kept of each of BINS bins, if it has more rows than that."""
    if len(steps) <= len(keep) * BINS:
        return steps, line
    starts = [each[0] for each in np.array_split(steps, BINS)]
    kept = [[reduce(each) for reduce in keep] for each in np.array_split(line, BINS)]
    return np.repeat(starts, len(keep)), np.ravel(kept)


def marks(n: int) -> Look:
    """Small markers of a line's points, where they are few."""
    return {"marker": ".", "ms": 3.5} if n <= FEW else {}


def turn(i: int, lines: int) -> Look:
    """The look of line i of those that lie on each other: dashes of each in turn, so all are seen.

    The first one is drawn whole, below the others, so that no gap is left where they differ a
    little. A line that is alone keeps its own look.
    """
    if lines == 1:
        return {}
    # A pattern's lengths count in thicknesses of the line, and `lines - i` moves its beginning.
    dashes = ((lines - i) * DASH, (DASH, (lines - 1) * DASH))
    return {"lw": 1.6, "ls": dashes if i else "-"}


def draw_range(
    axes: Axes, steps: Line, values: NDArray[np.floating], look: Look, alpha: float = 0.2
) -> None:
    """A band from the lowest to the highest of values (rows, seeds)."""
    edges = values.min(axis=1), values.max(axis=1)
    axes.fill_between(steps, *edges, color=look["color"], alpha=alpha, lw=0)


def letter(i: int) -> str:
    """The name of panel i: a, b, ... z, aa, ab, ..."""
    return (chr(ord("a") + i // 26 - 1) if i >= 26 else "") + chr(ord("a") + i % 26)


def lettered(i: int, panels: int, text: str) -> str:
    """The title of panel i, after its letter; a panel that is alone needs none."""
    return f"({letter(i)}) {text}".rstrip() if panels > 1 else text


def step_axis(axes: Axes) -> None:
    """Label the axis, with thousands as k."""
    axes.set_xlabel("step")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def log_axis(axes: Axes) -> None:
    """Make the y axis logarithmic, with labels so large that their exponents can be read.

    An exponent has 0.7 of its label's size, which is 5.25 points. Journals ask for at least 5.
    """
    axes.set_yscale("log", nonpositive="mask")
    axes.tick_params(axis="y", labelsize=7.5)


def title(axes: Axes, text: str, below: str = "", letter_width: float = LETTER) -> None:
    """A title no wider than the axes, if letters have so many points; below it a line in grey."""
    letters = max(int(axes.get_window_extent().width * 72 / axes.figure.dpi / letter_width), 12)
    text = re.sub(r",(?=\S)", ", ", text)  # where a variant's name may break
    # A letter stays with the word behind it. The next best place is behind an equals sign, in a
    # word that is too long.
    joined = re.sub(r"^(\([a-z]+\)) ", "\\1\xa0", text)
    words = (x if len(x) <= letters else x.replace("=", "=\0 ") for x in joined.split(" "))
    lines = re.sub("\0 ?", "", textwrap.fill(" ".join(words), letters)).replace("\xa0", " ")
    axes.set_title(lines, pad=13 if below else 5)
    if below:
        axes.text(0, 1.02, below, color=GREY, transform=axes.transAxes)
