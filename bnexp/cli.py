"""The command line: parse, call, print, exit code."""

import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Self

import typer
import typer.core

from bnexp import __version__
from bnexp.errors import BnexpError, ConfigError, InterruptedRun, StorageError

app = typer.Typer(
    help="See what batch normalization does: train MLPs with and without it, and plot the "
    "percentiles of every unit's pre-activation.",
    epilog="Start here: bnexp train --config quickstart   (no download, about 15 seconds)",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """The console script: every error of ours is its text on stderr and its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, whatever is at work
    words = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        _call(words, debug="--debug" in sys.argv)
    except SystemExit as end:
        if end.code == InterruptedRun.exit_code and words[:1] == ["train"]:
            again = [word for word in words if word != "--force"]
            typer.echo(f"continue with: {shlex.join(['bnexp', *again])}", err=True)
        raise


def _call(words: list[str], *, debug: bool) -> None:
    try:
        app(args=words, prog_name="bnexp")
    except BnexpError as error:
        if debug:
            raise
        typer.echo(f"bnexp: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:  # `bnexp ... | head`
        sys.stderr.close()
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except OSError as error:  # files are the commands' own care; what is left is what they print
        if debug:
            raise
        typer.echo(
            f"bnexp: {error.filename or 'standard output'}: {error.strerror or error}", err=True
        )
        raise SystemExit(StorageError.exit_code) from None
    except Exception as error:  # a mistake of ours, which should not cost users a page of text
        if debug:
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        typer.echo(f"bnexp: internal error ({what}); --debug shows where", err=True)
        raise SystemExit(1) from None


ConfigOption = Annotated[
    str,
    typer.Option(
        "--config", "-c", help="A YAML, or the name of a packaged config.", metavar="PATH"
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Overrides, such as train.lr=0.05 or seeds=[0,1].", metavar="KEY.PATH=VALUE"
    ),
]
ExperimentArgument = Annotated[
    Path,
    typer.Argument(help="The experiment's folder, such as results/fig1.", metavar="EXPERIMENT"),
]


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="A traceback for every error.")] = False,  # noqa: ARG001
) -> None:
    if version:
        print(f"bnexp {__version__}")
        raise typer.Exit


@app.command(epilog="Example: bnexp train --config fig1 train.steps=5000 --out /tmp/short")
def train(
    config: ConfigOption,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where the results go.  [default: results/NAME]", metavar="DIR"),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Variants trained at a time.")] = 2,
    force: Annotated[
        bool, typer.Option("--force", help="Discard the results that are there.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved YAML and what would run.")
    ] = False,
) -> None:
    """Train every variant, draw the figures, print the summary.

    The same command again continues what is unfinished.
    """
    from bnexp.config import experiment as configs

    experiment = configs.load(config, overrides or [])
    folder = out or Path("results") / experiment.name
    if dry_run:
        print(configs.dump(experiment), end="")
        for variant in experiment.variants:
            steps = variant.settings.train.steps
            _say(
                f"would train {folder / variant.name}: {steps} steps, {len(experiment.seeds)} seeds"
            )
        return
    from bnexp.training import scheduler as execute

    if force:
        execute.discard(experiment, folder)
    with _Progress() as progress:
        errors = execute.execute(experiment, folder, jobs, progress)
    try:
        _present(folder)
    finally:
        for error in dict.fromkeys(str(error) for error in errors):
            _say(f"bnexp: {error}")
    if errors:
        raise SystemExit(errors[0].exit_code)


def _present(folder: Path) -> None:
    """Summary, figures and the next command, for whatever runs there are."""
    from bnexp.analysis import results as reader
    from bnexp.analysis import tables
    from bnexp.figures import fitting as present

    files = reader.read_experiment(folder)
    if not any(len(run.metrics.steps) for run in files.variants.values()):
        return
    numbers, figures = present.present(files)
    print(tables.render(numbers))
    for path in figures:
        print(f"figure: {path}")
    several = len(files.variants) > 1
    _say(f"next: bnexp {'compare' if several else 'plot'} {folder}")


@app.command(epilog="Example: bnexp plot results/fig1 --source batch --unit 7 --format png,pdf")
def plot(
    experiment: ExperimentArgument,
    source: Annotated[str, typer.Option(help="probe or batch.", metavar="probe|batch")] = "probe",
    layer: Annotated[
        int | None, typer.Option(help="Hidden layer, from 1.  [default: the last]", metavar="N")
    ] = None,
    unit: Annotated[
        str,
        typer.Option(
            help="A unit of the layer, from 0; or typical; or all.", metavar="N|typical|all"
        ),
    ] = "typical",
    measure: Annotated[
        str | None,
        typer.Option(help="For a grid: a heat map of this number of compare.", metavar="NAME"),
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="png, pdf, svg; several with commas.")
    ] = "png",
) -> None:
    """Draw the percentiles of an experiment from its files, or a heat map of its variants."""
    from bnexp.analysis import results as reader
    from bnexp.analysis import summary
    from bnexp.figures import comparison as figures_compare
    from bnexp.figures import figure1 as figures
    from bnexp.files import run_folder as runlog
    from bnexp.files import storage

    files = reader.read_experiment(experiment)
    with storage.storage_errors(experiment):
        if measure is None:
            figure = figures.draw(files, source=source, layer=layer, unit=unit)
            name = figures.file_name(source, layer, unit)
        else:
            figure = figures_compare.draw_grid(summary.compare([files]), measure)
            name = f"grid_{measure}"
        for path in figures.save(figure, experiment / runlog.FIGURES / name, formats.split(",")):
            print(path)


@app.command(epilog="Example: bnexp compare results/gamma --baseline model.gamma=false")
def compare(
    experiments: Annotated[list[Path], typer.Argument(metavar="EXPERIMENT...")],
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Compare with this variant; or, with KEY=VALUE, each with the one that differs "
            "from it in that alone.  [default: in a grid, the last setting of two; else the first]",
            metavar="VARIANT|KEY=VALUE",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All numbers, as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A line a variant and measure.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="A Markdown table.")] = False,
) -> None:
    """Compare variants: measures with 95 % intervals, differences paired by seed."""
    from bnexp.analysis import results as reader
    from bnexp.analysis import summary, tables

    forms = {"json": as_json, "csv": as_csv, "markdown": as_markdown}
    chosen = [name for name, wanted in forms.items() if wanted] or ["text"]
    if len(chosen) > 1:
        raise ConfigError("--json, --csv, --markdown: give one of them")
    rows = summary.compare([reader.read_experiment(path) for path in experiments], baseline)
    print(tables.comparison(rows, chosen[0]))


@app.command()
def verify(
    experiment: Annotated[Path | None, typer.Argument(metavar="[EXPERIMENT]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Check what is said of batch normalization, by computing it; exit 1 if something fails.

    Without EXPERIMENT: the mathematics, and short runs on embedded data. With it: its trained
    networks, and the paper's claims by its numbers. A claim for which the evidence is missing is
    "not tested", which is no failure.
    """
    import json
    from dataclasses import asdict

    from bnexp.analysis import results as reader
    from bnexp.verify import suite
    from bnexp.verify.check import Verdict, closing_line

    checks = (
        suite.experiment_checks(reader.read_experiment(experiment))
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
    _say(closing_line(found))
    if any(check.verdict is Verdict.FAILS for check in found):
        raise SystemExit(1)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR")] = Path("results"),
) -> None:
    """List every run under a folder: status, step, accuracy."""
    from bnexp.analysis import results as reader
    from bnexp.analysis import tables

    print(tables.aligned(reader.list_runs(folder)))


@app.command(name="configs")
def list_configs() -> None:
    """List the packaged configs."""
    from bnexp.config import experiment as configs

    for name, path in configs.packaged().items():
        first = path.read_text().splitlines()[0]
        print(f"{name:14} {first.removeprefix('# What it shows: ')}")


@app.command()
def validate(
    config: Annotated[list[str], typer.Argument(metavar="CONFIG...")],
) -> None:
    """Check configs without running them."""
    from bnexp.config import experiment as configs

    mistakes = []
    for name in config:
        try:
            experiment = configs.load(name)
        except ConfigError as error:
            mistakes += error.mistakes
        else:
            print(
                f"{name}: valid; {len(experiment.variants)} variants, {len(experiment.seeds)} seeds"
            )
    if mistakes:
        raise ConfigError(mistakes)


def _say(text: str) -> None:
    typer.echo(text, err=True)


class _Progress:
    """A tqdm bar on a terminal, and one line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._next = time.monotonic() + 10

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(unit="step", leave=False, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, text: str) -> None:
        """A line for the user."""
        if self._bar is None:
            _say(text)
        else:
            self._bar.write(text, file=sys.stderr)

    def steps(self, done: int, total: int) -> None:
        """Steps done by all runs together, and how many there are."""
        if self._bar is not None:
            self._bar.total = total
            if self._bar.n == 0:
                self._bar.initial = done  # what an earlier command did says nothing of this speed
            self._bar.update(done - self._bar.n)
        elif time.monotonic() >= self._next:
            self._next += 10
            _say(f"{done:,} of {total:,} steps")


if __name__ == "__main__":
    main()
