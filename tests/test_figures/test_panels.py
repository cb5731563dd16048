"""Panels show small differences, name every line at its end, and keep one look a variant."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.pictures import unreadable
from helpers.synthetic import experiment_of, fig1, other
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from bnexp.analysis.measuring import measure
from bnexp.analysis.records import GradientShiftLog
from bnexp.figures import drawing, figure1, labels
from bnexp.figures.curves import Selection
from bnexp.figures.experiment_figures import figures_of

HIDDEN = (4, 3, 6)


@pytest.fixture(scope="module")
def files():
    """Two networks that are not the paper's."""
    return fig1(rows=101, seeds=3, hidden=HIDDEN)


def names_at_ends(axes):
    """The labels at the right of axes: each one's text, and the height that it points to."""
    return {text.get_text(): text.xy[1] for text in axes.texts if isinstance(text, Annotation)}


@pytest.mark.parametrize("effect", [0.02, 0.006, 0.0005])
def test_a_small_difference_of_accuracies_takes_a_large_part_of_the_axis(files, effect):
    """The axis spans the last third of training, in which the difference is seen."""
    run = files.variants["batchnorm"]
    metrics = run.metrics
    accuracy = np.full_like(metrics.test_accuracy, 0.97)
    accuracy[:50] = np.linspace(0.1, 0.97, 50)[:, None]
    pair = {
        name: other(run, name=name, metrics=replace(metrics, test_accuracy=accuracy + more))
        for name, more in (("low", 0.0), ("high", effect))
    }
    low, high = figure1.draw(experiment_of(pair)).figure.axes[0].get_ylim()
    assert effect / (high - low) > 0.7
    assert low < 0.97 < 0.97 + effect < high


def test_the_paper_is_compared_on_the_papers_axis():
    """Its curves begin at an accuracy of 0.71."""
    assert figure1.draw(fig1(rows=51, seeds=2)).figure.axes[0].get_ylim() == (0.7, 1.0)


@pytest.fixture(scope="module")
def grid(files):
    """Ten variants with the names of a grid."""
    names = [f"activation=leaky_relu,gamma={i}" for i in range(10)]
    return {name: other(files.variants["batchnorm"], name=name) for name in names}


@pytest.fixture(scope="module")
def column(grid):
    """Their figure in a column."""
    return figure1.draw(experiment_of(grid), width=3.25).figure


def test_lines_are_named_by_their_variants_however_long_the_names_are(grid, column):
    """In the accuracy panel of a page and of a column, where they may break."""
    page = figure1.draw(experiment_of(grid)).figure
    for figure in (page, column):
        found = [text.replace("\n", " ") for text in names_at_ends(figure.axes[0])]
        assert found == [name.replace(",", ", ") for name in grid]
        assert unreadable(figure) == []


def test_in_a_column_names_stand_a_line_apart_and_titles_break_between_words(column):
    """A name of the panel of accuracies takes nine points; a title breaks behind "," or "="."""
    column.draw_without_rendering()
    first, *panels = column.axes
    places = [text.xyann[1] for text in first.texts if isinstance(text, Annotation)]
    points = first.get_window_extent().height * 72 / column.dpi
    assert np.diff(sorted(places)).min() * points > 9
    for i, axes in enumerate(panels):
        title = axes.get_title(loc="left").replace("=\n", "=").replace("\n", " ")
        assert title == f"({drawing.letter(i + 1)}) activation=leaky_relu, gamma={i}"


def test_a_line_leads_to_the_middle_of_its_name_however_steep_it_is():
    """Not to the name above: the padded box around a text does not cut it off."""
    with drawing.style():
        figure = Figure((3, 2))
        axes = figure.subplots()
        labels.end_labels(axes, [labels.EndLabel(0.5, f"name {i}", "black") for i in range(8)])
    figure.draw_without_rendering()
    for text in axes.texts:
        x, y = text.arrow_patch.get_path().vertices[0]
        box = Text.get_window_extent(text)
        assert abs(y - (box.y0 + box.y1) / 2) < 3 * figure.dpi / 72
        assert abs(x - box.x0) < 3 * figure.dpi / 72


def test_a_line_that_ends_early_is_named_where_it_ends(files):
    """A run under way, and one that diverged; a line without a finite value has no name."""
    run = files.variants["baseline"]
    values, accuracy = run.probe.values.copy(), run.metrics.test_accuracy.copy()
    values[60:], accuracy[60:] = np.nan, np.nan
    probe, metrics = replace(run.probe, values=values), replace(run.metrics, test_accuracy=accuracy)
    diverged = other(run, probe=probe, metrics=metrics, state="failed")
    drawn = replace(files, variants=files.variants | {"baseline": diverged})
    first, panel, whole = figure1.draw(drawn).figure.axes
    for axes, names in ((first, {"baseline"}), (panel, {"P15", "P50", "P85"})):
        ended = [text for text in axes.texts if text.get_text() in names]
        at = axes.transLimits.transform((run.probe.steps[59], 0))[0]
        assert [text.xy[0] for text in ended] == pytest.approx([at] * len(names), abs=1e-6)
        assert [text.xyann[0] for text in ended] == pytest.approx([at] * len(names), abs=1e-6)
    assert {text.xyann[0] for text in whole.texts if isinstance(text, Annotation)} == {1.0}
    never = replace(run.metrics, test_accuracy=np.full_like(accuracy, np.nan))
    drawn = replace(files, variants=files.variants | {"baseline": other(run, metrics=never)})
    assert set(names_at_ends(figure1.draw(drawn).figure.axes[0])) == {"batchnorm"}


@pytest.mark.parametrize("steps", [(500, 520), (850, 1000), (0, 20, 1000)])
def test_names_of_lines_that_end_at_different_steps_do_not_lie_on_each_other(steps):
    """Also where all end at one height."""
    with drawing.style():
        figure = drawing.NotebookFigure((2.25, 2), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1000], [0, 1])
        ends = [labels.EndLabel(0.5, f"batchnorm {i}", "black", at) for i, at in enumerate(steps)]
        labels.end_labels(axes, ends)
    assert len(axes.texts) == len(steps)
    assert unreadable(figure) == []


def test_a_run_that_has_just_begun_leaves_the_axis_of_the_others_as_it_is(files):
    """It shows the last third of those that have come farther."""
    run = files.variants["batchnorm"]
    metrics = replace(
        run.metrics, steps=run.metrics.steps[:2], test_accuracy=run.metrics.test_accuracy[:2]
    )
    begun = other(run, name="begun", metrics=metrics, state="running")
    both = figure1.draw(experiment_of({"batchnorm": run, "begun": begun}))
    alone = figure1.draw(experiment_of({"batchnorm": run}))
    assert both.figure.axes[0].get_ylim() == alone.figure.axes[0].get_ylim()


def test_each_label_points_to_where_its_line_ends(files):
    """The last value that is drawn, not an average of the last ones."""
    figure = figure1.draw(files).figure
    for axes, run in zip(figure.axes[1:], files.variants.values(), strict=True):
        low, high = axes.get_ylim()
        ends = [line.get_ydata()[-1] for line in axes.lines]
        heights = names_at_ends(axes)
        assert list(heights) == ["P15", "P50", "P85"]
        assert [low + height * (high - low) for height in heights.values()] == pytest.approx(ends)
        assert run.probe.values[-1].min() <= min(ends)


def test_a_variant_has_one_colour_in_all_figures_of_its_experiment(files):
    """Also where a figure shows only some of the variants."""
    run = files.variants["batchnorm"]
    rows, seeds, _, units = run.probe.values.shape
    parameters = np.ones((rows, seeds, 2, units), np.float32)
    values = np.random.default_rng(0).uniform(0.01, 1, (3, 41, 3, 3))
    shift = GradientShiftLog(np.arange(0, 2050, 50), (0, 1, 2), (2, 3, 4), *values)
    kept = {"norm_parameters": parameters, "gradient_shift": shift}
    made = experiment_of(
        {
            "none": other(files.variants["baseline"], name="none"),
            "layer": other(run, name="layer", **kept),
            "rms": other(run, name="rms", **kept),
        }
    )
    drawn = figures_of(made, measure(made))
    panels = drawn["fig1"].figure.axes
    colours = [axes.lines[0].get_color() for axes in panels[1:4]]
    assert len(set(colours)) == 3
    assert [line.get_color() for line in panels[0].lines] == colours
    shown = drawn["norm_parameters"].figure.axes[:2]
    assert [axes.lines[0].get_color() for axes in shown] == colours[1:]
    shifts = drawn["gradient_shift"].figure.axes
    assert [line.get_color() for line in shifts[0].lines] == colours[1:]
    assert list(names_at_ends(shifts[2])) == ["layer", "rms"]
    columns = figures_of(made, measure(made), 3.25)
    for name, picture in columns.items():
        assert picture.figure.get_size_inches()[0] == 3.25, name
        assert unreadable(picture.figure) == [], name


def test_the_caption_of_gamma_and_beta_states_the_quantiles_of_what_was_recorded(files):
    """Not those of percentiles 15, 50 and 85, whatever was recorded."""
    run = files.variants["batchnorm"]
    rows, seeds, _, units = run.probe.values.shape
    parameters = np.ones((rows, seeds, 2, units), np.float32)
    probe = replace(run.probe, percentiles=(10.0, 50.0, 90.0))
    made = experiment_of({"one": other(run, name="one", probe=probe, norm_parameters=parameters)})
    picture = figures_of(made, measure(made))["norm_parameters"]
    assert "z = -1.282, 0.000, 1.282 for percentiles 10, 50, 90" in picture.caption
    assert picture.figure.axes[0].get_title(loc="left") == "one"  # a panel alone has no letter


def test_a_panel_alone_has_no_letter():
    """Of several, each has one."""
    assert drawing.lettered(0, 1, "norm none") == "norm none"
    assert drawing.lettered(1, 2, "norm none") == "(b) norm none"


def test_an_axis_that_hides_lower_accuracies_is_broken_at_its_foot_and_the_caption_says_so(files):
    """Nothing is said or marked where nothing is hidden."""
    run = files.variants["batchnorm"]
    for lowest, hidden in ((0.1, True), (0.97, False)):
        accuracy = np.full_like(run.metrics.test_accuracy, 0.97)
        accuracy[:50] = lowest
        only = other(run, name="one", metrics=replace(run.metrics, test_accuracy=accuracy))
        picture = figure1.draw(experiment_of({"one": only}))
        axes = picture.figure.axes[0]
        strokes = [each for each in axes.collections if isinstance(each, LineCollection)]
        assert bool(strokes) == hidden
        assert ("begins at 0.970, which two strokes mark" in picture.caption) == hidden
        assert unreadable(picture.figure) == []
    papers = figure1.draw(fig1(rows=51, seeds=2))
    assert "begins at 0.700, which" in papers.caption


@pytest.mark.parametrize(("evaluations", "late"), [(2, False), (8, False), (9, True)])
def test_a_run_of_few_evaluations_is_shown_from_its_first_one_on(files, evaluations, late):
    """A third of it would hold one or two of them; the caption speaks of a third that is shown."""
    run = files.variants["batchnorm"]
    accuracy = np.linspace(0.1, 0.9, evaluations)[:, None].repeat(len(run.metrics.seeds), 1)
    steps = run.metrics.steps[:evaluations]
    metrics = replace(run.metrics, steps=steps, test_accuracy=accuracy)
    picture = figure1.draw(experiment_of({"one": other(run, name="one", metrics=metrics)}))
    low, high = picture.figure.axes[0].get_ylim()
    assert (low > 0.1, high > 0.9) == (late, True)
    assert ("last third" in picture.caption) == late
    assert ("two strokes" in picture.caption) == late


def test_lines_of_few_points_have_small_markers():
    """At most 12; in the panel of accuracies and in those of percentiles."""
    short, longer = set(), set()
    for rows in (12, 13):
        for axes in figure1.draw(fig1(rows=rows, seeds=2, hidden=HIDDEN)).figure.axes:
            for line in axes.lines:
                if not line.get_label().startswith("paper"):
                    few = short if len(line.get_xdata()) <= 12 else longer
                    few.add(line.get_marker())
    assert (short, longer) == ({"."}, {"None"})


def pixels_of_lines(axes):
    """How many pixels of a figure have the very colour of each line of the axes, in their order."""
    axes.figure.draw_without_rendering()
    canvas = FigureCanvasAgg(axes.figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3]
    box = axes.get_window_extent()
    image = image[-int(box.y1) : -int(box.y0), int(box.x0) : int(box.x1)]
    colours = [np.round(255 * np.array(to_rgb(line.get_color()))) for line in axes.lines]
    return [int((np.abs(image - colour).max(axis=2) < 1).sum()) for colour in colours]


@pytest.mark.parametrize("n", [2, 3, 4])
def test_of_lines_of_accuracies_that_coincide_each_is_seen_as_much_as_the_others(files, grid, n):
    """In dashes that take turns, which the caption names; lines apart have a line of their own."""
    picture = figure1.draw(experiment_of({name: grid[name] for name in list(grid)[:n]}))
    seen = pixels_of_lines(picture.figure.axes[0])
    assert min(seen) > 0.5 * max(seen)
    assert min(seen) > 30
    named = ", ".join(name for name in list(grid)[:n])
    assert f"Lines of (a) that coincide take turns, in dashes of each: {named}." in picture.caption
    apart = figure1.draw(files)
    assert "coincide" not in apart.caption
    assert len({line.get_lw() for line in apart.figure.axes[0].lines}) == 1


def test_bands_of_lines_that_coincide_are_as_pale_together_as_that_of_one(grid):
    """Else three of them would hide the line, in a colour that none of them has."""
    for n in (1, 3):
        axes = figure1.draw(experiment_of({name: grid[name] for name in list(grid)[:n]})).figure
        bands = [each for each in axes.axes[0].collections if not isinstance(each, LineCollection)]
        assert sum(band.get_alpha() for band in bands) == pytest.approx(0.2)


def test_a_band_of_units_has_edges_that_are_seen_in_another_band(files):
    """Darker than its inside, since neighbouring bands overlap; nothing closes it at its ends."""
    for axes in figure1.draw(files, Selection(unit="all")).figure.axes[1:]:
        for band, edges in zip(axes.collections[::2], axes.collections[1::2], strict=True):
            assert edges.get_edgecolor()[0, 3] > 2 * band.get_facecolor()[0, 3]
            assert band.get_linewidth()[0] == 0
            assert edges.get_linewidth()[0] > 0
            outline = band.get_paths()[0].vertices
            for edge in edges.get_segments():
                assert len(np.unique(edge[:, 0])) == len(edge)  # one value a step
                assert all((outline == point).all(axis=1).any() for point in edge)
