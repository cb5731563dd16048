"""Which figures an experiment gets, and writing them."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from bnexp.analysis.comparison import compare
from bnexp.analysis.numbers import PRIMARY, ExperimentNumbers, differing
from bnexp.analysis.results import ExperimentResults
from bnexp.config import Value
from bnexp.errors import ConfigError
from bnexp.figures import figure1
from bnexp.figures.bias import draw_bias
from bnexp.figures.drawing import PAGE, Picture, save
from bnexp.figures.gamma import draw_gamma
from bnexp.figures.gradient_shift import draw_gradient_shift
from bnexp.figures.heatmap import draw_heatmap
from bnexp.figures.norm_statistics import (
    draw_norm_parameters,
    draw_running_statistics,
    with_norm_parameters,
    with_running_statistics,
)
from bnexp.files.experiment_folder import FIGURES

MOST_PANELS = 12  # of Figure 1; a larger grid is shown as a heat map alone
MOST_BESIDE = 3  # variants whose gamma and beta are drawn side by side


def comparison_kind(
    settings: Sequence[Mapping[str, Value]],
) -> Literal["bias", "gamma", "grid"] | None:
    """Which figure fits, by the settings that differ between the variants.

    `bias`: normalized networks that differ in their bias alone; `gamma`: in gamma and perhaps the
    activation; `grid`: every combination of the values of two settings or more.
    """
    keys = differing(settings)
    if keys and set(keys) <= {"model.bias", "model.bias_std"}:
        normalized = all(each.get("model.norm") == "batch" for each in settings)
        return "bias" if normalized and _state(settings, "model.bias") else None
    named = {"model.gamma", "model.activation"}
    if "model.gamma" in keys and set(keys) <= named and _state(settings, *named):
        return "gamma"
    levels = [len({each.get(key) for each in settings}) for key in keys]
    return "grid" if len(keys) >= 2 and len(settings) == np.prod(levels) else None


def _state(settings: Sequence[Mapping[str, Value]], *keys: str) -> bool:
    """Whether all of them have these keys; of a model that was recorded, its user states some."""
    return all(key in each for each in settings for key in keys)


def drawers(
    files: ExperimentResults, numbers: ExperimentNumbers, width: float = PAGE
) -> dict[str, Callable[[], Picture]]:
    """What draws each figure that fits an experiment, by file name without suffix."""
    draw = dict[str, Callable[[], Picture]]()
    if len(files.variants) <= MOST_PANELS:
        draw["fig1"] = lambda: figure1.draw(files, width=width)
    kind = comparison_kind([*files.settings.values()])
    if kind == "bias" and not any(each.is_recorded for each in files.variants.values()):
        # Nothing is known of the biases of a model that was recorded.
        draw["bias"] = lambda: draw_bias(files, width)
    elif kind == "gamma":
        draw["gamma"] = lambda: draw_gamma(files)
    elif kind == "grid" and any(PRIMARY in each.measures for each in numbers.variants.values()):
        draw["grid"] = lambda: draw_heatmap(compare([(files.path, numbers)]), width=width)
    if any(variant.gradient_shift for variant in files.variants.values()):
        draw["gradient_shift"] = lambda: draw_gradient_shift(files, width)
    if kind is None and 0 < len(with_norm_parameters(files)) <= MOST_BESIDE:
        draw["norm_parameters"] = lambda: draw_norm_parameters(files, width)
    if with_running_statistics(files):
        draw["running_statistics"] = lambda: draw_running_statistics(files, width)
    return draw


def figures_of(
    files: ExperimentResults, numbers: ExperimentNumbers, width: float = PAGE
) -> dict[str, Picture]:
    """The figures that fit an experiment, by file name without suffix, at most so many inches wide.

    The ablation of gamma alone always takes a page's width.
    """
    return {name: draw() for name, draw in drawers(files, numbers, width).items()}


def figure_of(
    files: ExperimentResults, numbers: ExperimentNumbers, name: str, width: float
) -> Picture:
    """One of the figures that fit an experiment, at most so many inches wide.

    Raises:
        ConfigError: no such figure fits, or it takes a page's width.
    """
    found = drawers(files, numbers, width)
    if name not in found:
        raise ConfigError(
            f"--figure {name}: does not fit this experiment; there is {', '.join(found)}"
        )
    if name == "gamma" and width != PAGE:
        raise ConfigError(f"--figure gamma: always takes a page's width, {PAGE} inches; "
                          "leave out --width")  # fmt: skip
    return found[name]()


def save_figures(files: ExperimentResults, numbers: ExperimentNumbers) -> list[Path]:
    """Write the figures that fit an experiment; returns their paths."""
    return [
        path
        for name, picture in figures_of(files, numbers).items()
        for path in save(picture, files.path / FIGURES / name, source=source_of(files, name))
    ]


def saved_figures(files: ExperimentResults, numbers: ExperimentNumbers) -> list[Path] | None:
    """The paths that `save_figures` would write; None where one of them is not there.

    Whether they are up to date, summary.json says: it is written when they are all drawn.
    """
    paths = [files.path / FIGURES / f"{name}.png" for name in drawers(files, numbers)]
    return paths if all(path.is_file() for path in paths) else None


def plot_command(experiment: str, figure: str, options: Sequence[str] = ()) -> str:
    """The command that draws a figure again, for results that lie where `train` puts them."""
    named = [] if figure == "fig1" else ["--figure", figure]
    return shlex.join(["bnexp", "plot", f"results/{experiment}", *named, *options])


def source_of(files: ExperimentResults, figure: str, options: Sequence[str] = ()) -> str:
    """What figures say of where their numbers come from: the experiment, the commit, the command.

    The command is the one that draws from these files again. That which trained them is in each
    run's status.json; it may name another folder or number of jobs, and the figure is the same.

    Args:
        files: the experiment.
        figure: its name.
        options: those of the command that say what is drawn.
    """
    runs = (run for variant in files.variants.values() for run in variant.runs)
    commit = next((run.status.made_with.get("git_commit") for run in runs), None)
    told = f", commit {commit}" if commit else ""
    return f"experiment {files.name}{told}, {plot_command(files.name, figure, options)}"
