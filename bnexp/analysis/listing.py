"""What `bnexp runs` lists: every run under a folder, with its state and how far it is."""

import functools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from bnexp.analysis.formatting import counted, has_value
from bnexp.analysis.results import check_run
from bnexp.analysis.runs import Run, read_run, read_settled
from bnexp.config import Experiment, suggestion
from bnexp.errors import BnexpError, ConfigError, StorageError
from bnexp.files.experiment_folder import is_first_edition, is_started, read_config
from bnexp.files.run_folder import METRICS, METRICS_COLUMNS
from bnexp.files.status import STATUS, State, Status

STATES = (*get_args(State), "damaged")


@dataclass(frozen=True)
class ListedRun:
    """A line of the listing; None stands for what is not known.

    Attributes:
        experiment: its folder.
        variant: the name of the run's variant.
        seed: the run's seed.
        state: one of `STATES`, and what is to be said of it.
        step: how many it has made, of how many.
        last_accuracy: on the test set, of the last evaluation.
        heartbeat: when the run last said something.
        cause: why it failed.
    """

    experiment: str
    variant: str
    seed: int | None
    state: str
    step: str | None = None
    last_accuracy: str | None = None
    heartbeat: str | None = None
    cause: str | None = None


@dataclass(frozen=True)
class Wanted:
    """Which runs are listed.

    Attributes:
        state: one of `STATES`; None: whatever their state is.
        settings: the text of the value that each of these dotted keys has.
    """

    state: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def wanted_of(state: str | None, filters: Sequence[str]) -> Wanted:
    """What a command line asks for.

    Args:
        state: one of `STATES`, or None.
        filters: each is `key.path=value`.

    Raises:
        ConfigError: there is no such state, or a filter is no `key.path=value`.
    """
    if state is not None and state not in STATES:
        hint = suggestion(state, STATES) or f"; choose one of {', '.join(STATES)}"
        raise ConfigError(f"--state {state}: no such state{hint}")
    pairs = [text.partition("=") for text in filters]
    if bad := [key for key, sign, _ in pairs if not sign]:
        raise ConfigError(f"runs {bad[0]}: expected a folder, and then KEY=VALUE")
    return Wanted(state, {key: value for key, _, value in pairs})


def list_runs(folder: Path, wanted: Wanted) -> Iterator[ListedRun]:
    """The runs under a folder, in order; a damaged one is a line that says what is wrong.

    Raises:
        ConfigError: no run has a setting that is asked for.
        StorageError: there is no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise StorageError(f"{folder}: no such folder; `bnexp train` makes one, as results/NAME")
    known: dict[str, None] = {}
    config = functools.cache(_config)
    runs, experiments = _folders(folder)
    for path in sorted(filter(is_started, runs), key=_order):
        try:
            experiment = config(path.parents[1])
            run, last = _read(path, experiment)
        except BnexpError as error:
            listed = _damaged(path, error)
        else:
            settings = run.status.settings
            known |= dict.fromkeys(settings)
            if not all(has_value(settings.get(key), text) for key, text in wanted.settings.items()):
                continue
            listed = _listed(run, last, experiment)
        if wanted.state in {None, listed.state.partition(":")[0].partition("?")[0]}:
            yield listed
    if known and (missing := [key for key in wanted.settings if key not in known]):
        hint = suggestion(missing[0], known) or ""
        raise ConfigError(f"runs {missing[0]}: no run there has such a setting{hint}")
    for path in sorted(experiments):
        if wanted == Wanted() and is_first_edition(path):
            yield ListedRun(str(path), "", None, "made by bnexp 0.1; train it again")


def _folders(folder: Path) -> tuple[list[Path], set[Path]]:
    """The folders below that may be runs, and those with a status in a folder of theirs."""
    runs, experiments = list[Path](), set[Path]()
    for each, names, files in os.walk(folder):
        runs += [Path(each, name) for name in names if name.startswith("seed-")]
        if STATUS in files:
            experiments.add(Path(each).parent)
    return runs, experiments


def count(runs: Sequence[ListedRun]) -> str:
    """The summary line, such as `1,200 runs: 1,188 done, 12 failed`."""
    counts = Counter(run.state.partition(":")[0] for run in runs)
    told = ", ".join(f"{number:,} {state}" for state, number in counts.most_common())
    return f"{counted(len(runs), 'run')}: {told}"


def _config(folder: Path) -> Experiment | None:
    """The config of an experiment; None where it cannot be read, and its runs can be."""
    with suppress(StorageError):
        return read_config(folder)
    return None


def _read(folder: Path, config: Experiment | None) -> tuple[Run, list[float] | None]:
    """A run and its last metrics, which fit each other although it may be at work.

    Raises:
        DamagedError: the run is damaged, or is not the config's.
    """

    def read() -> tuple[Run, list[float] | None]:
        run = read_run(folder)
        return run, run.last_row(METRICS, METRICS_COLUMNS)

    run, last = read_settled([folder], read)
    if config is not None:
        check_run(run, config)
    return run, last


def _order(path: Path) -> tuple[str, int, str]:
    return str(path.parent), len(path.name), path.name


def _damaged(folder: Path, error: BnexpError) -> ListedRun:
    seed = folder.name.removeprefix("seed-")
    number = int(seed) if seed.isdecimal() else None
    where = str(folder.parent.parent), folder.parent.name
    return ListedRun(*where, number, f"damaged: {error}")


def _listed(run: Run, last: list[float] | None, config: Experiment | None) -> ListedRun:
    folder, status = run.path, run.status
    variants = config.variants if config is not None else ()
    wanted = next((v.settings.train.steps for v in variants if v.name == status.variant), 0)
    if status.state == "done" and status.step < wanted:
        # The config was changed to ask for more steps, and this run has not started on them.
        status = replace(status, state="interrupted", steps=wanted)
    accuracy = f"{last[2]:.4f}" if last and last[2] >= 0 else None
    return ListedRun(
        str(folder.parent.parent),
        folder.parent.name,
        status.seed,
        _state(status),
        f"{status.step}/{status.steps}",
        accuracy,
        status.heartbeat,
        status.error and status.error.removeprefix(f"{status.variant}, seed {status.seed}: "),
    )


def _state(status: Status) -> str:
    """The state that a status tells of, and for how long it has told nothing new."""
    if status.seems_dead:
        return f"{status.state}? silent for {status.silent_minutes():,.0f} min"
    return status.state
