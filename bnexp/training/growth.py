"""How an experiment may grow, and what is deleted when it is begun again.

More seeds, more variants and more steps continue where the experiment stands. Everything else would
mix results of different settings under one name, and is refused with the keys that differ.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from bnexp.config import Experiment, Settings, differences
from bnexp.errors import ConfigError, StorageError
from bnexp.files.experiment_folder import (
    CONFIG,
    EXPORT,
    REPORT,
    SUMMARY,
    TRAIN_LOG,
    read_config,
    remove_run,
    runs_of,
)
from bnexp.files.locks import is_ours, locked, storage_errors
from bnexp.files.status import read_status
from bnexp.training.plans import plans_of, steps_made

FEWER = "train.steps: "  # how a change begins that asks for fewer steps


def check_growth(experiment: Experiment, folder: Path) -> None:
    """Check that the folder is empty, or holds this experiment, or a smaller one of its kind.

    Raises:
        ConfigError: it holds another; the text names every key that differs. Or it holds runs that
            `bnexp.record` wrote.
        DamagedError: its config cannot be read.
        StorageError: it is no folder.
    """
    with storage_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder))
    if not (folder / CONFIG).exists():
        if recorded := next(filter(_is_recorded, _runs(folder)), None):
            raise ConfigError(
                f"{recorded}: was recorded of a model of your own.\n"
                "Use --out DIR for another folder."
            )
        return
    before = read_config(folder)
    old, new = ({v.name: v.settings for v in e.variants} for e in (before, experiment))
    changes = dict.fromkeys(
        change for name in new if name in old for change in _changes(old[name], new[name])
    )
    if missing := [str(seed) for seed in before.seeds if seed not in experiment.seeds]:
        changes[f"seeds: without {', '.join(missing)}"] = None
    if missing := [name for name in old if name not in new]:
        changes[f"variants: without {', '.join(missing)}"] = None
    told, advice = "; ".join(changes), "to discard the results there"
    if changes and all(change.startswith(FEWER) for change in changes):
        made = max(_steps_beyond(experiment, folder), default=0)
        if not made:
            return
        told += f", where a run has made {made:,} steps"
        advice = f"to discard the results there, or train.steps={made} or more to keep them"
    if changes:
        raise ConfigError(
            f"{folder}: holds results of another config ({told}).\n"
            f"Use --out DIR for another folder, or --restart {advice}."
        )


def _runs(folder: Path) -> Iterator[Path]:
    return runs_of(folder) if folder.is_dir() else iter(())


def _is_recorded(run: Path) -> bool:
    with suppress(StorageError):
        return read_status(run).is_recorded
    return False


def _changes(old: Settings, new: Settings) -> Iterator[str]:
    for key, (before, now) in differences(old, new).items():
        # Where the data lies is no part of the experiment, and a longer run continues a shorter.
        if key != "data.root" and not (key == "train.steps" and now > before):
            yield f"{key}: {before}, now {now}"


def _steps_beyond(experiment: Experiment, folder: Path) -> Iterator[int]:
    """The steps of each run that has made more of them than the experiment now asks for.

    Where there is none, a command with too many steps was given by mistake, and stopped in time:
    nothing is lost by going back.
    """
    for plan in plans_of(experiment, folder):
        if (made := steps_made(plan)) > plan.settings.train.steps:
            yield made


def restart(folder: Path, say: Callable[[str], None], *, dry_run: bool = False) -> None:
    """Delete the runs of an experiment that bnexp wrote, its config and its summary.

    Nothing else is deleted: files that bnexp did not write stay, as do runs of `bnexp.record`,
    links are not followed, and a folder whose config does not bear bnexp's checksum is refused.

    Args:
        folder: the experiment's folder; where it is not there, nothing happens.
        say: is told what is removed, and what of the removed runs stays.
        dry_run: say what would be removed, and remove nothing.

    Raises:
        DamagedError: the folder's config is not one that bnexp wrote.
        LockedError: another process works on the experiment.
        StorageError: the folder cannot be written, or holds no experiment.
    """
    if not folder.exists():
        return
    with storage_errors(folder):
        if not (folder / CONFIG).exists():
            if is_ours(folder) or not any(folder.iterdir()):
                return
            raise StorageError(f"{folder}: no experiment of bnexp is there; --restart removes none")
        read_config(folder)
        if dry_run:
            say(f"would remove of {folder}: {_removed(_removable(folder))}")
            return
        with locked(folder):
            runs = _removable(folder)
            for path in runs:
                with locked(path, wait=5.0):
                    remove_run(path)
            for name in (SUMMARY, TRAIN_LOG, CONFIG):
                (folder / name).unlink(missing_ok=True)
            say(f"{folder}: removed {_removed(runs)}")
            for name in (EXPORT, REPORT):
                if (folder / name).exists():
                    say(f"{folder / name}: was made of the removed runs, and stays until you "
                        "remove it or make it again")  # fmt: skip


def _removable(folder: Path) -> list[Path]:
    return [path for path in runs_of(folder) if is_ours(path) and not _is_recorded(path)]


def _removed(runs: list[Path]) -> str:
    return f"its config, its summary and {len(runs)} run{'s' * (len(runs) != 1)}"
