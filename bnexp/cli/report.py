"""`bnexp report`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from bnexp.cli.terminal import ExperimentsArgument, told
from bnexp.errors import StorageError


def report(
    experiments: ExperimentsArgument,
    out: Annotated[
        str | None,
        typer.Option(
            help="Where the page goes.  [default: report.html in the first experiment]",
            metavar="PATH",
        ),
    ] = None,
) -> None:
    """Write one HTML page to look at, to show and to send.

    It shows what came out, the figures, an explorer of every unit and step, and the settings. The
    page is a single file that loads nothing from the network.
    """
    from bnexp.files import locks
    from bnexp.files.experiment_folder import REPORT
    from bnexp.report import page

    path = experiments[0] / REPORT if out is None else Path(out)
    if path.is_dir() or str(out).endswith(("/", os.sep)):
        raise StorageError(f"{path}: a folder; give a file, such as --out {path / REPORT}")
    with locks.storage_errors(path):
        problems = page.write_report(experiments, path)
    with told(*problems):
        print(path)
