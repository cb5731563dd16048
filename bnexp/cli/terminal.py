"""What a user sees: lines on stderr, the progress of the runs, tables as wide as the terminal."""

import math
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from bnexp.errors import StorageError, printable

if TYPE_CHECKING:  # loading it takes longer than `bnexp --help` may take
    from bnexp.training.jobs import Tally

ExperimentArgument = Annotated[
    Path,
    typer.Argument(help="The experiment's folder, such as results/fig1.", metavar="EXPERIMENT"),
]

LINE_SECONDS = 10.0  # between two lines where there is no terminal


def say(text: str) -> None:
    """Show a line to the user, on stderr: stdout is for data.

    What cannot be delivered is dropped: the terminal may be gone, or the disk full that stderr goes
    to. None of it is a reason to stop.
    """
    with suppress(OSError, ValueError):
        typer.echo(printable(text), err=True)


def width() -> int | None:
    """The characters of a line on a terminal; None where the output goes into a file or a pipe."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return shutil.get_terminal_size().columns if terminal else None


@contextmanager
def told(*problems: str) -> Iterator[None]:
    """Say what cannot be read and why; show the rest; then exit with 4."""
    for text in problems:
        say(f"bnexp: {text}")
    yield
    if problems:
        raise SystemExit(StorageError.exit_code)


class Progress:
    """A tqdm bar on a terminal, and one line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._next = time.monotonic() + LINE_SECONDS

    def __enter__(self) -> Self:
        if sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(unit="step", unit_scale=True, leave=False, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, text: str) -> None:
        """Show a line to the user."""
        if self._bar is None:
            say(text)
        else:
            self._bar.write(text, file=sys.stderr)

    def update(self, tally: "Tally") -> None:
        """Show how far all runs are."""
        if self._bar is not None:
            self._bar.total = tally.steps
            if self._bar.n == 0:
                # What an earlier command did says nothing of the speed of this one.
                self._bar.initial = tally.made
            self._bar.set_description_str(f"{tally.done}/{tally.runs} runs", refresh=False)
            self._bar.set_postfix_str(latest(tally), refresh=False)
            self._bar.update(tally.made - self._bar.n)
        elif time.monotonic() >= self._next:
            self._next += LINE_SECONDS
            told = f"{tally.done} of {tally.runs} runs, {tally.made:,} of {tally.steps:,} steps"
            say("; ".join(filter(None, [told, latest(tally)])))


def latest(tally: "Tally") -> str:
    """The last loss and accuracy of the run under way that is the farthest."""
    known = [each for each in tally.working.values() if not math.isnan(each.accuracy)]
    if not known:
        return ""
    run = max(known, key=lambda each: each.step)
    loss = "" if math.isnan(run.loss) else f"loss {run.loss:.3f}, "
    return f"{run.plan.name}: {loss}accuracy {run.accuracy:.3f}"
