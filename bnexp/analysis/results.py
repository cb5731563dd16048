"""An experiment's results as found in its folder: what analysis, figures and tables work with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bnexp.analysis.variants import VariantResults, read_variant
from bnexp.config import Experiment, Value, flatten
from bnexp.errors import BnexpError, DamagedError, StorageError
from bnexp.files.atomic import reading
from bnexp.files.experiment_folder import (
    CONFIG,
    SUMMARY,
    read_config,
    refuse_first_edition,
    runs_of,
)
from bnexp.files.run_folder import binding_settings


@dataclass(frozen=True)
class ExperimentResults:
    """An experiment as found on the disk.

    Attributes:
        path: its folder.
        name: the experiment's.
        seeds: of all its variants.
        settings: of each variant of its config, by name, whether it was begun or not.
        variants: those that were begun, by name.
        problems: what is wrong with variants that cannot be read, by name.
    """

    path: Path
    name: str
    seeds: tuple[int, ...]
    settings: Mapping[str, Mapping[str, Value]]
    variants: Mapping[str, VariantResults]
    problems: Mapping[str, str] = field(default_factory=dict)


def read_experiment(path: Path) -> ExperimentResults:
    """Read an experiment's folder; what is wrong with a variant does not hide the others.

    Raises:
        StorageError: the folder holds no experiment.
        DamagedError: its config is damaged.
    """
    with reading(path, "`bnexp runs` lists the experiments"):
        if not path.is_dir():
            raise StorageError(f"{path}: no such folder; `bnexp runs` lists the experiments")
        refuse_first_edition(path)
        folders: dict[str, list[Path]] = {}
        for folder in runs_of(path):
            folders.setdefault(folder.parent.name, []).append(folder)
        experiment: Experiment | None = None
        settings: dict[str, Mapping[str, Value]] = {}
        seeds: tuple[int, ...] = ()
        name = path.resolve().name
        if not folders and (path / SUMMARY).is_file():
            raise StorageError(
                f"{path}: its logs are not here, and `bnexp compare` needs none; "
                f"`bnexp train --config {path / CONFIG}` makes them"
            )
        if (path / CONFIG).exists():
            experiment = read_config(path)
            settings = {each.name: flatten(each.settings) for each in experiment.variants}
            name, seeds = experiment.name, experiment.seeds
        elif not folders:
            raise StorageError(
                f"{path}: no experiment here ({CONFIG} is missing); "
                "`bnexp runs` lists those there are"
            )
    variants, problems = dict[str, VariantResults](), dict[str, str]()
    for variant in dict.fromkeys([*settings, *folders]):
        if variant not in folders:
            continue
        try:
            found = read_variant(variant, folders[variant])
            _check_place(found, path, experiment)
        except BnexpError as error:
            problems[variant] = str(error)
        else:
            variants[variant] = found
            settings.setdefault(variant, found.settings)
            seeds = seeds or found.seeds
    return ExperimentResults(path, name, seeds, settings, variants, problems)


def _check_place(variant: VariantResults, path: Path, experiment: Experiment | None) -> None:
    """Check that the runs of a variant belong where they lie, and to the experiment's config.

    Raises:
        DamagedError: a run belongs elsewhere, or was made with other settings.
    """
    for run in variant.runs:
        stated = run.status
        if (stated.variant, f"seed-{stated.seed}") != (variant.name, run.path.name):
            raise DamagedError(
                f"{run.path}: holds {stated.variant}, seed {stated.seed}; move it where it belongs"
            )
    if variant.is_recorded:  # bnexp.record writes no config
        return
    if experiment is None:
        raise DamagedError(f"{path / CONFIG}: missing; `bnexp train` writes it anew")
    wanted = {each.name: binding_settings(each.settings) for each in experiment.variants}
    if variant.name not in wanted:
        raise DamagedError(f"{variant.path}: is no variant of {path / CONFIG}; move it away")
    settings = {**wanted[variant.name], "train.steps": variant.settings.get("train.steps")}
    for run in variant.runs:
        if run.seed not in experiment.seeds:
            raise DamagedError(f"{run.path}: is no seed of {path / CONFIG}; move it away")
    if changes := [
        f"{key}: {variant.settings.get(key)}, now {settings[key]}"
        for key in settings
        if variant.settings.get(key) != settings[key]
    ]:
        raise DamagedError(
            f"{variant.path}: was trained with other settings than those in {CONFIG} "
            f"({'; '.join(changes)}); move it away"
        )
