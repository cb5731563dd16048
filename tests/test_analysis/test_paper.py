"""The digitised Figure 1, and the distance to it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.synthetic import fig1, other, settings

from bnexp.analysis.paper import distance, paper_net, paper_panel
from bnexp.config import flatten


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
    assert paper_panel(flatten(settings("none"))) == "b"
    assert paper_panel(flatten(settings("batch"))) == "c"
    assert paper_panel(flatten(settings("none", weight_std=0.2))) == "b"  # left open by the paper


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
    assert paper_panel(flatten(near)) is None


@pytest.fixture(scope="module")
def runs():
    """The paper's two networks, with made-up curves."""
    return fig1(rows=3, seeds=2).variants


def measured(run, steps, accuracy):
    """The run with this test accuracy, of two seeds that differ."""
    both = np.stack([np.add(accuracy, 0.01), np.subtract(accuracy, 0.01)], axis=1)
    return other(run, metrics=replace(run.metrics, steps=np.array(steps), test_accuracy=both))


def of(run, end):
    """The distance of a variant whose typical unit ends like this."""
    return distance(run.settings, run.metrics, end)


END = SimpleNamespace(percentiles=(15.0, 50.0, 85.0), typical_unit=(0.0, 0.0, 0.0))


@pytest.mark.parametrize(("name", "panel"), [("baseline", "b"), ("batchnorm", "c")])
def test_the_distance_of_the_accuracy_is_the_largest_from_step_7000_on(runs, name, panel):
    """Of the mean over seeds; earlier points do not count, however far."""
    net = paper_net(panel)
    accuracy = net.accuracy - 0.001
    accuracy[net.accuracy_steps < 7000] -= 0.5
    accuracy[4] += 0.02
    found = of(measured(runs[name], net.accuracy_steps, accuracy), END)
    assert found.panel == panel
    assert found.accuracy == pytest.approx(0.019)
    assert found.at_step == net.accuracy_steps[4]


def test_the_accuracy_is_interpolated_between_evaluations(runs):
    """Linearly, at the digitised steps."""
    found = of(measured(runs["batchnorm"], [0, 100_000], [0.95, 1.05]), END)
    net = paper_net("c")
    late = net.accuracy_steps >= 7000
    line = 0.95 + net.accuracy_steps / 1e6
    assert found.accuracy == pytest.approx(np.abs(line - net.accuracy)[late].max())


def test_the_distance_of_the_end_is_to_the_papers_last_percentiles_wherever_they_are(runs):
    """None unless 15, 50 and 85 are all recorded."""
    unit = (9.0, -1.92 + 0.1, 0.03, 1.97 - 0.2)
    end = SimpleNamespace(percentiles=(5.0, 15.0, 50.0, 85.0), typical_unit=unit)
    found = of(runs["batchnorm"], end)
    assert found.end_percentiles == pytest.approx([0.1, 0, 0.2])
    other_three = SimpleNamespace(percentiles=(5.0, 50.0, 95.0), typical_unit=unit[:3])
    assert of(runs["batchnorm"], other_three).end_percentiles is None


def test_there_is_no_distance_without_a_probe_or_to_another_experiment(runs):
    """Nothing is compared with curves of something else."""
    assert of(runs["batchnorm"], None) is None
    assert of(fig1(rows=3, seeds=2, data="digits").variants["batchnorm"], END) is None
