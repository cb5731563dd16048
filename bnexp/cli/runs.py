"""`bnexp runs`."""

from pathlib import Path
from typing import Annotated

import typer

from bnexp.cli.terminal import say


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR")] = Path("results"),
) -> None:
    """List every run under a folder.

    The list shows each run's state, how far it is, and its test accuracy.
    """
    from dataclasses import asdict

    from bnexp.analysis import listing, tables

    if rows := [asdict(row) for row in listing.list_runs(folder)]:
        print(tables.aligned(rows))
    else:
        say(f"{folder}: no runs here; `bnexp train --config quickstart` makes some")
