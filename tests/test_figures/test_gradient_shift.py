"""The figure of the gradients' shift holds what `record.ics_every` wrote."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.pictures import overlaps, said
from helpers.synthetic import fig1, other

from bnexp.analysis.records import GradientShift
from bnexp.errors import StorageError
from bnexp.figures.gradient_shift import draw_ics

HIDDEN = (4, 3, 6)


@pytest.fixture
def files():
    """Two nets of three hidden layers; the second alone recorded the shift, at 41 steps."""
    files = fig1(rows=101, seeds=3, hidden=HIDDEN)
    values = np.random.default_rng(0).uniform(0.01, 1, (3, 41, 3, 3))
    shift = GradientShift(np.arange(0, 2050, 50), (0, 1, 2), (2, 3, 4), *values)
    runs = {
        "baseline": other(files.variants["baseline"], gradient_shift=None),
        "batchnorm": other(files.variants["batchnorm"], gradient_shift=shift),
    }
    return replace(files, variants=runs)


def test_the_figure_has_the_percentiles_and_the_median_shift_of_each_layer(files):
    """A column for the net that recorded it, a line for each layer from the second on."""
    figure = draw_ics(files)
    percentiles, distance, cosine = figure.axes
    run = files.variants["batchnorm"]
    assert len(percentiles.lines) == 3
    for axes, values in (
        (distance, run.gradient_shift.distance),
        (cosine, run.gradient_shift.cosine),
    ):
        assert [line.get_label() for line in axes.lines] == ["2", "3", "4"]
        for layer, line in enumerate(axes.lines):
            assert np.array_equal(line.get_xdata(), run.gradient_shift.steps)
            assert np.array_equal(line.get_ydata(), np.median(values[:, layer], axis=1))
    assert distance.get_yscale() == "log"
    assert overlaps(figure) == []


def test_the_caption_claims_no_causality(files):
    """It names the source, and what the two rows do not show."""
    caption = said(draw_ics(files))
    assert "Santurkar et al. 2018, Definition 2.1" in caption
    assert "does not show that one causes the other" in caption


def test_without_a_recorded_shift_there_is_no_figure(files):
    """The error names the key."""
    with pytest.raises(StorageError, match=r"set record\.ics_every"):
        draw_ics(replace(files, variants={"baseline": files.variants["baseline"]}))
