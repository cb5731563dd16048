"""The folder of an experiment: its config with a checksum, and the runs under it."""

import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from bnexp import config as configs
from bnexp.config import Experiment
from bnexp.errors import ConfigError, DamagedError, StorageError
from bnexp.files.atomic import ANEW, read_whole, write_whole
from bnexp.files.run_folder import (
    CHECKPOINT,
    MINIBATCH,
    MODEL,
    PREVIOUS,
    PROBE,
    RUN_FILES,
    changed_settings,
)
from bnexp.files.status import STATUS, read_status

CONFIG, SUMMARY, FIGURES = "config.yaml", "summary.json", "figures"
TRAIN_LOG, REPORT, EXPORT = "train.log", "report.html", "export"
_SEAL = b"# Written by bnexp; CRC-32 of what follows: "
NPY_HEADER_BYTES = 128
_MAX_CONFIG = 1 << 24  # bytes: larger than any experiment written out
FRESH = "use --out DIR for another folder, or --restart"


def write_config(folder: Path, experiment: Experiment) -> None:
    """Write the experiment's config below a line with its checksum; an equal one is left alone."""
    text = configs.dump(experiment).encode()
    content, path = _seal(text) + b"\n" + text, folder / CONFIG
    if not path.is_file() or read_whole(path, FRESH, _MAX_CONFIG) != content:
        write_whole(path, content)


def read_config(folder: Path) -> Experiment:
    """Read what `write_config` wrote.

    Raises:
        DamagedError: it is missing, or is not what was written.
        StorageError: it cannot be read.
    """
    path = folder / CONFIG
    content = read_whole(path, FRESH, _MAX_CONFIG)
    seal, _, text = content.partition(b"\n")
    if seal != _seal(text):
        what = "damaged, or edited after the training, or not written by bnexp"
        if changes := _edited(folder):
            what = f"edited after the training ({'; '.join(changes)})"
        raise DamagedError(f"{path}: {what}.\nTo train another config, copy it and use --out DIR.")
    try:
        return _parsed(path, content)
    except ConfigError as error:
        raise DamagedError(f"{path}: damaged ({error.mistakes[0]}); {FRESH}") from None


@lru_cache(maxsize=16)
def _parsed(path: Path, content: bytes) -> Experiment:
    """The experiment of a config's file. One command reads it several times, and parses it once.

    Raises:
        ConfigError: the content is no config.
    """
    return configs.parse(content.decode(errors="surrogateescape"), str(path))


def _edited(folder: Path) -> list[str]:
    """The keys in which a config without its right checksum differs from what the runs state."""
    try:
        experiment = configs.load(folder / CONFIG)
    except ConfigError:
        return []
    changes = dict[str, None]()
    for variant in experiment.variants:
        for run in folder.glob(f"{variant.name}/seed-*"):
            with suppress(StorageError):
                changed = changed_settings(read_status(run).settings, variant.settings)
                changes |= dict.fromkeys(changed.values())
    return list(changes)


def _seal(text: bytes) -> bytes:
    return _SEAL + f"{zlib.crc32(text):08x}".encode()


def is_first_edition(folder: Path) -> bool:
    """Whether bnexp 0.1 wrote the runs there, one folder for all seeds of a variant."""
    try:
        content = read_whole(folder / CONFIG, ANEW, _MAX_CONFIG)
    except StorageError:
        return False
    return content.startswith(_SEAL) and any(folder.glob(f"*/{STATUS}"))


def refuse_first_edition(folder: Path) -> None:
    """Refuse a folder of bnexp 0.1.

    Raises:
        StorageError: it is one; the text says how to make its results again.
    """
    if is_first_edition(folder):
        raise StorageError(
            f"{folder}: its runs were made by bnexp 0.1, which kept all seeds in one folder.\n"
            f"Make them again: bnexp train --config {folder / CONFIG} --out DIR"
        )


def runs_of(folder: Path) -> Iterator[Path]:
    """The folders of all runs of an experiment, in order; links are not followed."""
    for variant in sorted(folder.iterdir()):
        if variant.is_dir() and not variant.is_symlink():
            found = filter(is_started, variant.glob("seed-*"))
            yield from sorted(found, key=lambda path: (len(path.name), path.name))


def is_started(folder: Path) -> bool:
    """Whether a run was started there, also if its status was lost.

    A run's status is there before its first row and its first checkpoint. So where one of these is
    there without it, something is wrong, which the reader of the status tells.
    """
    if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
        return True  # whoever reads it is told that it cannot be read
    if any(os.path.lexists(folder / name) for name in (STATUS, MODEL, CHECKPOINT, PREVIOUS)):
        return True
    logs = (folder / MINIBATCH, folder / PROBE)
    return any(path.is_file() and path.stat().st_size > NPY_HEADER_BYTES for path in logs)


def remove_run(folder: Path) -> None:
    """Delete what training wrote into the folder of a run, and nothing else.

    The status goes first: readers then see no run there, and not one whose files are missing.
    """
    for name in (STATUS, *RUN_FILES):
        for each in (folder / name, folder / f"{name}.tmp"):
            each.unlink(missing_ok=True)
