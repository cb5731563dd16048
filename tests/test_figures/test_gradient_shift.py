"""The figure of the gradients' shift holds what `record.ics_every` wrote."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.pictures import said, unreadable
from helpers.synthetic import fig1, other

from bnexp.analysis.records import GradientShiftLog
from bnexp.errors import StorageError
from bnexp.figures.drawing import save
from bnexp.figures.gradient_shift import draw_gradient_shift

HIDDEN = (4, 3, 6)


@pytest.fixture
def files():
    """Two nets of three hidden layers; the second alone recorded the shift, at 41 steps."""
    files = fig1(rows=101, seeds=3, hidden=HIDDEN)
    values = np.random.default_rng(0).uniform(0.01, 1, (3, 41, 3, 3))
    shift = GradientShiftLog(np.arange(0, 2050, 50), (0, 1, 2), (2, 3, 4), *values)
    runs = {
        "baseline": other(files.variants["baseline"], gradient_shift=None),
        "batchnorm": other(files.variants["batchnorm"], gradient_shift=shift),
    }
    return replace(files, variants=runs)


def test_each_layer_has_a_panel_with_a_line_for_each_variant_that_recorded_it(files, tmp_path):
    """The median over seeds of the distance relative to ||G||, and of the cosine; in a picture."""
    picture = draw_gradient_shift(files)
    figure = picture.figure
    shift = files.variants["batchnorm"].gradient_shift
    assert len(figure.axes) == 6
    for place, axes in enumerate(figure.axes):
        values = (shift.relative_distance, shift.cosine)[place // 3][:, place % 3]
        (line,) = axes.lines
        assert np.array_equal(line.get_xdata(), shift.steps)
        assert np.array_equal(line.get_ydata(), np.median(values, axis=1))
    letters = [axes.get_title(loc="left")[:3] for axes in figure.axes]
    assert letters == ["(a)", "(b)", "(c)", "(d)", "(e)", "(f)"]
    titles = [axes.get_title(loc="left")[4:].replace("\n", " ") for axes in figure.axes]
    assert titles == [
        f"{what}, {where}"
        for what in ("distance", "cosine")
        for where in ("layer 2", "layer 3", "output")
    ]
    for row, scale in ((figure.axes[:3], "log"), (figure.axes[3:], "linear")):
        assert {axes.get_yscale() for axes in row} == {scale}
        low, high = row[0].get_ylim()  # one axis: the same value is at the same height in all
        between = np.sqrt(low * high) if scale == "log" else (low + high) / 2
        for axes in row:
            height = axes.transAxes.inverted().transform(axes.transData.transform((0, between)))[1]
            assert height == pytest.approx(0.5)
    assert unreadable(figure) == []
    (path,) = save(picture, tmp_path / "gradient_shift")
    assert path.stat().st_size > 1000


def test_the_caption_claims_no_causality(files):
    """It names the source, and what the two rows do not show."""
    caption = said(draw_gradient_shift(files))
    assert "Santurkar et al. 2018, Definition 2.1" in caption
    assert "does not show that one causes the other" in caption
    assert "Lines: median over 3 seeds; bands: lowest to highest seed." in caption
    assert "Layer 1 has none before it, and so no shift and no panel." in caption


def test_without_a_recorded_shift_there_is_no_figure(files):
    """The error names the key."""
    with pytest.raises(StorageError, match=r"set record\.ics_every"):
        draw_gradient_shift(replace(files, variants={"baseline": files.variants["baseline"]}))


@pytest.mark.parametrize("width", [3.25, 6.75])
@pytest.mark.parametrize("layers", [1, 3, 4, 5, 6])
def test_any_number_of_layers_fits_a_page(files, layers, width):
    """No text lies on another, each row has its axis, and the lowest panels have their steps."""
    values = np.random.default_rng(0).uniform(0.01, 1, (3, 41, layers, 3))
    log = GradientShiftLog(np.arange(0, 2050, 50), (0, 1, 2), tuple(range(2, layers + 2)), *values)
    runs = {name: other(each, gradient_shift=log) for name, each in files.variants.items()}
    figure = draw_gradient_shift(replace(files, variants=runs), width).figure
    assert figure.get_size_inches()[1] <= 9.0
    assert unreadable(figure) == []
    assert len(figure.axes) == 2 * layers
    for i, axes in enumerate(figure.axes):
        assert axes.get_title(loc="left").startswith(f"({'abcdefghijkl'[i]})")
        place = axes.get_subplotspec()
        assert bool(axes.get_xlabel()) == place.is_last_row()
        assert bool(axes.texts) == place.is_last_col()  # the names of its lines
        scale = "log" if "distance" in axes.get_title(loc="left") else "linear"
        assert axes.get_yscale() == scale
