"""What figures share: colours of names that can be read, names and titles in their places."""

import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from bnexp.figures import drawing, labels
from bnexp.report.svg import inline_svg


def named_lines():
    """Eight lines, each named at its end."""
    with drawing.style():
        figure = drawing.NotebookFigure((3, 3), layout="constrained")
        axes = figure.subplots()
        for i, look in enumerate(drawing.looks(8)):
            axes.plot([0, 1], [i, i], **look)
        ends = [
            labels.EndLabel(i, f"name {i}", look["color"])
            for i, look in enumerate(drawing.looks(8))
        ]
        labels.end_labels(axes, ends)
    return drawing.Picture(figure, "")


def colours_of_names(svg):
    """The colours of the texts that are names of lines; a text without one is black."""
    found = re.findall(r'<text style="([^"]*)"[^>]*>name', svg)
    return [(re.findall(r"fill: ([^;]+)", each) or ["#000000"])[0] for each in found]


@pytest.mark.parametrize(("colour", "expected"), [("#777777", 4.48), ("#000000", 21), ("w", 1)])
def test_the_contrast_to_white_is_that_of_wcag(colour, expected):
    """Of colours whose contrast is well known."""
    assert drawing.contrast(colour) == pytest.approx(expected, abs=0.005)


# What is seen of linear RGB, of Machado, Oliveira & Fernandes 2009 at full severity.
SEEN = {
    "normal": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colours, seen):
    """CIELAB of colours (n, 3) in sRGB, as they are seen."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ np.transpose(seen), 0, 1) @ XYZ.T / XYZ.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
def test_the_colours_of_lines_are_told_apart_by_the_colour_blind(seen):
    """Two of the eight are at least 15 apart in CIELAB; 2.3 is a difference that is just seen."""
    with drawing.style():
        colours = np.array([to_rgb(look["color"]) for look in drawing.looks(8)])
    places = lab(colours, seen)
    apart = np.linalg.norm(places[:, np.newaxis] - places, axis=2)
    assert apart[~np.eye(8, dtype=bool)].min() > 15


def test_the_names_of_lines_can_be_read_on_white_and_lines_keep_their_colours(tmp_path):
    """A name is the line's colour, darker where that one is pale."""
    path = drawing.save(named_lines(), tmp_path / "fig", ["svg"])[0]
    svg = path.read_text()
    names = colours_of_names(svg)
    assert len(set(names)) == 8
    assert min(drawing.contrast(colour) for colour in names) >= 4.5
    with drawing.style():
        lines = [look["color"].lower() for look in drawing.looks(8)]
    assert {colour for colour in lines if f"stroke: {colour}" in svg} | {"#000000"} == set(lines)
    assert drawing.readable("#0072B2") == "#0072b2"  # dark enough as it is


def test_on_a_page_that_shines_through_names_have_the_pages_colours(tmp_path):
    """Its own for the light and for the dark, also after the figure was saved on white."""
    picture = named_lines()
    drawing.save(picture, tmp_path / "fig")
    expected = [f"var(--series-{i})" for i in range(8)]
    expected[6] = "currentColor"
    found = colours_of_names(inline_svg(picture, "fig").replace("#000000", "currentColor"))
    assert [each if each != "#000000" else "currentColor" for each in found] == expected


def test_the_last_bits_of_a_panels_place_are_the_same_in_every_process(tmp_path):
    """The solver of the layout leaves others in each, and an SVG names what it clips by its place.

    A panel still takes part in the layout: it moves where a text needs its room.
    """
    picture = named_lines()
    (axes,) = picture.figure.axes
    drawing.save(picture, tmp_path / "fig", ["svg"])
    place = axes.get_position(original=True).get_points()
    assert (place == place.round(9)).all()
    assert 0.05 < place[0, 0] < 0.3
    axes.set_ylabel("the height of it")
    drawing.save(picture, tmp_path / "fig", ["svg"])
    assert axes.get_position(original=True).x0 > place[0, 0] + 0.02


def test_the_letter_of_a_panel_stays_with_the_word_behind_it():
    """A word that is too long with it breaks behind its equals sign."""
    with drawing.style():
        axes = drawing.NotebookFigure((2.1, 2)).subplots()
        drawing.title(axes, "(d) activation=leaky_relu,gamma=true")
        first, *others = axes.get_title(loc="left").split("\n")
    assert first == "(d) activation="
    assert " ".join(others) == "leaky_relu, gamma=true"
