"""`bnexp plot`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from bnexp.cli import completion
from bnexp.cli.terminal import ExperimentArgument, say, told
from bnexp.errors import ConfigError

# Of the formats of `figures.drawing` and `figures.animation`, which load matplotlib.
SUFFIXES = (".png", ".pdf", ".svg", ".gif", ".mp4")
FIGURES = (
    "fig1", "bias", "gamma", "grid", "gradient_shift", "norm_parameters", "running_statistics",
)  # fmt: skip


def plot(
    experiment: ExperimentArgument,
    figure: Annotated[
        str,
        typer.Option(
            help=f"Another figure that `train` draws: {', '.join(FIGURES[1:-1])} or {FIGURES[-1]}.",
            metavar="NAME",
            autocompletion=completion.one_of(*FIGURES),
        ),
    ] = "fig1",
    source: Annotated[
        str | None,
        typer.Option(
            help="Draw the percentiles over the probe, or over each minibatch (batch).  "
            "[default: the probe, where it was recorded]",
            metavar="probe|batch",
            autocompletion=completion.one_of("probe", "batch"),
        ),
    ] = None,
    layer: Annotated[
        int | None,
        typer.Option(help="Hidden layer, counted from 1.  [default: the last]", metavar="N"),
    ] = None,
    unit: Annotated[
        str,
        typer.Option(
            help="A unit of the layer, counted from 0; or typical; or all.",
            metavar="N|typical|all",
        ),
    ] = "typical",
    seed: Annotated[
        int | None,
        typer.Option(
            help="Whose network.  [default: all; of a given unit, the first]", metavar="N"
        ),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMATS",
            help="png, pdf or svg; several with commas. Of a film: gif or mp4.  "
            "[default: png; of a film gif]",
        ),
    ] = None,
    animate: Annotated[
        bool,
        typer.Option("--animate", help="Make a film: percentiles and distribution over training."),
    ] = False,
    width: Annotated[
        float,
        typer.Option(
            min=2,
            max=20,
            help="Inches: 6.75 is a journal's page, 3.25 one of its columns.",
            metavar="INCHES",
        ),
    ] = 6.75,
    out: Annotated[
        str | None,
        typer.Option(
            help="Where the figure goes: a folder, or a path; its suffix names the format.  "
            "[default: figures/ in the experiment]",
            metavar="PATH",
        ),
    ] = None,
    caption: Annotated[
        bool, typer.Option("--caption", help="Put the caption into the picture too.")
    ] = False,
) -> None:
    """Draw Figure 1 of an experiment, or another of its figures.

    Figure 1 shows test accuracy, and the percentiles of a unit or of all units in each variant.
    Its caption is printed, and stored in the file's metadata.
    """
    from bnexp.analysis import measuring, results
    from bnexp.config import suggestion
    from bnexp.figures import curves, drawing, experiment_figures, figure1
    from bnexp.files import locks

    if figure not in FIGURES:
        hint = suggestion(figure, FIGURES) or f"; there are {', '.join(FIGURES)}"
        raise ConfigError(f"--figure {figure}: no such figure{hint}")
    path = None if out is None else Path(out)
    is_folder = path is not None and (path.is_dir() or str(out).endswith(("/", os.sep)))
    if path and path.suffix[1:].isalpha() and not is_folder:  # and not as in `v1.2`
        named = path.suffix[1:]
        if path.suffix not in SUFFIXES:
            known = f"there are {', '.join(SUFFIXES)}"
            raise ConfigError(f"--out {out}: its suffix names no format; {known}")
        if formats is not None and named not in formats.split(","):
            raise ConfigError(f"--out {out}, --format {formats}: two formats; give one of them")
        path, formats = path.with_suffix(""), formats or named
    if animate and (caption or width != drawing.PAGE):
        raise ConfigError(
            "--animate: a film has one size, and its caption is printed; leave out --width and "
            "--caption"
        )
    found = results.read_experiment(experiment)
    with told(*found.problems.values()), locks.storage_errors(experiment):
        selection = curves.Selection(source, layer, unit, seed)
        if figure != "fig1" and (animate or selection != curves.Selection()):
            raise ConfigError(
                f"--figure {figure}: it chooses its units itself, and is no film; leave out "
                "--source, --layer, --unit, --seed and --animate"
            )
        if animate:
            from bnexp.figures import animation

            form = formats or "gif"
            stem = _stem(experiment, path, figure1.file_name(selection), is_folder=is_folder)
            caption_of_film = animation.save_film(found, selection, stem, form)
            print(stem.with_name(f"{stem.name}.{form}"))
            say(caption_of_film)
            return
        if figure == "fig1":
            picture, name = figure1.draw(found, selection, width), figure1.file_name(selection)
        else:
            numbers = measuring.measure(found)
            picture, name = experiment_figures.figure_of(found, numbers, figure, width), figure
        chosen = {"--source": source, "--layer": layer, "--seed": seed}
        chosen |= {"--unit": None if unit == "typical" else unit}
        chosen |= {"--width": None if width == drawing.PAGE else f"{width:g}"}
        options = [f"{key}={value}" for key, value in chosen.items() if value is not None]
        written = drawing.save(
            picture,
            _stem(experiment, path, name, is_folder=is_folder),
            (formats or "png").split(","),
            source=experiment_figures.source_of(found, figure, options),
            burn_caption=caption,
        )
        for path in written:
            print(path)
        say(picture.caption)


def _stem(experiment: Path, out: Path | None, name: str, *, is_folder: bool) -> Path:
    """Where a figure of this name goes, without its suffix."""
    from bnexp.files.experiment_folder import FIGURES

    if out is None:
        return experiment / FIGURES / name
    return out / name if is_folder else out
