"""`bnexp train`."""

import importlib
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bnexp.analysis.formatting import counted
from bnexp.cli import completion
from bnexp.cli.terminal import Progress, say, told, width
from bnexp.errors import ConfigError

if TYPE_CHECKING:
    from bnexp.config import Experiment
    from bnexp.training.scheduler import Cluster


def train(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="Keys to set in place of the config's, such as train.lr=0.05 or seeds=5. The "
            "config itself may stand before them, without --config.",
            metavar="KEY.PATH=VALUE",
            autocompletion=completion.configs_and_keys,
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            help="A YAML file, or the name of a packaged config.",
            metavar="PATH",
            autocompletion=completion.configs,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where the results go.  [default: results/NAME]", metavar="DIR"),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many runs train at a time.  [default: as many as there are cores]",
            metavar="N",
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
            autocompletion=completion.keys,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Let the workers of a Dask cluster train; its scheduler is at this address, such "
            "as tcp://host:8786.",
            metavar="ADDRESS",
        ),
    ] = None,
    gather: Annotated[
        bool,
        typer.Option(
            "--gather", help="With --scheduler: the workers share no folder; send the files back."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved YAML and what would run.")
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Say nothing on stderr but warnings and errors."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also say when a run has ended, and how.")
    ] = False,
) -> None:
    """Train every variant, draw the figures and print the summary.

    The same command again continues what is not finished.
    """
    from bnexp import config as configs

    if quiet and verbose:
        raise ConfigError("--quiet, --verbose: give one of them")
    config, overrides = _config_and_overrides(config, words or [])
    experiment = configs.load(config, overrides, grid or [])
    warn_of_identical(experiment)
    _warn_of_overrides(experiment, config, overrides)
    folder = out or Path("results") / experiment.name
    if dry_run:
        _print_plan(experiment, folder, anew=restart)
        return
    from bnexp.training import growth, plans, readiness
    from bnexp.training import scheduler as training

    cluster = _cluster(scheduler, gather=gather)
    with Progress(quiet=quiet, verbose=verbose) as progress:
        if restart:
            # Nothing is removed for a config that cannot be trained here.
            if cluster is None:
                readiness.check_machine(plans.plans_of(experiment, folder))
            growth.restart(folder, progress.say)
        threading.Thread(target=_load_figures, daemon=True).start()
        errors = training.train_experiment(experiment, folder, jobs, progress, cluster)
    try:
        show(folder, quiet=quiet)
    except BrokenPipeError:
        if not errors:
            raise
    finally:
        for text in dict.fromkeys(map(str, errors)):
            say(f"bnexp: {text}")
    if errors:
        raise SystemExit(errors[0].exit_code)


def _cluster(address: str | None, *, gather: bool) -> "Cluster | None":
    """The cluster that the options name; None for this machine."""
    from bnexp.training.scheduler import Cluster

    if address is None and gather:
        raise ConfigError("--gather: says how a cluster's files come back; give --scheduler too")
    return None if address is None else Cluster(address, gather)


def _config_and_overrides(config: str | None, words: list[str]) -> tuple[str, list[str]]:
    """The config and its overrides, where the config may stand as the first word."""
    if config is not None:
        return config, words
    if not words:
        raise ConfigError("train: which config? `bnexp train --config quickstart` is a start")
    return words[0], words[1:]


def warn_of_identical(experiment: "Experiment") -> None:
    """Say which variants do not differ, since comparing them would show nothing."""
    from bnexp.config import identical_variants

    for first, second in identical_variants(experiment):
        say(f"warning: {first} and {second} have the same settings")


def _print_plan(experiment: "Experiment", folder: Path, *, anew: bool) -> None:
    """Print the resolved YAML, and say what would run, and what is done already.

    Raises:
        ConfigError: the folder holds other results.
        StorageError: it is no folder, or one of bnexp 0.1.
    """
    from bnexp.config import dump
    from bnexp.files import experiment_folder
    from bnexp.training import growth, plans

    experiment_folder.refuse_first_edition(folder)
    if anew:
        growth.restart(folder, say, dry_run=True)
    if not (anew and (folder / experiment_folder.CONFIG).exists()):  # else all of it would be gone
        growth.check_growth(experiment, folder)
    wanted = plans.plans_of(experiment, folder)
    left = [plan for plan in wanted if anew or not plans.is_done(plan)]
    print(dump(experiment), end="")
    for variant in experiment.variants:
        if runs := sum(plan.variant == variant.name for plan in left):
            steps = counted(variant.settings.train.steps, "step")
            say(f"would train {folder / variant.name}: {counted(runs, 'run')} of {steps}")
    if done := len(wanted) - len(left):
        say(f"{done} of {len(wanted)} runs done already")


def _warn_of_overrides(experiment: "Experiment", config: str, overrides: list[str]) -> None:
    """Say which keys are set twice, and which variants are left with a bias that does nothing.

    A config in which variants differ in a bias before batch norm alone means it: it shows that the
    bias does nothing. Overrides make such variants by mistake.
    """
    from bnexp.config import identical_variants, load

    keys = [text.partition("=")[0] for text in overrides]
    for key in dict.fromkeys(key for key in keys if keys.count(key) > 1):
        say(f"warning: {key} is set {keys.count(key)} times; the last one counts")
    if not overrides:
        return
    written = load(config)
    known = {*identical_variants(experiment), *identical_variants(written, but_for_bias=True)}
    for first, second in identical_variants(experiment, but_for_bias=True):
        if (first, second) not in known:
            say(
                f"warning: {first} and {second} differ only in a bias before batch norm, which "
                "subtracts it"
            )


def _load_figures() -> None:
    """Import what `show` needs, while the workers import theirs and train."""
    with suppress(ImportError):  # which will be met, and told, where it is needed
        for name in ("analysis.measuring", "analysis.summary", "figures.experiment_figures"):
            importlib.import_module(f"bnexp.{name}")
        importlib.import_module("scipy.special")  # Student's t, for the intervals


def show(folder: Path, *, quiet: bool) -> None:
    """Write the summary and the figures, and print them with the next command."""
    from bnexp.analysis import measuring, results, summary, tables
    from bnexp.figures import experiment_figures
    from bnexp.files import locks

    experiment = results.read_experiment(folder)
    with told(*experiment.problems.values()):
        if not any(len(variant.metrics.steps) for variant in experiment.variants.values()):
            return
        numbers = summary.measured(experiment)
        figures = None if numbers is None else experiment_figures.saved_figures(experiment, numbers)
        if numbers is None or figures is None:
            numbers = measuring.measure(experiment)
            with locks.storage_errors(folder):
                figures = experiment_figures.save_figures(experiment, numbers)
            # Last, because it says that the figures are drawn from these very logs.
            summary.write_summary(folder, numbers, experiment)
        print(tables.overview(numbers, width()))
        for path in figures:
            print(f"figure: {path}")
        several = len(experiment.variants) > 1
        if not quiet:
            say(f"next: bnexp {'compare' if several else 'plot'} {folder}")
            say(f"page: bnexp report {folder}")
