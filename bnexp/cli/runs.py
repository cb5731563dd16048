"""`bnexp runs`."""

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bnexp.cli import completion
from bnexp.cli.terminal import say, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bnexp.analysis.listing import ListedRun, Wanted

# Those of `analysis.listing`, which takes longer to load than a help may take.
STATES = ("running", "interrupted", "failed", "done", "damaged")
WATCH_SECONDS = 2.0
MORE = "A wider terminal shows more columns, and a file or a pipe gets all of them."
CLEAR = "\x1b[2J\x1b[H"  # an empty screen, from its top on


def runs(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="A folder, and settings that the listed runs have, such as model.gamma=false.  "
            "[default: results]",
            metavar="DIR|KEY.PATH=VALUE",
        ),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            help="List only the runs in this state.",
            metavar="|".join(STATES),
            autocompletion=completion.one_of(*STATES),
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Show the runs that are not done, again and again."),
    ] = False,
) -> None:
    """List every run under a folder, and count them.

    The list shows each run's state, how far it is, its test accuracy, and why it failed.
    """
    from bnexp.analysis import listing

    filters = list(words or [])
    # A variant's folder may have "=" in its name.
    is_folder = bool(filters) and ("=" not in filters[0] or Path(filters[0]).is_dir())
    folder = Path(filters.pop(0)) if is_folder else Path("results")
    wanted = listing.wanted_of(state, filters)
    if watch:
        _watch(folder, wanted)
    elif found := list(listing.list_runs(folder, wanted)):
        print(_table(found))
        say(listing.count(found))
    elif wanted == listing.Wanted():
        say(f"{folder}: no runs here; `bnexp train --config quickstart` makes some")
    else:
        say(f"{folder}: no such runs here")


def _table(found: "Sequence[ListedRun]") -> str:
    """The runs as a table that fits the terminal; the column of causes is there if a run has one.

    When a run last said something is left out first.
    """
    from dataclasses import asdict

    from bnexp.analysis.columns import aligned

    if not found:
        return ""
    rows = [asdict(row) for row in found]
    if all(row["cause"] is None for row in rows):
        for row in rows:
            del row["cause"]
    return aligned(rows, width(), [key for key in rows[0] if key != "heartbeat"], MORE)


def _watch(folder: Path, wanted: "Wanted") -> None:
    """Show what is not done until Ctrl-C; without a terminal, a line whenever the counts change."""
    from bnexp.analysis import listing

    last = ""
    try:
        while True:
            found = list(listing.list_runs(folder, wanted))
            told = listing.count(found)
            if sys.stdout.isatty():
                columns, lines = shutil.get_terminal_size()
                left = [run for run in found if run.state != "done"][:lines]
                # One line is left to the cursor: text that reaches it would scroll the first away.
                print(CLEAR + fitting(f"{told}\n\n{_table(left)}", columns, lines - 1), flush=True)
            elif told != last:
                print(told, flush=True)
            last = told
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def fitting(text: str, columns: int, lines: int) -> str:
    """The first lines of a text that fit on so many lines of a terminal, which breaks long ones."""
    kept = []
    for line in text.splitlines():
        lines -= max(1, -(-len(line) // columns))
        if lines < 0:
            break
        kept.append(line)
    return "\n".join(kept)
