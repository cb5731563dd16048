"""`bnexp export`."""

from pathlib import Path
from typing import Annotated

import typer

from bnexp.cli import completion
from bnexp.cli.terminal import ExperimentArgument, say, told


def export(
    experiment: ExperimentArgument,
    to: Annotated[
        str,
        typer.Option(
            help="The format.",
            metavar="csv|parquet|tensorboard",
            autocompletion=completion.one_of("csv", "parquet", "tensorboard"),
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            help="Only the percentiles over the probe, or over each minibatch (batch).  "
            "[default: both; in TensorBoard the probe's, where it was recorded]",
            metavar="probe|batch",
            autocompletion=completion.one_of("probe", "batch"),
        ),
    ] = None,
    layer: Annotated[
        int | None,
        typer.Option(help="Only this hidden layer, counted from 1.  [default: all]", metavar="N"),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            help="Only this unit of each layer, counted from 0; or typical, or all.  "
            "[default: all; in TensorBoard typical]",
            metavar="N|typical|all",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where the files go.  [default: export/ in the experiment]", metavar="DIR"
        ),
    ] = None,
) -> None:
    """Write an experiment's logs for other tools.

    CSV and Parquet have a row for each variant, seed, step, layer, unit and percentile, and the
    metrics in a file of their own. In TensorBoard, percentiles are curves, and Custom Scalars show
    those of a unit in one chart. CSV and Parquet need pyarrow, TensorBoard needs
    tensorboard: the extra `export`.
    """
    from bnexp.analysis import results
    from bnexp.export import exporting, parts

    found = results.read_experiment(experiment)
    with told(*found.problems.values()):
        unit = unit or ("typical" if to == "tensorboard" else "all")
        chosen = parts.ExportRequest(source, layer, unit)
        for path in exporting.export(found, to, chosen, out, say):
            print(path)
            if to == "tensorboard":
                say(f"next: tensorboard --logdir {path}")
