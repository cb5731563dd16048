"""The command line: parse the words, call the room that does the work, print, exit with a code.

Data go to stdout: tables, paths, YAML. Everything said to the user goes to stderr: progress, advice
and errors. A command imports what it needs when it is called, so that `bnexp --help` loads neither
torch nor matplotlib.
"""

import os
import shlex
import shutil
import signal
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bnexp import __version__
from bnexp.errors import BnexpError, ConfigError, InterruptedRun, StorageError
from bnexp.terminal import Progress, say

if TYPE_CHECKING:
    from bnexp.analysis.comparison import Comparison
    from bnexp.config import Experiment

app = typer.Typer(
    help="See what batch normalization does: train networks with and without it, record how the "
    "input of each nonlinearity is spread, and compare.",
    epilog="Start here: bnexp train --config quickstart   (needs no download)",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """The console script.

    An error of ours becomes its text on stderr and its exit code. A closed pipe is no error: in
    `bnexp verify | head -1`, the reader has seen enough.
    """
    # SIGTERM ends a command as Ctrl-C does, whatever is at work.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    words = [word for word in sys.argv[1:] if word != "--debug"]
    code = 0
    with suppress(BrokenPipeError):
        code = _exit_code(words, debug="--debug" in sys.argv)
        if code == InterruptedRun.exit_code and words[:1] == ["train"]:
            again = [word for word in words if word != "--restart"]
            say(f"continue with: {shlex.join(['bnexp', *again])}")
    _discard_what_nobody_takes()
    raise SystemExit(code)


def _exit_code(words: list[str], *, debug: bool) -> int:
    """Run a command; returns its exit code after saying what went wrong, if anything did."""
    try:
        try:
            app(args=words, prog_name="bnexp")
        except SystemExit as end:  # typer ends every command with it
            if isinstance(end.__context__, BrokenPipeError):  # which typer turns into exit code 1
                raise end.__context__ from None
            code = int(end.code or 0)
        # What print() has only buffered meets a closed pipe or a full disk here, and not when the
        # interpreter ends, where it would be a traceback.
        if sys.stdout is not None:  # as in `bnexp train fig1 >&-`
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except Exception as error:
        if debug:
            raise
        text, code = _described(error)
        with suppress(BrokenPipeError):  # nobody listens any more, but it failed all the same
            say(f"bnexp: {text}")
    return code


def _described(error: Exception) -> tuple[str, int]:
    """The text of an error, and its exit code."""
    if isinstance(error, BnexpError):
        return str(error), error.exit_code
    if isinstance(error, OSError):  # files are the rooms' own care; what is left is the output
        where = error.filename or "standard output"
        return f"{where}: {error.strerror or error}", StorageError.exit_code
    # A mistake of ours should not cost users a page of text.
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"internal error ({what}); --debug shows where", 1


def _discard_what_nobody_takes() -> None:
    """Point streams that cannot be written at nothing, so that the flush at exit succeeds."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


ExperimentArgument = Annotated[
    Path,
    typer.Argument(help="The experiment's folder, such as results/fig1.", metavar="EXPERIMENT"),
]


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of every error.")
    ] = False,
) -> None:
    if version:
        print(f"bnexp {__version__}")
        raise typer.Exit


@app.command(
    epilog="Example: bnexp train fig1 train.steps=5000 --grid train.lr=0.05,0.1 --out /tmp/short"
)
def train(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="Keys to set in place of the config's, such as train.lr=0.05 or seeds=5. The "
            "config itself may stand before them, without --config.",
            metavar="KEY.PATH=VALUE",
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config", "-c", help="A YAML file, or the name of a packaged config.", metavar="PATH"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where the results go.  [default: results/NAME]", metavar="DIR"),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many runs train at a time.  [default: as many as there are cores]"
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Remove the runs that are there, and begin again.")
    ] = False,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            help="Make every variant once for each of these values; several make a grid.",
            metavar="KEY=A,B,C",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved YAML and what would run.")
    ] = False,
) -> None:
    """Train every variant, draw the figures and print the summary.

    The same command again continues what is not finished.
    """
    from bnexp import config as configs

    overrides = words or []
    if config is None:
        if not overrides:
            raise ConfigError("train: which config? `bnexp train --config quickstart` is a start")
        config, *overrides = overrides
    experiment = configs.load(config, overrides, grid or [])
    _warn_of_identical(experiment)
    folder = out or Path("results") / experiment.name
    if dry_run:
        print(configs.dump(experiment), end="")
        for variant in experiment.variants:
            steps, seeds = variant.settings.train.steps, len(experiment.seeds)
            say(f"would train {folder / variant.name}: {seeds} runs of {steps:,} steps")
        return
    from bnexp.training import growth, scheduler

    if restart:
        growth.restart(folder, say)
    with Progress() as progress:
        errors = scheduler.train_experiment(experiment, folder, jobs, progress)
    try:
        _show(folder)
    except BrokenPipeError:
        if not errors:
            raise
    finally:
        for text in dict.fromkeys(map(str, errors)):
            say(f"bnexp: {text}")
    if errors:
        raise SystemExit(errors[0].exit_code)


def _warn_of_identical(experiment: "Experiment") -> None:
    """Say which variants do not differ, since comparing them would show nothing."""
    from bnexp.config import identical_variants

    for first, second in identical_variants(experiment):
        say(f"warning: {first} and {second} have the same settings")


def _show(folder: Path) -> None:
    """Write the summary and the figures, and print them with the next command."""
    from bnexp.analysis import measuring, results, summary, tables
    from bnexp.figures import fitting
    from bnexp.files import locks

    experiment = results.read_experiment(folder)
    with _told(*experiment.problems.values()):
        if not any(len(variant.metrics.steps) for variant in experiment.variants.values()):
            return
        numbers = measuring.measure(experiment)
        summary.write_summary(folder, numbers)
        with locks.storage_errors(folder):
            figures = fitting.save_figures(experiment, numbers)
        print(tables.summary(numbers, _width()))
        for path in figures:
            print(f"figure: {path}")
        several = len(experiment.variants) > 1
        say(f"next: bnexp {'compare' if several else 'plot'} {folder}")


def _width() -> int | None:
    """The characters of a line on a terminal; None where the output goes into a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@contextmanager
def _told(*problems: str) -> Iterator[None]:
    """Say what cannot be read and why; show the rest; then exit with 4."""
    for text in problems:
        say(f"bnexp: {text}")
    yield
    if problems:
        raise SystemExit(StorageError.exit_code)


@app.command(epilog="Example: bnexp plot results/fig1 --source batch --unit 7 --format png,pdf")
def plot(
    experiment: ExperimentArgument,
    source: Annotated[
        str | None,
        typer.Option(
            help="Draw the percentiles over the probe, or over each minibatch (batch).  "
            "[default: the probe, where it was recorded]",
            metavar="probe|batch",
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
        str, typer.Option("--format", help="png, pdf or svg; several with commas.")
    ] = "png",
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
        Path | None,
        typer.Option(
            help="Where the figure goes, without suffix.  [default: figures/ in the experiment]",
            metavar="PATH",
        ),
    ] = None,
    caption: Annotated[
        bool, typer.Option("--caption", help="Put the caption into the picture too.")
    ] = False,
) -> None:
    """Draw an experiment as Figure 1 of the paper.

    The figure shows test accuracy, and the percentiles of a unit or of all units in each variant.
    Its caption is printed, and stored in the file's metadata.
    """
    from bnexp.analysis import results
    from bnexp.figures import drawing, figure1, fitting, panels
    from bnexp.files import experiment_folder, locks

    found = results.read_experiment(experiment)
    with _told(*found.problems.values()), locks.storage_errors(experiment):
        selection = panels.Selection(source, layer, unit, seed)
        picture = figure1.draw(found, selection, width)
        default = experiment / experiment_folder.FIGURES / figure1.file_name(selection)
        written = drawing.save(
            picture,
            out or default,
            formats.split(","),
            source=fitting.source_of(found),
            burn_caption=caption,
        )
        for path in written:
            print(path)
        say(picture.caption)


@app.command(epilog="Example: bnexp compare results/gamma --baseline model.gamma=false")
def compare(
    experiments: Annotated[list[Path], typer.Argument(metavar="EXPERIMENT...")],
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
            min=0, help="Differences of test accuracy within it count as none.", metavar="M"
        ),
    ] = 0.001,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print a line for each variant and measure.")
    ] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    show_all: Annotated[
        bool, typer.Option("--all", help="Print every column, however narrow the terminal is.")
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
    with _told(*problems):
        compared = comparison.compare(found, baseline, margin)
        if heatmap is not None:
            _draw_heatmap(compared, heatmap, experiments[0])
        else:
            form: tables.Form = chosen[0] if chosen else "text"
            print(tables.comparison(compared, form, None if show_all else _width()))


def _draw_heatmap(compared: "Comparison", measure: str, folder: Path) -> None:
    """Draw one measure of a grid, and print the picture's path."""
    from bnexp.figures import drawing
    from bnexp.figures.heatmap import draw_heatmap
    from bnexp.files import experiment_folder, locks

    with locks.storage_errors(folder):
        picture = draw_heatmap(compared, measure)
        path = folder / experiment_folder.FIGURES / f"heatmap_{measure}"
        for written in drawing.save(picture, path):
            print(written)
        say(picture.caption)


@app.command(epilog="Example: bnexp verify --explain 3")
def verify(
    experiment: Annotated[Path | None, typer.Argument(metavar="[EXPERIMENT]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    explain: Annotated[
        int | None,
        typer.Option(help="Print the derivation of one check, and its numbers.", metavar="N"),
    ] = None,
) -> None:
    """Check what is said of batch normalization.

    Each claim is computed anew, and the exit code is 1 if one fails. Without EXPERIMENT, these are
    the mathematics and short trainings on the digits. With it, they are about its trained networks
    and about the paper's claims, judged by its numbers. A claim for which the evidence is missing
    is "not tested", which is no failure.
    """
    import json
    from dataclasses import asdict

    from bnexp.analysis import results
    from bnexp.verify import suite
    from bnexp.verify.check import Verdict, closing_line

    if explain is not None:
        from bnexp.verify import explanations

        if experiment is not None or as_json:
            raise ConfigError("--explain prints one check as text: no EXPERIMENT, no --json")

        print(explanations.explain(explain))
        return
    checks = (
        suite.experiment_checks(results.read_experiment(experiment))
        if experiment
        else suite.checks()
    )
    found = []
    for check in checks:
        found.append(check)
        if not as_json:
            print(check.lines(), flush=True)
    if as_json:
        print(json.dumps([asdict(check) for check in found], indent=1))
    say(closing_line(found))
    if any(check.verdict is Verdict.FAILS for check in found):
        raise SystemExit(1)


@app.command()
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


@app.command(name="configs", epilog="Example: bnexp configs fig1 --copy mine.yaml")
def show_configs(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None,
    copy: Annotated[
        Path | None,
        typer.Option(help="Write the config to a new file, to change it there.", metavar="PATH"),
    ] = None,
) -> None:
    """List the packaged configs and what each shows; with NAME, print that config."""
    from bnexp.config import header, packaged, suggestion

    if name is not None:
        known = packaged()
        if name not in known:
            hint = suggestion(name, known) or f"; there are {', '.join(known)}"
            raise ConfigError(f"{name}: no such packaged config{hint}")
        text = known[name].read_text(encoding="utf-8")
        if copy is None:
            print(text, end="")
            return
        try:
            with copy.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise StorageError(f"{copy}: is there already, and stays as it is") from None
        except OSError as error:
            raise StorageError(f"{copy}: {error.strerror or error}") from None
        print(copy)
        return
    if copy is not None:
        raise ConfigError("configs --copy: which config? `bnexp configs` lists them")
    # A terminal breaks lines between words; a file or a pipe gets a line for each config.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for each, path in packaged().items():
        text = f"{each:14} {header(path)['What it shows']}"
        print(textwrap.fill(text, max(width, 40), subsequent_indent=" " * 15))


@app.command()
def validate(
    config: Annotated[list[str], typer.Argument(metavar="CONFIG...")],
) -> None:
    """Check configs without running them."""
    from bnexp.config import load

    mistakes = []
    for name in config:
        try:
            experiment = load(name)
        except ConfigError as error:
            mistakes += error.mistakes
        else:
            _warn_of_identical(experiment)
            variants, seeds = len(experiment.variants), len(experiment.seeds)
            print(f"{name}: valid; {variants} variants, {seeds} seeds")
    if mistakes:
        raise ConfigError(mistakes)


if __name__ == "__main__":
    main()
