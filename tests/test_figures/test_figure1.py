"""Figures hold what the logs hold, fit their frame, and come out the same each time."""

import itertools
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from helpers.pictures import said, unreadable
from helpers.synthetic import experiment_of, fig1, other
from PIL import Image
from scipy import stats

from bnexp.analysis.distributions import noise_floor, typical_unit
from bnexp.errors import ConfigError, StorageError
from bnexp.figures import curves as curves_module
from bnexp.figures import drawing, labels
from bnexp.figures import figure1 as figures
from bnexp.figures.curves import Selection

HIDDEN = (4, 3, 6)


# What one of these tests has made serves all of them.
pytestmark = pytest.mark.xdist_group("figure1")


@pytest.fixture(scope="module")
def files():
    """A small experiment near the paper's, with both records."""
    return fig1(rows=101, seeds=3, hidden=HIDDEN, batch_rows=2000)


def curves_of(axes):
    """The lines of an axes, without those that lead to labels."""
    return [line for line in axes.lines if line.get_gid() != "leader"]


def many(files, n):
    """An experiment of n variants with long names."""
    runs = {}
    for i, run in zip(range(n), itertools.cycle(files.variants.values())):
        name = f"activation=leaky_relu,gamma={i}" if n > 4 else f"variant_{i}"
        runs[name] = other(run, name=name)
    return experiment_of(runs)


@pytest.mark.parametrize("unit", ["typical", "all"])
def test_drawn_twice_a_figure_is_the_same_bytes(files, tmp_path, unit):
    """PNG, PDF and SVG carry no date and no random name."""
    alone = experiment_of({"batchnorm": files.variants["batchnorm"]})
    for folder in ("one", "two"):
        picture = figures.draw(alone, Selection(unit=unit))
        drawing.save(picture, tmp_path / folder / "fig1", ["png", "pdf", "svg"])
    for suffix in ("png", "pdf", "svg"):
        one, two = ((tmp_path / each / f"fig1.{suffix}").read_bytes() for each in ("one", "two"))
        assert one == two
        assert len(one) > 5000


def test_drawing_and_saving_leave_matplotlibs_settings_alone(files, tmp_path):
    """Also what the user has set counts for nothing in the figure."""
    before = dict(mpl.rcParams)
    drawing.save(figures.draw(files), tmp_path / "before")
    assert dict(mpl.rcParams) == before
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        drawing.save(figures.draw(files), tmp_path / "after")
    assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 10])
def test_no_text_lies_on_another_or_leaves_the_figure(files, n):
    """For any number of variants, with the names of a grid."""
    figure = figures.draw(many(files, n)).figure
    assert len(figure.axes) == n + 1
    assert unreadable(figure) == []
    assert len({axes.get_ylim() for axes in figure.axes[1:]}) == 1


@pytest.mark.parametrize("n", [3, 5, 6, 8, 10, 12])
def test_in_a_column_many_variants_fit_a_page(files, n):
    """More than four panels stand in pairs, and the lowest ones have the steps of all."""
    figure = figures.draw(many(files, n), width=3.25).figure
    assert unreadable(figure) == []
    width, height = figure.get_size_inches()
    assert width == 3.25
    assert height <= 9
    panels = figure.axes[1:]
    across = 2 if n > 4 else 1
    assert len({round(axes.get_position().x0, 2) for axes in panels}) == across
    shown = [axes.xaxis.get_tick_params()["labelbottom"] for axes in panels]
    assert shown == [False] * (n - across) + [True] * across
    assert [axes.get_xlabel() for axes in panels] == ["step" if each else "" for each in shown]


@pytest.mark.parametrize(
    ("source", "unit"), [("batch", "typical"), ("batch", "all"), ("probe", "2")]
)
def test_every_kind_of_figure_fits_its_frame(files, source, unit):
    """The same for minibatch curves and for all units."""
    assert unreadable(figures.draw(files, Selection(source, unit=unit)).figure) == []


def test_a_panel_draws_the_typical_unit_of_its_variant(files):
    """The lines are the log's values, and the panel names the unit."""
    figure = figures.draw(files).figure
    for axes, run in zip(figure.axes[1:], files.variants.values(), strict=True):
        seed, unit = typical_unit(run.probe.values[..., -HIDDEN[-1] :])
        for line, q in zip(curves_of(axes), range(3), strict=True):
            expected = run.probe.values[:, seed, q, sum(HIDDEN[:2]) + unit]
            assert np.array_equal(line.get_ydata(), expected)
            assert np.array_equal(line.get_xdata(), run.probe.steps)
        assert f"unit {unit}, seed {seed}" in [text.get_text() for text in axes.texts]


def test_the_typical_unit_is_one_of_the_layer_that_is_drawn(files):
    """Where minibatches recorded fewer layers than the probe, the probe judges that layer."""
    run = files.variants["batchnorm"]
    seed, unit = typical_unit(run.probe.values[..., : HIDDEN[0]])
    whole, first = run.minibatch, slice(0, HIDDEN[0])
    values = np.repeat(run.probe.values[::25, ..., first], 2, axis=0)
    log = replace(
        whole,
        values=values,
        steps=whole.steps[: len(values)],
        layer=run.probe.layer[first],
        unit=run.probe.unit[first],
    )
    curves = curves_module.read_curves(other(run, minibatch=log), Selection("batch"))
    assert np.array_equal(curves.lines, values[:, seed, :, unit])


def test_a_given_unit_of_a_given_layer_is_drawn_of_the_first_seed(files):
    """Units count from 0 in their layer, layers from 1."""
    figure = figures.draw(files, Selection(layer=2, unit=1)).figure
    assert "layer 2, unit 1, seed 0" in [text.get_text() for text in figure.axes[2].texts]
    run = files.variants["batchnorm"]
    assert np.array_equal(figure.axes[2].lines[0].get_ydata(), run.probe.values[:, 0, 0, 4 + 1])


def test_all_units_are_drawn_as_their_median_and_band(files):
    """Over the units of the layer and all seeds together."""
    run = files.variants["baseline"]
    curves = curves_module.read_curves(run, Selection(unit="all"))
    values = np.moveaxis(run.probe.values[..., -6:], 2, 1).reshape(101, 3, -1)
    assert np.allclose(curves.lines, np.median(values, axis=2))
    assert np.allclose(curves.band, np.percentile(values, [10, 90], axis=2))


def test_minibatch_curves_show_the_unit_of_the_probe_and_their_noise_floor(files):
    """The bar holds 80 % of what the sample alone changes, as the bands do of the minibatches."""
    run = files.variants["batchnorm"]
    curves = curves_module.read_curves(run, Selection("batch"))
    probe = curves_module.read_curves(run, Selection("probe"))
    assert curves.unit == probe.unit
    width = curves.lines[-100:, 2] - curves.lines[-100:, 0]
    floor = noise_floor((15, 50, 85), 60, normalized=True) * width.mean() / 2.0729
    assert curves.floor == pytest.approx(floor, rel=1e-4)
    assert probe.floor is None
    axes = figures.draw(files, Selection("batch")).figure.axes[2]
    bars = [c.get_segments()[0] for c in axes.collections if hasattr(c, "get_segments")]
    heights = sorted(bar[1, 1] - bar[0, 1] for bar in bars)
    between = stats.norm.ppf(0.9) - stats.norm.ppf(0.1)
    assert heights == pytest.approx(sorted(between * floor), rel=1e-4)


def test_the_caption_says_whose_percentiles_of_what_they_are(files):
    """Rule, layer, sample and mode; what is unfinished; the noise of minibatches."""
    caption = said(figures.draw(files))
    for words in (
        "last recorded layer",
        "the first 1000 examples",
        "training mode",
        "the unit whose curves stay nearest to the medians over all units and seeds",
    ):
        assert words in caption
    assert "noise of minibatches" in said(figures.draw(files, Selection("batch", unit="all")))
    running = other(files.variants["baseline"], state="running", step=700)
    part = replace(files, variants={"baseline": running})
    assert "Not finished: baseline, at step 700." in said(figures.draw(part))


@pytest.mark.parametrize(("rows", "told"), [(501, True), (500, False)])
def test_the_caption_says_over_how_many_steps_minibatches_are_put_together(rows, told):
    """A line of so few that each is drawn has neither medians nor bands; one seed is named so."""
    many = fig1(rows=5, seeds=1, hidden=(2,), batch_rows=rows)
    picture = figures.draw(many, Selection("batch"))
    words = "Lines: median over the steps of each of 500 parts of the training; bands: 10 to 90 %"
    assert (words in said(picture)) == told
    assert "one seed" in [text.get_text() for text in picture.figure.axes[0].texts]


def test_the_papers_curves_lie_over_the_papers_experiment_alone(files):
    """Over both panels and the accuracy; not over another layer, or other settings."""
    whole = fig1(rows=51, seeds=2)

    def overlaid(figure):
        return [
            sum(line.get_label().startswith("paper") for line in curves_of(axes))
            for axes in figure.axes
        ]

    drawn, first = figures.draw(whole).figure, figures.draw(whole, Selection(layer=1)).figure
    assert overlaid(drawn)[0] == 2
    assert [len(curves_of(axes)) for axes in drawn.axes[1:]] == [6, 6]
    assert [len(curves_of(axes)) for axes in first.axes[1:]] == [3, 3]
    assert overlaid(figures.draw(files).figure) == [0, 0, 0]
    assert "Ioffe" in said(figures.draw(whole))
    assert "Ioffe" not in said(figures.draw(files))


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"source": "prob"}, "--source prob: no such source; there are probe, batch"),
        ({"layer": 4}, "--layer 4: not recorded; there is layer 1, 2, 3"),
        ({"layer": 2, "source": "batch"}, "--layer 2: not recorded; there is layer 3"),
        ({"unit": 6}, "--unit 6: no such unit; give typical, all, or 0 to 5"),
        ({"unit": "mean"}, "--unit mean: no such unit; give typical, all, or 0 to 5"),
        ({"seed": 5}, "--seed 5: not trained; there is 0, 1, 2"),
        ({"unit": "-1"}, "--unit -1: no such unit; give typical, all, or 0 to 5"),
    ],
)
def test_what_is_not_there_is_a_usage_error(files, asked, text):
    """Each names what there is."""
    with pytest.raises(ConfigError) as caught:
        figures.draw(files, Selection(**asked))
    assert str(caught.value) == text


def test_without_a_probe_the_minibatch_curves_are_drawn_unless_the_probe_is_asked_for(files):
    """`train` draws what there is; `--source probe` says why it cannot."""
    runs = {name: other(run, probe=None) for name, run in files.variants.items()}
    assert "minibatch" in said(figures.draw(replace(files, variants=runs)))
    with pytest.raises(ConfigError, match=r"record\.probe_every is null"):
        figures.draw(replace(files, variants=runs), Selection("probe"))


def test_nothing_to_draw_and_unknown_formats_are_errors(files, tmp_path):
    """An experiment without rows, and a format that is not one of three."""
    with pytest.raises(StorageError, match="nothing to draw yet"):
        figures.draw(replace(files, variants={}))
    with pytest.raises(ConfigError, match="--format jpg: no such format; there are png, pdf, svg"):
        drawing.save(figures.draw(files), tmp_path / "fig1", ["png", "jpg"])
    assert list(tmp_path.iterdir()) == []


def test_file_names_tell_the_options_apart():
    """The default is fig1, and no two figures share a name."""
    options = itertools.product(("probe", "batch"), (None, 2), ("typical", "all", 7), (None, 1))
    names = [figures.file_name(Selection(*each)) for each in options]
    assert names[0] == "fig1"
    assert len(set(names)) == len(names)


def test_a_decimated_line_keeps_its_extremes():
    """Each bin keeps its lowest and highest value, and its place."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal(50_000)
    values[[12_345, 33_333]] = 9, -9
    steps, line = drawing.decimate(np.arange(50_000), values)
    assert len(steps) == len(line) <= 2 * drawing.BINS
    assert steps[np.argmax(line)] == pytest.approx(12_345, abs=50_000 / drawing.BINS)
    assert steps[np.argmin(line)] == pytest.approx(33_333, abs=50_000 / drawing.BINS)
    assert drawing.decimate(np.arange(5), values[:5])[1] is not line


def test_short_lines_are_drawn_as_they_are():
    """Nothing is lost where every row has room."""
    values = np.random.default_rng(0).standard_normal(2 * drawing.BINS)
    steps = np.arange(len(values))
    assert drawing.decimate(steps, values) == (steps, values)


def test_a_line_is_also_decimated_to_the_medians_of_its_bins():
    """An outlier counts for nothing."""
    values = np.repeat(np.arange(500.0), 12)
    values[3000] = 1e9
    steps, found = drawing.decimate(np.arange(6000), values, [np.median])
    assert np.array_equal(steps, np.arange(0, 6000, 12))
    assert np.array_equal(found, np.arange(500.0))


@pytest.mark.parametrize(
    "positions", [[0.9, 0.91, 0.92], [0.5], [0.2, 0.8], [0.4, 0.39, 0.1, 0.41], [0.99, 0.98, 1]]
)
def test_labels_are_moved_apart_in_their_order(positions):
    """At least the gap apart, below 1, and where they were if there is room."""
    found = labels.moved_apart(np.array(positions), gap=0.1)
    ordered = np.array(found)[np.argsort(positions)]
    assert (np.diff(ordered) >= 0.1 - 1e-9).all()
    assert max(found) <= 1
    if len(positions) < 3:
        assert found == pytest.approx(positions)


def test_the_first_32_variants_look_different_each():
    """Colour and line style together."""
    with drawing.style():
        assert len({tuple(look.values()) for look in drawing.looks(32)}) == 32


def test_a_unit_of_a_log_on_the_disk_is_read_part_by_part(tmp_path):
    """From the first row to the last that counts, without keeping the log in memory."""
    values = np.random.default_rng(0).standard_normal((5000, 2, 3, 4)).astype(np.float32)
    np.save(tmp_path / "log.npy", values)
    mapped = np.load(tmp_path / "log.npy", mmap_mode="r")[:4990]
    for log in (mapped, values[:4990]):
        found = curves_module.read_unit(log, 1, 2)
        assert not isinstance(found, np.memmap)
        assert np.array_equal(found, values[:4990, 1, :, 2])


def test_the_shipped_style_is_found_by_the_package():
    """Figures do not fall back to matplotlib's look."""
    with drawing.style():
        assert mpl.rcParams["svg.hashsalt"] == "bnexp"


@pytest.mark.parametrize("width", [3.25, 6.75, 13.0])
def test_a_figure_fits_a_column_a_page_and_a_slide(files, width):
    """Its four panels stand below each other where they have no room beside: rows are even."""
    figure = figures.draw(many(files, 3), width=width).figure
    assert figure.get_size_inches()[0] == width
    assert unreadable(figure) == []
    across = {round(axes.get_position().x0, 2) for axes in figure.axes}
    assert len(across) == {3.25: 1, 6.75: 2, 13.0: 4}[width]


def test_the_caption_and_the_source_are_in_the_files_and_not_in_the_picture(files, tmp_path):
    """As metadata of each format; `burn_caption` puts the caption under the figure too."""
    picture = figures.draw(files)
    formats = ["png", "pdf", "svg"]
    plain = drawing.save(picture, tmp_path / "plain", formats, source="commit 0123abc")
    with Image.open(plain[0]) as image:
        height = image.height
        assert image.info["Description"] == picture.caption
        assert image.info["Source"] == "commit 0123abc"
    assert b"commit 0123abc" in plain[1].read_bytes()
    assert "commit 0123abc" in plain[2].read_text()
    burnt = drawing.save(figures.draw(files), tmp_path / "burnt", burn_caption=True)
    with Image.open(burnt[0]) as image:
        assert image.height > height


def test_where_no_accuracy_was_logged_the_training_loss_is_drawn(files):
    """As of a model of the user's own."""
    runs = {}
    for name, run in files.variants.items():
        unknown = np.full_like(run.metrics.test_accuracy, np.nan)
        runs[name] = other(run, metrics=replace(run.metrics, test_accuracy=unknown))
    figure = figures.draw(replace(files, variants=runs)).figure
    assert figure.axes[0].get_ylabel() == "training loss"
    loss = files.variants["baseline"].metrics.train_loss.mean(axis=1)
    assert np.array_equal(figure.axes[0].lines[0].get_ydata(), loss)
    assert unreadable(figure) == []


def test_text_stays_text_in_svg(files, tmp_path):
    """It can be searched and edited."""
    drawing.save(figures.draw(files), tmp_path / "fig1", ["svg"])
    assert ">pre-activation</text>" in (tmp_path / "fig1.svg").read_text()


@pytest.mark.parametrize("unit", ["typical", "all", 0])
def test_a_diverged_run_is_drawn_as_far_as_it_is_finite(files, unit):
    """Infinity and NaN in a log stop neither the figure nor the other panels."""
    run = files.variants["baseline"]
    values = run.probe.values.copy()
    values[60:], values[80:] = np.inf, np.nan
    diverged = other(run, probe=replace(run.probe, values=values), state="failed")
    figure = figures.draw(
        replace(files, variants=files.variants | {"baseline": diverged}), Selection(unit=unit)
    ).figure
    assert np.isfinite(figure.axes[1].get_ylim()).all()
    assert unreadable(figure) == []
