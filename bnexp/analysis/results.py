"""An experiment's results as found in its folder: what analysis, figures and tables work with."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from bnexp.analysis.runs import Run
from bnexp.analysis.variants import VariantResults, read_variant
from bnexp.config import Experiment, Value, did_you_mean, flatten, nearest
from bnexp.errors import BnexpError, DamagedError, StorageError
from bnexp.files.atomic import reading
from bnexp.files.experiment_folder import (
    CONFIG,
    SUMMARY,
    read_config,
    refuse_first_edition,
    runs_of,
)
from bnexp.files.run_folder import changed_settings


@dataclass(frozen=True)
class ExperimentResults:
    """An experiment as found on the disk.

    Attributes:
        path: its folder.
        name: the experiment's.
        seeds: of all its variants.
        settings: of each variant of its config, by name, whether it was started or not.
        variants: those that were started, by name, each with the runs that can be read.
        problems: what is wrong with variants of which a run cannot be read, by name.
    """

    path: Path
    name: str
    seeds: tuple[int, ...]
    settings: Mapping[str, Mapping[str, Value]]
    variants: Mapping[str, VariantResults]
    problems: Mapping[str, str] = field(default_factory=dict)


def read_experiment(path: Path) -> ExperimentResults:
    """Read an experiment's folder; what is wrong with a run does not hide the others.

    Raises:
        StorageError: the folder holds no experiment.
        DamagedError: its config is damaged.
    """
    with reading(path, "`bnexp runs` lists the experiments"):
        check_folder(path)
        refuse_first_edition(path)
        folders: dict[str, list[Path]] = {}
        for folder in runs_of(path):
            folders.setdefault(folder.parent.name, []).append(folder)
        experiment = _config(path, started=bool(folders))
    settings: dict[str, Mapping[str, Value]] = {}
    seeds: tuple[int, ...] = ()
    if experiment is None:
        name = path.resolve().name
    else:
        name, seeds = experiment.name, experiment.seeds
        settings = {each.name: flatten(each.settings) for each in experiment.variants}
    belongs = functools.partial(check_run, experiment=experiment)
    variants, problems = dict[str, VariantResults](), dict[str, str]()
    for variant in dict.fromkeys([*settings, *folders]):
        if variant not in folders:
            continue
        steps = settings.get(variant, {}).get("train.steps")
        read = functools.partial(read_variant, variant, check=belongs, steps=steps)
        found, problem = _read_sound(read, folders[variant])
        if problem is not None:
            problems[variant] = problem
        if found is not None:
            variants[variant] = found
            settings.setdefault(variant, found.settings)
            seeds = seeds or found.seeds
    if problems and not settings:  # nothing says what else there should be
        raise DamagedError(next(iter(problems.values())))
    if experiment is None:
        # No config says which of the recorded variants comes first, and is the baseline of
        # `compare`: it is the one that was recorded first, whatever its name begins with.
        variants = dict(sorted(variants.items(), key=lambda item: _first_end(item[1])))
        settings = {name: settings[name] for name in variants}
    return ExperimentResults(path, name, seeds, settings, variants, problems)


def _read_sound(
    read: Callable[[Sequence[Path]], VariantResults], folders: Sequence[Path]
) -> tuple[VariantResults | None, str | None]:
    """The runs of a variant that can be read, and what is wrong with the others; `None` if nothing.

    Runs that can be read one by one, and not together, are of different variants: none is taken.

    Args:
        read: reads the runs in these folders, as one variant.
        folders: of all its runs.
    """
    try:
        return read(folders), None
    except BnexpError as error:
        problem = str(error)
    sound, damaged = list[Path](), list[str]()
    for folder in folders:
        try:
            read([folder])
        except BnexpError as error:
            damaged.append(str(error))
        else:
            sound.append(folder)
    if not damaged or not sound:
        return None, problem
    more = f" (and {len(damaged) - 1} more, see `bnexp runs`)" if damaged[1:] else ""
    try:
        return read(sound), damaged[0] + more
    except BnexpError:
        return None, problem


def _first_end(variant: VariantResults) -> datetime:
    """When the first of its runs was last written."""
    return min(datetime.fromisoformat(run.status.heartbeat) for run in variant.runs)


def check_folder(path: Path) -> None:
    """Check that an experiment's path is a folder.

    Raises:
        StorageError: nothing is there, or a file.
    """
    if path.is_file():
        raise StorageError(f"{path}: a file; give the folder of an experiment")
    if not path.is_dir():
        listed = "`bnexp runs` lists the experiments"
        beside = [*path.parent.glob("*"), *Path("results").glob("*")]
        known = {each.name: str(each) for each in beside if each.is_dir()}
        near = nearest(path.name, known)
        told = f"; {listed}" if near is None else f"{did_you_mean(known[near])} ({listed})"
        raise StorageError(f"{path}: no such folder{told}")


def _config(path: Path, *, started: bool) -> Experiment | None:
    """The config of an experiment; `None` of one that `bnexp.record` made, which has none.

    Raises:
        StorageError: no run was started, and there is no config or the logs are gone.
        DamagedError: the config is damaged.
    """
    if not started and (path / SUMMARY).is_file():
        raise StorageError(
            f"{path}: its logs are not here, and `bnexp compare` needs none; "
            f"`bnexp train --config {path / CONFIG}` makes them"
        )
    if (path / CONFIG).exists():
        return read_config(path)
    if not started:
        above = [str(each) for each in [*path.parents][:2] if (each / CONFIG).is_file()]
        hint = did_you_mean(above[0]) if above else "; `bnexp runs` lists those there are"
        raise StorageError(f"{path}: no experiment here ({CONFIG} is missing){hint}")
    return None


def check_run(run: Run, experiment: Experiment | None) -> None:
    """Check that a run belongs where it lies, and to the config of its experiment.

    Args:
        run: lies in the folder of its variant, in that of its experiment.
        experiment: the config there; `None` where there is none.

    Raises:
        DamagedError: the run belongs elsewhere, or was made with other settings.
    """
    stated, config = run.status, run.path.parents[1] / CONFIG
    if (stated.variant, f"seed-{stated.seed}") != (run.path.parent.name, run.path.name):
        raise DamagedError(
            f"{run.path}: damaged (it holds {stated.variant}, seed {stated.seed}); move it where "
            "it belongs"
        )
    logs = run.axes.minibatch, run.axes.probe
    if "model.hidden" not in stated.settings or any(log and log.names for log in logs):
        # bnexp.record watched it, names its layers, and writes no config
        return
    if experiment is None:
        raise DamagedError(f"{config}: missing; `bnexp train` writes it anew")
    variant = next((each for each in experiment.variants if each.name == stated.variant), None)
    if variant is None or stated.seed not in experiment.seeds:
        raise DamagedError(f"{run.path}: damaged (it is no run of {config}); move it away")
    changed = changed_settings(stated.settings, variant.settings)
    changed.pop("train.steps", None)
    if changed:
        raise DamagedError(
            f"{run.path}: damaged (it was trained with other settings than those in {CONFIG}: "
            f"{'; '.join(changed.values())}); move it away"
        )
