"""`bnexp compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bnexp.cli.terminal import ExperimentsArgument, say, told, width
from bnexp.errors import ConfigError, printable

if TYPE_CHECKING:
    from bnexp.analysis.comparison import Comparison


def compare(
    experiments: ExperimentsArgument,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Compare with this variant; or, with KEY=VALUE, each variant with the one that "
            "differs from it in that key alone.  [default: in a grid, the last setting that has "
            "two values; else the first variant]",
            metavar="VARIANT|KEY=VALUE",
        ),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Differences of test accuracy within it count as none.", metavar="M"
        ),
    ] = 0.001,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a line for each variant and measure.")
    ] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    show_all: Annotated[
        bool,
        typer.Option(
            "--all", help="Print every variant and column, however small the terminal is."
        ),
    ] = False,
    heatmap: Annotated[
        str | None,
        typer.Option(
            help="Draw one measure of a grid as a heat map, such as test_accuracy, and print the "
            "picture's path.",
            metavar="MEASURE",
        ),
    ] = None,
) -> None:
    """Compare variants, paired by seed.

    Each measure is given with its 95 % interval, and so is its difference from the baseline. An
    experiment whose runs are gone is compared by its summary.json.
    """
    from bnexp.analysis import comparison, summary, tables

    forms: dict[tables.Form, bool] = {"json": as_json, "csv": as_csv, "markdown": as_markdown}
    chosen = [form for form, wanted in forms.items() if wanted]
    if len(chosen) + (heatmap is not None) > 1:
        raise ConfigError("--json, --csv, --markdown, --heatmap: give one of them")
    found, problems = [], list[str]()
    for path in experiments:
        numbers, results = summary.read_numbers(path)
        found.append((path, numbers))
        problems += results.problems.values() if results else ()
    with told(*problems):
        compared = comparison.compare(found, baseline, margin)
        if heatmap is not None:
            _draw_heatmap(compared, heatmap, experiments)
        else:
            form: tables.Form = chosen[0] if chosen else "text"
            print(printable(tables.comparison(compared, form, None if show_all else width())))


def _draw_heatmap(compared: "Comparison", measure: str, folders: Sequence[Path]) -> None:
    """Draw one measure of a grid, and print the picture's path."""
    from bnexp.analysis import summary
    from bnexp.figures import drawing
    from bnexp.figures.heatmap import draw_heatmap
    from bnexp.files import experiment_folder, locks

    folder, origins = folders[0], [f"experiment {each.name}" for each in folders]
    for i, each in enumerate(folders):
        if (each / experiment_folder.SUMMARY).is_file():
            commit = summary.read_provenance(each).get("git_commit")
            origins[i] += f", commit {commit}" if commit else ""
    command = f"bnexp compare {' '.join(f'results/{each.name}' for each in folders)}"
    with locks.storage_errors(folder):
        picture = draw_heatmap(compared, measure)
        path = folder / experiment_folder.FIGURES / f"heatmap_{measure}"
        source = f"{', '.join(origins)}, {command} --heatmap {measure}"
        for written in drawing.save(picture, path, source=source):
            print(written)
        say(picture.caption)
