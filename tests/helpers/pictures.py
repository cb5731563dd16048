"""What is written on a figure, and where."""

import itertools

from matplotlib.text import Text

SMALLEST = 5.0  # points: what journals ask for
EXPONENT = 0.7  # of the letters beside it


def _labels(tick):
    """The texts of a tick: that of its own side, and that of a colour bar's."""
    return tick.label1, tick.label2


def texts(figure):
    """The texts that are seen of a figure, laid out."""
    figure.draw_without_rendering()
    axis = [each for axes in figure.axes for each in (axes.xaxis, axes.yaxis)]
    seen = [text for each in axis for tick in each._update_ticks() for text in _labels(tick)]
    every = {text for each in axis for tick in each.get_major_ticks() for text in _labels(tick)}
    found = [text for text in figure.findobj(Text) if text not in every - set(seen)]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def unreadable(figure):
    """Pairs of texts that lie on each other, and texts that leave the figure or are too small."""
    # Of an annotation its text alone, without the line that leads to it.
    seen = texts(figure)
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in seen]
    frame = figure.bbox.padded(0.5)
    pairs = [
        (a, b)
        for (a, x), (b, y) in itertools.combinations(boxes, 2)
        if x.padded(-1).overlaps(y.padded(-1))
    ]
    outside = [
        text
        for text, box in boxes
        if not (frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1))
    ]
    small = [text.get_text() for text in seen if _smallest(text) < SMALLEST]
    return pairs + outside + small


def _smallest(text):
    """The size of a text's smallest letters, in points."""
    return text.get_size() * (EXPONENT if "^{" in text.get_text() else 1)


def said(picture):
    """The caption, in one line."""
    return " ".join(picture.caption.split())
