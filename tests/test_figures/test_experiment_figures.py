"""Which figures an experiment gets, and that they hold what the logs and the table hold."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from helpers import models
from helpers.pictures import said, unreadable
from helpers.synthetic import experiment_of, fig1, other, settings
from matplotlib.colors import to_hex

from bnexp import config
from bnexp.analysis.comparison import compare
from bnexp.analysis.distributions import typical_unit
from bnexp.analysis.measuring import measure
from bnexp.analysis.records import RunningStatisticsLog
from bnexp.analysis.results import read_experiment
from bnexp.config import flatten
from bnexp.errors import ConfigError, StorageError
from bnexp.figures.bias import draw_bias
from bnexp.figures.drawing import PAGE, save
from bnexp.figures.experiment_figures import comparison_kind, figure_of, figures_of
from bnexp.figures.gamma import draw_gamma, learned_gammas
from bnexp.figures.heatmap import draw_heatmap

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


@pytest.mark.parametrize("kind", ["bias", "gamma", "grid"])
def test_the_figure_that_compares_is_written_as_a_picture(request, kind, tmp_path):
    """As any other one that fits the experiment."""
    files = request.getfixturevalue(kind)
    (path,) = save(figure_of(files, measure(files), kind, PAGE), tmp_path / kind)
    assert path.stat().st_size > 1000


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
    picture = draw_bias(bias)
    figure = picture.figure
    _, gap, norms = figure.axes
    reference = bias.variants["no_bias"].probe.values
    for line, name in zip(gap.lines, ("zero", "random"), strict=True):
        largest = np.abs(bias.variants[name].probe.values - reference).max(axis=(1, 2, 3))
        assert line.get_ydata() == pytest.approx(largest)
    levels = [float(line.get_ydata()[0]) for line in norms.lines]
    assert levels == pytest.approx([1e-8, 1e-17, 17, 17e-9])
    assert "no_bias" in said(picture)
    assert unreadable(figure) == []


def test_the_legend_of_the_bias_figure_has_the_colour_of_each_net_and_says_they_take_turns(bias):
    """Their dashes are longer than a legend's line."""
    picture = draw_bias(bias)
    (legend,) = picture.figure.legends
    lines = picture.figure.axes[0].lines[::3]
    assert [line.get_color() for line in legend.get_lines()] == [x.get_color() for x in lines]
    assert {line.get_linestyle() for line in legend.get_lines()} == {"-"}
    assert len({str(line._dash_pattern) for line in lines}) == 3
    assert "dashes of each in turn" in picture.figure.axes[0].texts[0].get_text()
    assert "dashes of each take turns" in said(picture)


def with_seeds(run, seeds):
    """The run under these names of its seeds."""
    vars(run)["probe"] = replace(run.probe, seeds=seeds)
    vars(run)["metrics"] = replace(run.metrics, seeds=seeds)


def test_the_bias_figure_compares_the_seeds_that_all_have(bias):
    """Each with itself wherever it stands, and the caption names them."""
    with_seeds(bias.variants["random"], (2, 7, 1))
    picture = draw_bias(bias)
    reference, run = bias.variants["no_bias"].probe, bias.variants["random"].probe
    largest = np.abs(run.values[:, [2, 0]] - reference.values[:, [1, 2]]).max(axis=(1, 2, 3))
    assert picture.figure.axes[1].lines[1].get_ydata() == pytest.approx(largest)
    assert "Compared over the seeds that all have: 1, 2." in said(picture)
    assert "seed 0" not in picture.figure.axes[0].texts[0].get_text()


def test_the_bias_figure_of_nets_without_a_common_seed_says_so(bias):
    """It compares none, and stops neither `train` nor a report."""
    with_seeds(bias.variants["random"], (7, 8, 9))
    picture = draw_bias(bias)
    assert len(picture.figure.axes[1].lines) == 0
    assert "No seed is common to all" in said(picture)
    assert unreadable(picture.figure) == []


def test_a_name_leads_to_where_its_line_ends_also_before_the_axis_does(bias):
    """The gradients end before the bias, since the final network makes no update."""
    for name in ("zero", "random"):
        metrics = bias.variants[name].metrics
        gradient = metrics.bias_gradient_norm.copy()
        gradient[95:] = np.nan
        vars(bias.variants[name])["metrics"] = replace(metrics, bias_gradient_norm=gradient)
    norms = draw_bias(bias).figure.axes[2]
    low, high = norms.get_xlim()
    end = (metrics.steps[94] - low) / (high - low)
    names = norms.texts[1:]
    assert [text.xy[0] for text in names] == pytest.approx([1, end] * 2)
    assert {text.xyann[0] for text in names} == {1.0}  # the names themselves stand below each other


def test_an_exact_zero_has_no_place_in_the_bias_figure(bias):
    """A line that begins there has no stroke from the bottom of the axes."""
    run = bias.variants["zero"]
    norms = run.metrics.bias_norm.copy()
    norms[0] = 0
    vars(run)["metrics"] = replace(run.metrics, bias_norm=norms)
    for axes in draw_bias(bias).figure.axes[1:]:
        assert not np.isfinite(axes.transData.transform((0, 0))[1])


def test_the_bias_figure_compares_a_run_under_way_as_far_as_it_got(bias):
    """Over the rows that both nets have."""
    run = bias.variants["random"]
    probe, other_probe = run.probe, bias.variants["no_bias"].probe
    vars(run)["probe"] = replace(probe, steps=probe.steps[:60], values=probe.values[:60])
    drawn = draw_bias(bias).figure.axes[1].lines[1].get_ydata()
    largest = np.abs(probe.values - other_probe.values).max(axis=(1, 2, 3))
    assert drawn == pytest.approx(largest[:60])


def test_the_bias_figure_compares_rows_of_the_same_step(bias):
    """A run that is made longer already has a row of a later step where another one ends."""
    run = bias.variants["random"]
    probe, reference = run.probe, bias.variants["no_bias"].probe
    steps = probe.steps.copy()
    steps[-1] += 7
    vars(run)["probe"] = replace(probe, steps=steps)
    drawn = draw_bias(bias).figure.axes[1].lines[1].get_ydata()
    largest = np.abs(probe.values - reference.values).max(axis=(1, 2, 3))
    assert drawn == pytest.approx(largest[:-1])


@pytest.mark.parametrize(
    ("stated", "missing"), [("model.gamma", "model.activation"), ("model.bias", "model.norm")]
)
def test_recorded_models_that_state_too_little_have_no_ablation_figure(stated, missing):
    """What their users state may be the one setting that differs, alone or with any other."""
    pair = [{stated: True, "lr": 0.1}, {stated: False, "lr": 0.1}]
    assert comparison_kind(pair) is None
    partly = [{**pair[0], missing: "batch"}, pair[1]]
    assert comparison_kind(partly) is None


def test_the_bias_figure_is_not_drawn_of_recorded_models(tmp_path):
    """They may differ in more than they state, and nobody knows how large their biases are."""
    for variant, bias, steps in (("a", True, 5), ("b", False, 8)):
        stated = {"model.norm": "batch", "model.bias": bias}
        models.recorded(tmp_path, steps, variant=variant, settings=stated)
    drawn = figures_of(read_experiment(tmp_path), measure(read_experiment(tmp_path)))
    assert set(drawn) == {"fig1"}


def test_a_grid_without_a_test_accuracy_has_no_heat_map(tmp_path):
    """The heat map is one of test accuracy, and the users of recorded models may log none."""
    for i, (depth, lr) in enumerate(product((1, 2), (0.1, 0.2))):
        models.recorded(tmp_path, 3, variant=f"v{i}", settings={"depth": depth, "lr": lr})
    drawn = figures_of(read_experiment(tmp_path), measure(read_experiment(tmp_path)))
    assert set(drawn) == {"fig1"}


def test_the_bias_figure_lays_one_unit_of_all_nets_over_each_other(bias):
    """The typical unit of the net without bias."""
    lines = draw_bias(bias).figure.axes[0].lines
    shown = [line.get_ydata() for line in lines]
    assert len(shown) == 9
    assert np.allclose(shown[0], shown[3], atol=1e-5)  # no_bias, zero: P15 of the same unit
    assert not np.allclose(shown[0], shown[6], atol=1e-5)


def with_gammas(files, name, gammas):
    """The variant with these gammas in its last layer at the end."""
    run = files.variants[name]
    rows, seeds, _, units = run.probe.values.shape
    parameters = np.zeros((rows, seeds, 2, units), np.float32)
    parameters[-1, :, 0, -HIDDEN[-1] :] = gammas
    vars(run)["norm_parameters"] = parameters


def test_the_gamma_figure_has_a_row_an_activation_and_the_learned_gammas(gamma):
    """Accuracy, without, with, and the histogram with its share below 0."""
    with_gammas(gamma, "relu_True", [[-1, -1, -1, 1, 1, 1]] * 2 + [[-1, -1, -1, 2, 2, 2]])
    figure = draw_gamma(gamma).figure
    assert len(figure.axes) == 8
    assert sum(patch.get_height() for patch in figure.axes[3].patches) == 18
    assert "50.0 % below 0" in figure.axes[3].texts[0].get_text()
    titles = [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes]
    assert titles[4:7] == ["(e) tanh", "(f) tanh, no gamma", "(g) tanh, gamma"]
    assert unreadable(figure) == []
    assert learned_gammas(gamma.variants["tanh_True"]).size == 0
    assert learned_gammas(gamma.variants["relu_False"]).size == 0


def test_the_gamma_figure_is_refused_at_another_width_than_a_pages(gamma):
    """What `--width` asks for is not left out without a word."""
    with pytest.raises(ConfigError, match=r"--figure gamma: always takes a page's width, 6.75"):
        figure_of(gamma, measure(gamma), "gamma", 3.25)
    assert figure_of(gamma, measure(gamma), "gamma", 6.75).figure.get_figwidth() == 6.75


def test_the_caption_of_the_gamma_figure_names_the_mark_of_a_broken_axis(gamma):
    """Where an axis has one, and only there."""
    assert "two strokes mark its foot" in said(draw_gamma(gamma))
    for run in gamma.variants.values():
        flat = np.full_like(run.metrics.test_accuracy, 0.97)
        vars(run)["metrics"] = replace(run.metrics, test_accuracy=flat)
    assert "stroke" not in said(draw_gamma(gamma))


def test_the_accuracy_axis_of_the_gamma_figure_shows_small_effects(gamma):
    """It spans the second half of training, however near the variants are."""
    low, high = draw_gamma(gamma).figure.axes[0].get_ylim()
    late = [run.metrics.test_accuracy[50:] for run in gamma.variants.values()]
    assert high - low < 2 * (np.max(late) - np.min(late))


def compared(grid):
    """The comparison of a grid's variants."""
    return compare([(grid.path, measure(grid))])


def test_the_heat_map_holds_the_numbers_of_compare(grid):
    """A panel a norm over the two settings with most values, and their difference."""
    found = compared(grid)
    figure = draw_heatmap(found).figure
    plain, norm, difference, *bars = figure.axes
    assert len(bars) == 2
    for axes, kind in ((plain, "none"), (norm, "batch")):
        expected = [
            row.numbers.measures["test_accuracy"].text(".4f").replace(" ±", "\n±")
            for row in found.rows
            if row.settings["model.norm"] == kind
        ]
        assert [text.get_text() for text in axes.texts] == expected
    first, second = (row.numbers.measures["test_accuracy"] for row in found.rows[:2])
    assert difference.texts[0].get_text().startswith(f"{second.mean - first.mean:+.4f}\n±")
    assert difference.get_title(loc="left").replace("\n", " ") == "(c) norm batch minus norm none"
    assert unreadable(figure) == []


def test_the_difference_is_bold_where_its_interval_excludes_zero_and_its_scale_is_centred(grid):
    """Blue and red are as far from white as each other."""
    figure = draw_heatmap(compared(grid)).figure
    difference = figure.axes[2]
    assert {text.get_weight() for text in difference.texts} == {"bold"}
    assert difference.images[0].norm(0.0) == pytest.approx(0.5)
    same = {name: other(run, metrics=grid.variants[next(iter(grid.variants))].metrics)
            for name, run in grid.variants.items()}  # fmt: skip
    equal = draw_heatmap(compared(replace(grid, variants=same))).figure.axes[2]
    assert {text.get_weight() for text in equal.texts} == {"normal"}


def test_the_heat_map_marks_what_was_not_reached(grid):
    """A dash, where a seed never got to the accuracy; also where none did."""
    for run in grid.variants.values():
        low = run.metrics.test_accuracy * 0.5
        vars(run)["metrics"] = replace(run.metrics, test_accuracy=low)
    drawn = draw_heatmap(compared(grid), "steps_to_97")
    assert {text.get_text() for text in drawn.figure.axes[0].texts} == {"-"}
    # And the caption says what it means, where there is one.
    assert "; -: not known of every seed." in drawn.caption
    assert " -" not in draw_heatmap(compared(grid)).caption


def test_a_measure_that_is_not_there_is_refused_with_a_suggestion(grid, bias):
    """And so is an experiment with one setting that differs."""
    with pytest.raises(ConfigError, match="no such measure; did you mean 'test_accuracy'"):
        draw_heatmap(compared(grid), "test_acuracy")
    one = {name: bias.variants[name] for name in ("no_bias", "zero")}
    with pytest.raises(ConfigError, match="needs two settings that differ"):
        draw_heatmap(compared(experiment_of(one)))


def test_gamma_beta_and_running_statistics_are_drawn_where_they_are_recorded(tmp_path):
    """For an experiment that is no ablation; they fit their frames, and are written as pictures."""
    made = fig1(rows=101, seeds=3, hidden=HIDDEN)
    assert set(figures_of(made, measure(made))) == {"fig1"}
    run = made.variants["batchnorm"]
    rows, seeds, _, units = run.probe.values.shape
    rng = np.random.default_rng(0)
    parameters = rng.uniform(1, 2, (rows, seeds, 2, units)).astype(np.float32)
    values = rng.uniform(0.01, 1, (5, 4, seeds))
    kept = RunningStatisticsLog(np.array([0, 10, 20, 30]), (0, 1, 2), *values)
    vars(run)["norm_parameters"], vars(run)["running_statistics"] = parameters, kept
    drawn = figures_of(made, measure(made))
    assert set(drawn) == {"fig1", "norm_parameters", "running_statistics"}
    seed, unit = typical_unit(run.probe.values[..., -HIDDEN[-1] :])
    dashed = [line for line in drawn["norm_parameters"].figure.axes[0].lines
              if line.get_linestyle() == "--"]  # fmt: skip
    gamma, beta = parameters[:, seed, :, units - HIDDEN[-1] + unit].T
    assert dashed[2].get_ydata() == pytest.approx(beta + 1.0364 * gamma, rel=1e-4)
    assert dashed[1].get_ydata() == pytest.approx(beta)
    mean = drawn["running_statistics"].figure.axes[0].lines[0]
    assert mean.get_ydata() == pytest.approx(values[0, 1:].mean(axis=1))
    assert "mean over 3 seeds" in said(drawn["running_statistics"])
    assert "Layer norm" not in said(drawn["norm_parameters"])  # there is none here
    # The same colour as the variant has in Figure 1, where it is the second one.
    panel = drawn["fig1"].figure.axes[2].lines[0]
    percentile = drawn["norm_parameters"].figure.axes[0].lines[0]
    assert mean.get_color() == panel.get_color() == percentile.get_color()
    assert mean.get_color() != drawn["fig1"].figure.axes[1].lines[0].get_color()
    for name, picture in drawn.items():
        assert unreadable(picture.figure) == []
        (path,) = save(picture, tmp_path / name)
        assert path.stat().st_size > 1000


def test_a_comparison_needs_runs(bias):
    """Two for the bias, one for gamma."""
    with pytest.raises(StorageError, match="train it first"):
        draw_bias(replace(bias, variants={"zero": bias.variants["zero"]}))
    with pytest.raises(StorageError, match="train it first"):
        draw_gamma(replace(bias, variants={}))


def test_a_grid_of_four_settings_has_a_row_of_panels_for_each_value_of_the_third(grid):
    """The two with the most values are the axes of each panel, and the norms stand side by side."""
    many = {}
    for activation in ("relu", "tanh", "sigmoid"):
        for name, run in grid.variants.items():
            settings = {**run.settings, "model.activation": activation}
            many[f"{name},{activation}"] = other(
                run, name=f"{name},{activation}", settings=settings
            )
    found = compared(experiment_of(many))
    figure = draw_heatmap(found).figure
    levels = {key: {row.settings[key] for row in found.rows} for key in found.rows[0].settings}
    rows = len(found.rows) // (
        2 * 3 * max(len(levels["model.weight_std"]), len(levels["train.lr"]))
    )
    panels = [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes[: 3 * rows]]
    assert rows > 1
    assert [panel.partition(", ")[2] for panel in panels] == rows * [
        "norm none",
        "norm batch",
        "norm batch minus norm none",
    ]
    assert len({panel.partition(", ")[0][4:] for panel in panels}) == rows
    shown = sum(len(axes.texts) for axes in figure.axes[: 3 * rows])
    assert shown == len(found.rows) * 3 // 2


def test_a_heat_map_of_one_panel_has_no_letter_and_its_colours_are_whole(grid):
    """Dark cells have white numbers, pale ones dark numbers."""
    nets = {name: run for name, run in grid.variants.items() if name.endswith("_none")}
    # With a third learning rate; two values would make two panels and their difference.
    for name in [name for name in nets if "_0.3_" in name]:
        third = {**nets[name].settings, "train.lr": 1.0}
        nets[f"{name}_third"] = other(nets[name], name=f"{name}_third", settings=third)
    accuracies = np.linspace(0.1, 0.9, len(nets))
    for run, accuracy in zip(nets.values(), accuracies, strict=True):
        same = np.full_like(run.metrics.test_accuracy, accuracy)
        vars(run)["metrics"] = replace(run.metrics, test_accuracy=same)
    found = compared(experiment_of(nets))
    # As where the baseline is not finished: else a second panel would hold the differences.
    bare = [replace(row, differences={}) for row in found.rows]
    picture = draw_heatmap(replace(found, rows=tuple(bare)))
    panel, bar = picture.figure.axes
    assert panel.get_title(loc="left") == ""
    assert panel.images[0].get_alpha() is None
    assert panel.texts[0].get_color() == "white"
    assert panel.texts[-1].get_color() == "#101010"
    assert bar.get_ylabel() == "test accuracy\nmean ± 95 % CI"
    assert unreadable(picture.figure) == []


def test_a_grid_of_two_settings_of_which_one_has_two_values_shows_their_difference(grid):
    """Paired by seed: intervals of two cells may overlap where their difference excludes 0."""
    nets = {name: run for name, run in grid.variants.items() if "_0.1_" in name}
    common = np.array([-0.01, 0.0, 0.01])  # what the networks of a seed share
    for name, run in nets.items():
        accuracy = np.full_like(run.metrics.test_accuracy, 0.96) + common
        accuracy -= name.endswith("_batch") * (0.004 + 0.01 * common)
        vars(run)["metrics"] = replace(run.metrics, test_accuracy=accuracy)
    picture = draw_heatmap(compared(experiment_of(nets)))
    plain, norm, difference, _, bar = picture.figure.axes
    titles = [axes.get_title(loc="left").replace("\n", " ") for axes in (plain, norm, difference)]
    assert titles == ["(a) norm none", "(b) norm batch", "(c) norm batch minus norm none"]
    assert [label.get_text() for label in plain.get_yticklabels()] == ["0.01", "0.05", "1"]
    assert [text.get_text() for text in plain.texts] == 3 * ["0.9600\n±0.0248"]
    assert [text.get_text() for text in difference.texts] == 3 * ["\N{MINUS SIGN}0.0040\n±0.0002"]
    assert {text.get_weight() for text in difference.texts} == {"bold"}
    ends = [label.get_text() for label in bar.get_yticklabels()]
    assert ends == ["\N{MINUS SIGN}0.004", "0", "+0.004"]
    averaged = "Test accuracy, averaged over the last 2,000 steps: mean over 3 seeds"
    assert picture.caption.startswith(averaged)
    for width in (6.75, 3.25):
        figure = draw_heatmap(compared(experiment_of(nets)), width=width).figure
        assert figure.get_size_inches()[0] <= width
        assert unreadable(figure) == []


def test_the_colour_bar_says_what_bold_means_and_a_grid_fits_page_and_column(grid):
    """In a column the panels stand below each other."""
    for width in (6.75, 3.25):
        figure = draw_heatmap(compared(grid), width=width).figure
        assert figure.get_size_inches()[0] <= width
        assert figure.axes[-1].get_ylabel().endswith("bold: CI excludes 0")
        assert unreadable(figure) == []
    assert "bold: the 95 % t-interval excludes 0" in said(draw_heatmap(compared(grid)))


def test_the_bias_figure_names_its_lines_and_says_why_the_gradients_end_early(bias):
    """In the picture, not only in the caption; at a page's width and at a column's."""
    for width in (6.75, 3.25):
        figure = draw_bias(bias, width).figure
        top, gap, norms = figure.axes
        assert [text.get_text() for text in top.texts[1:]] == ["P15", "P50", "P85"]
        assert [text.get_text() for text in gap.texts[1:]] == ["zero", "random"]
        named = ["zero: bias", "zero: gradient", "random: bias", "random: gradient"]
        assert [text.get_text() for text in norms.texts[1:]] == named
        assert "after the last update" in norms.texts[0].get_text()
        decades = np.log10(gap.get_ylim())
        assert decades == pytest.approx(np.round(decades))
        assert unreadable(figure) == []


def test_the_gamma_figure_fits_a_page_and_a_colour_means_one_thing_in_all_of_its_rows(gamma):
    """With gamma or without it, in the accuracy, the percentiles and the histogram."""
    for name in ("relu_True", "tanh_True"):
        with_gammas(gamma, name, 1.5)
    figure = draw_gamma(gamma).figure
    assert figure.get_size_inches()[0] == 6.75
    bare, full = (figure.axes[i].lines[0].get_color() for i in (1, 2))
    assert bare != full
    for accuracy, without, with_gamma, learned in (figure.axes[:4], figure.axes[4:]):
        # The one without gamma is on top.
        assert [line.get_color() for line in accuracy.lines] == [full, bare]
        assert [line.get_linestyle() for line in accuracy.lines] == ["-", "--"]
        assert {line.get_color() for line in without.lines} == {bare}
        assert {line.get_color() for line in with_gamma.lines} == {full}
        assert to_hex(learned.patches[0].get_facecolor()) == to_hex(full)
