"""What is written on a figure, and where."""

import itertools

from matplotlib.text import Text


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


def overlaps(figure):
    """Pairs of texts that lie on each other, and texts that leave the figure."""
    # Of an annotation its text alone, without the line that leads to it.
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in texts(figure)]
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
    return pairs + outside


def said(picture):
    """The caption, in one line."""
    return " ".join(picture.caption.split())
