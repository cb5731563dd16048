"""What an experiment shows when it has been trained: its summary, and the figures that fit it."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bnexp.analysis import measures as analysis
from bnexp.analysis import summary
from bnexp.analysis.results import ExperimentResults
from bnexp.figures import comparison as figures_compare
from bnexp.figures import figure1 as figures
from bnexp.figures.gradient_shift import draw_ics
from bnexp.files.atomic import write_json
from bnexp.files.experiment_folder import FIGURES, SUMMARY
from bnexp.files.locks import storage_errors
from bnexp.files.provenance import provenance

MOST_PANELS = 12  # of Figure 1; a larger grid is shown as a heat map alone


def present(files: ExperimentResults) -> tuple[dict[str, Any], list[Path]]:
    """Write summary.json and the figures; returns the summary, and the paths of the figures."""
    with storage_errors(files.path):
        numbers = summary.summarize(files)
        write_json(files.path / SUMMARY, {**numbers, "environment": provenance()})
        paths = []
        for name, figure in fitting_figures(files).items():
            paths += figures.save(figure, files.path / FIGURES / name)
    return numbers, paths


def fitting_figures(files: ExperimentResults) -> dict[str, Figure]:
    """The figures that fit an experiment, by name."""
    drawn = {"fig1": figures.draw(files)} if len(files.variants) <= MOST_PANELS else {}
    kind = figures_compare.comparison_kind([*files.settings.values()])
    if kind == "bias":
        drawn["bias"] = figures_compare.draw_bias(files)
    elif kind == "gamma":
        drawn["gamma"] = figures_compare.draw_gamma(files, learned_gammas(files))
    elif kind == "grid":
        drawn["grid"] = figures_compare.draw_grid(summary.compare([files]))
    if any(run.gradient_shift for run in files.variants.values()):
        drawn["ics"] = draw_ics(files)
    return drawn


def learned_gammas(files: ExperimentResults) -> dict[str, Any]:
    """Final gammas (S, U) of the last hidden layer, of each finished variant that learns them."""
    found = {}
    for name, run in files.variants.items():
        values, probe, learns = run.norm_parameters, run.probe, run.settings["model.gamma"]
        if values is None or probe is None or run.state != "done" or not learns:
            continue
        units = analysis.columns(probe.layer, int(probe.layer[-1]))
        found[name] = values[-1, :, 0, units]
    return found
