"""What is written on a figure, and where."""

import itertools

from matplotlib.text import Text


def texts(figure):
    """The texts that are seen of a figure, laid out."""
    figure.draw_without_rendering()
    axis = [each for axes in figure.axes for each in (axes.xaxis, axes.yaxis)]
    seen = [tick.label1 for each in axis for tick in each._update_ticks()]
    unseen = {tick.label1 for each in axis for tick in each.get_major_ticks()} - set(seen)
    found = [text for text in figure.findobj(Text) if text not in unseen]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def overlaps(figure):
    """Pairs of texts that lie on each other, and texts that leave the figure."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
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
