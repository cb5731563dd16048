"""Figures of a comparison: which fits, and that they hold what the logs and the table hold."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.pictures import overlaps, said
from helpers.synthetic import experiment_of, fig1, other, settings

from bnexp.analysis.summary import compare
from bnexp.config import experiment as config
from bnexp.config import flatten
from bnexp.errors import StorageError
from bnexp.figures.comparison import comparison_kind, draw_bias, draw_gamma, draw_grid

HIDDEN = (4, 3, 6)


def runs_of(variants, names=("batchnorm",)):
    """A run of made-up curves for each variant `{name: settings}`, in turn those of `names`."""
    made = fig1(rows=101, seeds=3, hidden=HIDDEN).variants
    runs = {}
    for i, (name, each) in enumerate(variants.items()):
        run = made[names[i % len(names)]]
        runs[name] = other(run, name=name, settings=flatten(each))
    return experiment_of(runs)


@pytest.fixture
def bias():
    """Three nets: one without bias, one next to it, one farther off."""
    net = settings("batch", hidden=HIDDEN)
    with_bias = replace(net, model=replace(net.model, bias=True))
    random = replace(net, model=replace(net.model, bias=True, bias_std=1.0))
    files = runs_of({"zero": with_bias, "no_bias": net, "random": random})
    for run, norm in ((files.variants["zero"], 1e-8), (files.variants["random"], 17.0)):
        probe, metrics = run.probe, run.metrics
        values = probe.values + np.float32(norm / 1000) * np.arange(101)[:, None, None, None]
        norms = np.full_like(metrics.test_accuracy, norm)
        vars(run)["probe"] = replace(probe, values=values.astype(np.float32))
        vars(run)["metrics"] = replace(metrics, bias_norm=norms, bias_gradient_norm=norms / 1e9)
    return files


@pytest.fixture
def gamma():
    """With and without gamma, for two activations."""
    net = settings("batch", hidden=HIDDEN)
    return runs_of(
        {
            f"{activation}_{gamma}": replace(
                net, model=replace(net.model, activation=activation, gamma=gamma)
            )
            for activation in ("relu", "tanh")
            for gamma in (True, False)
        }
    )


@pytest.fixture
def grid():
    """Two learning rates by three deviations of the weights by two norms."""
    nets = {
        f"{std}_{lr}_{norm}": settings(norm, hidden=HIDDEN, weight_std=std)
        for std in (0.01, 0.05, 1.0)
        for lr in (0.1, 0.3)
        for norm in ("none", "batch")
    }
    nets = {
        name: replace(
            net,
            model=replace(net.model, bias=True),
            train=replace(net.train, lr=float(name.split("_")[1])),
        )
        for name, net in nets.items()
    }
    return runs_of(nets, ("baseline", "batchnorm"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bias", "bias"),
        ("bias_adam", "bias"),
        ("gamma", "gamma"),
        ("beta", "grid"),
        ("sigma_lr", "grid"),
        ("fig1", None),
        ("quickstart", None),
    ],
)
def test_the_settings_that_differ_choose_the_figure(name, kind):
    """For the packaged configs."""
    variants = config.load(name).variants
    assert comparison_kind([flatten(each.settings) for each in variants]) == kind


def test_one_variant_or_an_incomplete_grid_has_no_figure_of_its_own(grid):
    """Neither has anything to lay side by side."""
    settings = [*grid.settings.values()]
    assert comparison_kind(settings) == "grid"
    for part in (settings[:1], settings[:-1]):
        assert comparison_kind(part) is None


def test_the_bias_figure_shows_the_largest_difference_and_the_norms(bias):
    """From the net without bias, wherever it stands among the variants."""
    figure = draw_bias(bias)
    _, gap, norms = figure.axes
    reference = bias.variants["no_bias"].probe.values
    for line, name in zip(gap.lines, ("zero", "random"), strict=True):
        largest = np.abs(bias.variants[name].probe.values - reference).max(axis=(1, 2, 3))
        assert line.get_ydata() == pytest.approx(largest)
    levels = [float(line.get_ydata()[0]) for line in norms.lines]
    assert levels == pytest.approx([1e-8, 1e-17, 17, 17e-9])
    assert "no_bias" in said(figure)
    assert overlaps(figure) == []


def test_an_exact_zero_has_no_place_in_the_bias_figure(bias):
    """A line that begins there has no stroke from the bottom of the axes."""
    run = bias.variants["zero"]
    norms = run.metrics.bias_norm.copy()
    norms[0] = 0
    vars(run)["metrics"] = replace(run.metrics, bias_norm=norms)
    for axes in draw_bias(bias).axes[1:]:
        assert not np.isfinite(axes.transData.transform((0, 0))[1])


def test_the_bias_figure_compares_a_run_under_way_as_far_as_it_got(bias):
    """Over the rows that both nets have."""
    run = bias.variants["random"]
    probe, other_probe = run.probe, bias.variants["no_bias"].probe
    vars(run)["probe"] = replace(probe, steps=probe.steps[:60], values=probe.values[:60])
    drawn = draw_bias(bias).axes[1].lines[1].get_ydata()
    largest = np.abs(probe.values - other_probe.values).max(axis=(1, 2, 3))
    assert drawn == pytest.approx(largest[:60])


def test_the_bias_figure_lays_one_unit_of_all_nets_over_each_other(bias):
    """The typical unit of the net without bias."""
    lines = draw_bias(bias).axes[0].lines
    shown = [line.get_ydata() for line in lines]
    assert len(shown) == 9
    assert np.allclose(shown[0], shown[3], atol=1e-5)  # no_bias, zero: P15 of the same unit
    assert not np.allclose(shown[0], shown[6], atol=1e-5)


def test_the_gamma_figure_has_a_row_an_activation_and_the_learned_gammas(gamma):
    """Accuracy, without, with, and the histogram with its share below 0."""
    gammas = {"relu_True": np.array([-1.0, 1.0, 1.0, 2.0]), "tanh_True": np.ones((3, 6))}
    figure = draw_gamma(gamma, gammas)
    assert len(figure.axes) == 8
    assert sum(patch.get_height() for patch in figure.axes[3].patches) == 4
    assert "25.0 % below 0" in figure.axes[3].texts[0].get_text()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[4:7] == ["tanh", "tanh, no gamma", "tanh, gamma"]
    assert overlaps(figure) == []
    assert "0.0 % below 0" in draw_gamma(gamma, {}).axes[3].texts[0].get_text()


def test_the_heat_map_holds_the_numbers_of_compare(grid):
    """A panel a norm over the two settings with most values, and their difference."""
    rows = compare([grid])
    figure = draw_grid(rows)
    plain, norm, difference = figure.axes
    for axes, kind in ((plain, "none"), (norm, "batch")):
        expected = [
            f"{row['measures']['test_accuracy']['mean']:.3f}"
            for row in rows
            if row["settings"]["model.norm"] == kind
        ]
        assert [text.get_text() for text in axes.texts] == expected
    gap = (
        rows[1]["measures"]["test_accuracy"]["mean"] - rows[0]["measures"]["test_accuracy"]["mean"]
    )
    assert difference.texts[0].get_text() == f"{gap:.3f}"
    assert difference.get_title(loc="left") == "norm batch minus norm none"
    assert overlaps(figure) == []


def test_the_heat_map_marks_what_was_not_reached(grid):
    """A dash, where a seed never got to the accuracy; also where none did."""
    rows = compare([grid])
    for row in rows:
        row["measures"]["steps_to_97"]["mean"] = None
    assert {text.get_text() for text in draw_grid(rows, "steps_to_97").axes[0].texts} == {"-"}


def test_a_comparison_needs_runs(bias):
    """Two for the bias, one for gamma."""
    with pytest.raises(StorageError, match="train it first"):
        draw_bias(replace(bias, variants={"zero": bias.variants["zero"]}))
    with pytest.raises(StorageError, match="train it first"):
        draw_gamma(replace(bias, variants={}), {})
