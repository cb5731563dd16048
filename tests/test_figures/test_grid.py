"""Heat maps of any grid compare its cells with a baseline, and their texts have room."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from helpers import models
from helpers.pictures import unreadable
from helpers.synthetic import experiment_of, fig1, other

from bnexp.analysis.comparison import compare
from bnexp.analysis.measuring import measure
from bnexp.analysis.results import read_experiment
from bnexp.analysis.statistics import over_seeds
from bnexp.figures import figure1
from bnexp.figures.heatmap import draw_heatmap
from bnexp.files.sealed import write_sealed

STDS, RATES = (0.01, 0.05, 1.0), (0.03, 0.1, 0.3)


def compared(**levels):
    """The comparison of a grid: `model__norm=("none", "batch")` and the like."""
    run, rng = fig1(rows=101, seeds=3, hidden=(4, 3, 6)).variants["batchnorm"], iter(range(100))
    runs = {}
    for values in product(*levels.values()):
        chosen = dict(zip(levels, values, strict=True))
        name = ",".join(f"{key.split('__')[-1]}={value}" for key, value in chosen.items())
        noise = np.random.default_rng(next(rng)).normal(0, 0.001, 3)
        accuracy = np.clip(run.metrics.test_accuracy + noise, 0, 1)
        runs[name] = other(
            run,
            name=name,
            settings={**run.settings, **{k.replace("__", "."): v for k, v in chosen.items()}},
            metrics=replace(run.metrics, test_accuracy=accuracy),
        )
    files = experiment_of(runs)
    return compare([(files.path, measure(files))])


def titles(figure):
    """Of the panels, each in one line."""
    found = [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes]
    return [title for title in found if title]


def written(over):
    """What a cell of differences says."""
    mean = f"{over.mean:+.4f}".replace("-", "\N{MINUS SIGN}")
    return f"{mean}\n±{over.high - over.mean:.4f}"


def test_the_caption_says_over_what_a_cell_is_a_mean():
    """Also where a variant has not been started, and where training had different lengths."""
    found = compared(train__batch_size=(2, 8), train__lr=RATES)
    first, *others = found.rows
    one = {"test_accuracy": over_seeds(np.array([0.9]))}
    of_one_seed = replace(first.numbers, seeds=(0,), measures=one)
    shorter = {**first.numbers.settings, "train.steps": 100}
    for numbers, said in (
        (first.numbers, "Test accuracy, averaged over the last 2,000 steps: mean over 3 seeds "),
        (replace(first.numbers, measures={}, seeds=()), "over the last 2,000 steps: mean over 3 "),
        (replace(first.numbers, settings=shorter), "Test accuracy: mean over 3 seeds and half "),
        (of_one_seed, "mean over 1 to 3 seeds and half "),
    ):
        rows = (replace(first, numbers=numbers), *others)
        assert said in draw_heatmap(replace(found, rows=rows)).caption


def test_each_of_three_norms_or_more_is_compared_with_the_first():
    """Paired by seed, in a panel for each of the others."""
    found = compared(model__weight_std=STDS, train__lr=RATES, model__norm=("none", "batch", "rms"))
    picture = draw_heatmap(found)
    assert titles(picture.figure) == [
        "(a) norm none",
        "(b) norm batch",
        "(c) norm rms",
        "(d) norm batch minus norm none",
        "(e) norm rms minus norm none",
    ]
    none, _, rms = (row.numbers.measures["test_accuracy"].per_seed for row in found.rows[:3])
    gap = np.mean(np.array(rms) - np.array(none))
    shown = picture.figure.axes[4].texts[0].get_text().replace("\N{MINUS SIGN}", "-")
    assert shown.startswith(f"{gap:+.4f}\n±")
    assert len(picture.figure.axes[4].texts) == 9
    assert "paired by seed" in picture.caption


def test_where_no_setting_has_two_values_a_second_panel_holds_the_differences_of_compare():
    """From the comparison's baseline, which the title names and whose own cell is empty."""
    found = compared(train__batch_size=(2, 8, 60, 256), train__lr=RATES)
    picture = draw_heatmap(found)
    assert titles(picture.figure) == ["(a) test accuracy", "(b) minus batch_size=2, lr=0.03"]
    expected = [written(row.differences["test_accuracy"].over) for row in found.rows[1:]]
    assert [text.get_text() for text in picture.figure.axes[1].texts] == expected
    assert picture.caption.endswith("A cell without a difference is the baseline.")
    chosen = draw_heatmap(compare_with(found, "train.lr=0.1"))
    assert titles(chosen.figure)[1] == "(b) minus its baseline"
    assert len(chosen.figure.axes[1].texts) == 8


def compare_with(found, baseline):
    """The same variants against another baseline."""
    rows = {row.label: row.numbers for row in found.rows}
    files = experiment_of({})
    numbers = replace(measure(files), variants=rows)
    return compare([(files.path, numbers)], baseline)


def test_the_baseline_of_recorded_models_is_the_one_that_was_recorded_first(tmp_path):
    """Whatever its name begins with, in the figures as in `compare`."""
    for i, variant in enumerate(("plain", "bn", "rms")):
        models.recorded(tmp_path, 4, evaluated_every=2, variant=variant)
        path = tmp_path / variant / "seed-0" / "status.json"
        status = json.loads(path.read_text())
        del status["crc32"]
        write_sealed(path, {**status, "heartbeat": f"2026-01-0{i + 1}T00:00:00+00:00"})
    files = read_experiment(tmp_path)
    assert [*files.variants] == [*files.settings] == ["plain", "bn", "rms"]
    found = compare([(tmp_path, measure(files))])
    assert [row.baseline for row in found.rows] == [None, "plain", "plain"]
    panels = figure1.draw(files).figure.axes[1:]
    assert [axes.get_title(loc="left") for axes in panels] == ["(b) plain", "(c) bn", "(d) rms"]


def test_numbers_stand_on_their_axis_in_their_order():
    """Variants that were recorded come by their names, in which 16 stands before 2."""
    figure = draw_heatmap(compared(train__batch_size=(16, 2, 256, 60), train__lr=RATES)).figure
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == ["2", "16", "60", "256"]
    words = draw_heatmap(compared(model__activation=("tanh", "relu", "elu"), train__lr=RATES))
    shown = [label.get_text() for label in words.figure.axes[0].get_yticklabels()]
    assert shown == ["tanh", "relu", "elu"]


@pytest.mark.parametrize("width", [6.75, 3.25])
@pytest.mark.parametrize(
    "levels",
    [
        {"model__bias": (True, False), "model__beta": (True, False)},
        {"train__batch_size": (2, 8, 60, 256), "train__lr": RATES},
        {"model__weight_std": STDS, "train__lr": RATES, "model__norm": ("none", "batch", "rms")},
        {"model__weight_std": STDS, "train__lr": RATES, "model__norm": ("none", "batch"),
         "model__activation": ("tanh", "relu")},
        {"model__weight_std": STDS, "train__lr": RATES, "model__norm": ("none", "batch", "rms"),
         "model__activation": ("tanh", "relu")},
    ],
)  # fmt: skip
def test_no_text_of_a_heat_map_is_cut_or_runs_into_another_panel_or_bar(levels, width):
    """Also where panels are low, and where a colour bar stands beside several of them."""
    figure = draw_heatmap(compared(**levels), width=width).figure
    assert figure.get_size_inches()[0] <= width
    assert unreadable(figure) == []
    boxes = {axes: axes.get_window_extent() for axes in figure.axes}
    for axes in figure.axes:
        if title := axes.get_title(loc="left"):
            extent = axes._left_title.get_window_extent()
            assert [each for each in boxes if extent.overlaps(boxes[each])] == [], title
    bars = [axes for axes in figure.axes if not axes.get_title(loc="left")]
    assert not boxes[bars[0]].overlaps(boxes[bars[1]])
    for bar in bars:
        assert bar.yaxis.label.get_window_extent().height < 1.15 * boxes[bar].height
