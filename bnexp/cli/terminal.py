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
    from bnexp.training.worker import RunProgress

ExperimentArgument = Annotated[
    Path,
    typer.Argument(help="The experiment's folder, such as results/fig1.", metavar="EXPERIMENT"),
]

ExperimentsArgument = Annotated[
    list[Path],
    typer.Argument(
        help="The folders of the experiments, such as results/fig1.", metavar="EXPERIMENT"
    ),
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
    """A tqdm bar on a terminal, and one line every ten seconds elsewhere.

    Args:
        quiet: say nothing.
        verbose: also say when a run has ended, and with which loss and accuracy.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet, self.verbose = quiet, verbose
        self._bar: Any = None
        self._next = time.monotonic() + LINE_SECONDS
        self._begin: tuple[float, int] | None = None  # when the first steps were made, and how many
        self._told = 0  # of the runs that have ended

    def __enter__(self) -> Self:
        if sys.stderr is not None and sys.stderr.isatty() and not self.quiet:
            from tqdm import tqdm

            self._bar = tqdm(unit="step", unit_scale=True, leave=False, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, text: str) -> None:
        """Show a line to the user."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif not self.quiet:
            say(text)

    def update(self, tally: "Tally") -> None:
        """Show how far all runs are."""
        if self.verbose:
            for run in [*tally.ended.values()][self._told :]:
                self.say(f"{run.plan.name}: ended at step {run.step:,}; {_numbers(run)}")
            self._told = len(tally.ended)
        if self._bar is not None:
            if self._bar.total is None or tally.made < self._bar.initial:
                # What an earlier command made, or what is made again, says nothing of the speed.
                self._bar.n = self._bar.last_print_n = self._bar.initial = tally.made
            self._bar.total = tally.steps
            self._bar.set_description_str(f"{tally.done}/{tally.runs} runs", refresh=False)
            self._bar.set_postfix_str(latest(tally), refresh=False)
            self._bar.update(tally.made - self._bar.n)
            return
        left = self._time_left(tally)
        if time.monotonic() >= self._next:
            self._next += LINE_SECONDS
            told = f"{tally.done} of {tally.runs} runs, {tally.made:,} of {tally.steps:,} steps"
            self.say("; ".join(filter(None, [told, left, latest(tally)])))

    def _time_left(self, tally: "Tally") -> str:
        """How long the rest takes at the speed so far; nothing while no speed is known.

        The clock starts with the first steps, since compiling and loading come before them.
        """
        now = time.monotonic()
        if self._begin is None or tally.made <= self._begin[1]:
            self._begin = now, tally.made
            return ""
        seconds = (now - self._begin[0]) / (tally.made - self._begin[1])
        return f"{duration(seconds * (tally.steps - tally.made))} left"


def duration(seconds: float) -> str:
    """A time in the two units that a reader needs: `40 s`, `3 min 20 s`, `2 h 5 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def latest(tally: "Tally") -> str:
    """The last loss and accuracy of the run under way that is the farthest."""
    known = [each for each in tally.working.values() if not math.isnan(each.accuracy)]
    if not known:
        return ""
    run = max(known, key=lambda each: each.step)
    return f"{run.plan.name}: {_numbers(run)}"


def _numbers(run: "RunProgress") -> str:
    """The last loss and accuracy of a run; the loss is unknown before the first evaluation."""
    loss = "" if math.isnan(run.loss) else f"loss {run.loss:.3f}, "
    return f"{loss}accuracy {run.accuracy:.3f}"
