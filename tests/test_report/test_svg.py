"""A figure becomes a part of a page without a change to what it says."""

import re

from matplotlib.figure import Figure

from bnexp.figures.drawing import GREY, Picture, looks, style
from bnexp.report.svg import inline_svg


def test_coordinates_are_rounded_and_numbers_that_are_read_are_not():
    """Ticks of 0.955 and 0.965 stay different from 0.95 and 0.96, and so does a cell's 0.9636."""
    figure = Figure((3, 2))
    axes = figure.subplots()
    axes.plot([0, 1 / 3, 1], [0.95, 0.9541, 0.97])
    axes.set_yticks([0.955, 0.965])
    axes.text(0.1, 0.96, "0.9636")
    svg = inline_svg(Picture(figure, ""), "fig")
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"0.955", "0.965", "0.9636"} <= set(shown)
    assert not re.search(r"<[^>]*\d\.\d{3}[^>]*>", svg)


def test_the_colours_of_the_figures_are_those_of_the_page():
    """Each variant's, grey and black: in the dark they are others, and none is left as it was."""
    with style():
        figure = Figure((3, 2))
        axes = figure.subplots()
        for i, look in enumerate(looks(8)):
            axes.plot([0, 1], [i, i], **look)
        axes.set_title("grey", color=GREY)
    svg = inline_svg(Picture(figure, ""), "fig")
    found = set(re.findall(r"(?:stroke|fill): ([^;\"]+)", svg)) - {"none"}
    series = {f"var(--series-{i})" for i in range(8) if i != 6}  # that one is black
    assert found == {*series, "currentColor", "var(--muted)"}
