"""The digitised Figure 1, and the distance to it."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import settings

from bnexp.paper import accuracy_distance, end_distance, paper_net, paper_panel


def test_the_digitised_curves_are_read_as_they_stand_in_the_file():
    """First and last points of both networks."""
    plain, norm = paper_net("b"), paper_net("c")
    assert (plain.accuracy_steps[0], plain.accuracy[0]) == (4000, 0.710)
    assert (norm.accuracy_steps[-1], norm.accuracy[-1]) == (49_500, 0.981)
    assert plain.steps.tolist() == [1700, 2400, 3900, 5400, 9000, 14_000, 25_000, 50_000]
    assert plain.values[-1].tolist() == [-1.77, 0.02, 1.67]
    assert norm.values[0].tolist() == [-1.15, -0.14, 1.31]


def test_only_the_settings_the_paper_states_are_the_papers():
    """What the paper leaves open may be anything."""
    assert paper_panel(settings("none")) == "b"
    assert paper_panel(settings("batch")) == "c"
    assert paper_panel(settings("none", weight_std=0.2)) == "b"  # left open by the paper


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"name": "digits"}},
        {"data": {"binarize": False}},
        {"model": {"hidden": (100, 100)}},
        {"model": {"activation": "tanh"}},
        {"model": {"gamma": False}},
        {"train": {"steps": 10_000}},
        {"train": {"batch_size": 64}},
    ],
)
def test_what_the_paper_states_otherwise_is_not_the_papers(change):
    """One such setting is enough."""
    near = settings("batch")
    for section, keys in change.items():
        near = replace(near, **{section: replace(getattr(near, section), **keys)})
    assert paper_panel(near) is None


@pytest.mark.parametrize("panel", ["b", "c"])
def test_accuracy_distance_is_the_largest_from_step_7000_on(panel):
    """Earlier points do not count, however far."""
    net = paper_net(panel)
    accuracy = net.accuracy - 0.001
    accuracy[net.accuracy_steps < 7000] -= 0.5
    accuracy[4] += 0.02
    found = accuracy_distance(panel, net.accuracy_steps, accuracy)
    assert found == pytest.approx((0.019, net.accuracy_steps[4]))


def test_accuracy_distance_interpolates_between_evaluations():
    """Linearly, at the digitised steps."""
    found = accuracy_distance("c", np.array([0, 100_000]), np.array([0.95, 1.05]))
    net = paper_net("c")
    late = net.accuracy_steps >= 7000
    line = 0.95 + net.accuracy_steps / 1e6
    assert found is not None
    assert found[0] == pytest.approx(np.abs(line - net.accuracy)[late].max())


def test_there_is_no_distance_before_step_7000():
    """A short or empty run has none."""
    assert accuracy_distance("b", np.array([0, 5000]), np.array([0.1, 0.9])) is None
    assert accuracy_distance("b", np.array([], int), np.array([])) is None


def test_end_distance_is_to_the_papers_last_percentiles_wherever_they_are_recorded():
    """None unless 15, 50 and 85 all are."""
    end = np.array([9.0, -1.92 + 0.1, 0.03, 1.97 - 0.2])
    assert end_distance("c", (5.0, 15.0, 50.0, 85.0), end) == pytest.approx([0.1, 0, 0.2])
    assert end_distance("c", (5.0, 50.0, 95.0), end[:3]) is None
