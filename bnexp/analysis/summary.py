"""summary.json: written when an experiment has been trained, and read where its logs are gone."""

import json
import zlib
from pathlib import Path
from typing import cast

from bnexp.analysis.measuring import measure
from bnexp.analysis.numbers import ExperimentNumbers
from bnexp.analysis.numbers_json import from_json, to_json
from bnexp.analysis.results import ExperimentResults, check_folder, read_experiment
from bnexp.config import Experiment
from bnexp.errors import DamagedError, StorageError
from bnexp.files.experiment_folder import CONFIG, SUMMARY, read_config, runs_of
from bnexp.files.locks import storage_errors
from bnexp.files.provenance import provenance
from bnexp.files.run_folder import changed_settings
from bnexp.files.sealed import read_sealed, write_sealed
from bnexp.files.status import Provenance

MOST_BYTES = 64 * 2**20  # of a summary; that of 2,400 runs has 10 million
TRAIN_AGAIN = "`bnexp train` on its config.yaml writes it anew"


def write_summary(
    folder: Path, numbers: ExperimentNumbers, results: ExperimentResults | None = None
) -> None:
    """Write the numbers, with what computed them.

    Args:
        folder: the experiment's.
        numbers: of the experiment.
        results: what they were measured of, so that `measured` need not measure it again.

    Raises:
        StorageError: the file cannot be written.
    """
    content = {**to_json(numbers), "environment": provenance()}
    if results is not None:
        content["measured_of"] = _identity(results)
    with storage_errors(folder):
        write_sealed(folder / SUMMARY, content)


def measured(results: ExperimentResults) -> ExperimentNumbers | None:
    """The numbers in summary.json, if this very code has measured them of these very logs.

    Measuring takes a while where there are many runs. None where that cannot be told, as where the
    code was changed after its last commit.
    """
    try:
        content = read_sealed(results.path / SUMMARY, None, TRAIN_AGAIN, MOST_BYTES)
        made_with, now = content["environment"], provenance()
        same = all(made_with[key] == now[key] for key in ("versions", "git_commit"))
        changed = str(now["git_commit"]).endswith("+")
        if not same or changed or content["measured_of"] != _identity(results):
            return None
        return from_json(content)
    except (StorageError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _identity(results: ExperimentResults) -> str:
    """A checksum of what the numbers depend on: settings, states, and the extents of all files."""
    runs = [
        (run.status.variant, run.seed, run.status.state, run.status.step,
         run.status.seconds_per_step, run.status.parameters,
         sorted((name, each.bytes, each.crc32) for name, each in run.status.files.items()))
        for variant in results.variants.values()
        for run in variant.runs
    ]  # fmt: skip
    about = results.name, results.seeds, dict(results.settings), dict(results.problems), runs
    return f"{zlib.crc32(json.dumps(about, default=dict).encode()):08x}"


def read_summary(folder: Path) -> tuple[ExperimentNumbers, Provenance]:
    """Read summary.json: the numbers, and what computed them.

    Raises:
        DamagedError: it is missing, or not what bnexp wrote.
        StorageError: it cannot be read.
    """
    path = folder / SUMMARY
    content = read_sealed(path, None, TRAIN_AGAIN, MOST_BYTES)
    try:
        numbers = from_json(content)
        made_with = cast("Provenance", dict(content.get("environment") or {}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"[:80]
        raise DamagedError(
            f"{path}: not a summary of this version ({reason}); {TRAIN_AGAIN}"
        ) from None
    if (folder / CONFIG).exists():
        _check_settings(path, numbers, read_config(folder))
    return numbers, made_with


def read_provenance(folder: Path) -> Provenance:
    """Read from summary.json what computed its numbers.

    Raises:
        DamagedError: it is missing, or not what bnexp wrote.
        StorageError: it cannot be read.
    """
    return read_summary(folder)[1]


def _check_settings(path: Path, numbers: ExperimentNumbers, experiment: Experiment) -> None:
    """Check that a summary is that of the config beside it.

    Raises:
        DamagedError: it is another experiment's.
    """
    wanted = {each.name: each.settings for each in experiment.variants}
    changes = [
        change
        for name, each in numbers.variants.items()
        if name in wanted
        for change in changed_settings(each.settings, wanted[name]).values()
    ]
    if numbers.experiment != experiment.name or numbers.variants.keys() != wanted.keys():
        changes.append(f"it is of {numbers.experiment} ({', '.join(numbers.variants)})")
    if changes:
        raise DamagedError(
            f"{path}: is not of the {CONFIG} beside it ({'; '.join(dict.fromkeys(changes))}); "
            f"{TRAIN_AGAIN}"
        )


def read_numbers(folder: Path) -> tuple[ExperimentNumbers, ExperimentResults | None]:
    """The numbers of an experiment: from its logs, or from its summary where there are no runs.

    Returns:
        The numbers, and the results that they were measured of; `None` where the logs are gone.

    Raises:
        StorageError: the folder holds neither.
        DamagedError: its config, or the summary, is damaged.
    """
    check_folder(folder)
    if (folder / SUMMARY).is_file() and not any(runs_of(folder)):
        return read_summary(folder)[0], None
    results = read_experiment(folder)
    return measure(results), results
