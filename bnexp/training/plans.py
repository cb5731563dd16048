"""Which runs an experiment needs, and which of them are done. Nothing here loads torch."""

from pathlib import Path

from bnexp.config import Experiment
from bnexp.errors import ConfigError, StorageError
from bnexp.files.atomic import MOST_OF_TENSORS, extent, read_whole
from bnexp.files.axes import axes_of, read_axes
from bnexp.files.run_folder import MODEL, RunPlan, changed_settings, run_folder
from bnexp.files.status import read_status


def plans_of(experiment: Experiment, folder: Path) -> list[RunPlan]:
    """The runs of an experiment: of each variant, one for each seed."""
    return [
        RunPlan(variant.name, seed, variant.settings, run_folder(folder, variant.name, seed))
        for variant in experiment.variants
        for seed in experiment.seeds
    ]


def steps_made(plan: RunPlan) -> int:
    """How many steps a run has made, as its status tells; it may go on from a checkpoint before."""
    try:
        return read_status(plan.folder).step
    except StorageError:
        return 0


def is_done(plan: RunPlan) -> bool:
    """Whether a run with these settings has made all its steps, and its final network is there.

    A run whose status cannot be read, or whose network or description of the logs is not the one
    written, is not done: it is continued from its last checkpoint, which makes these files again.

    Raises:
        ConfigError: the folder holds a run with other settings; the text names the keys.
    """
    try:
        status = read_status(plan.folder)
        changed = changed_settings(status.settings, plan.settings)
        if status.step <= plan.settings.train.steps:
            changed.pop("train.steps", None)
        changes = [*changed.values()]
        if (status.variant, status.seed) != (plan.variant, plan.seed):
            changes.append(f"it is {status.variant}, seed {status.seed}")
        if changes:
            raise ConfigError(
                f"{plan.folder}: holds another run ({'; '.join(changes)}).\n"
                "Use --out DIR for another folder, or --restart to discard the results there."
            )
        if status.state != "done" or status.step != plan.settings.train.steps:
            return False
        if read_axes(plan.folder) != axes_of(plan.settings):
            return False
        found = extent(read_whole(plan.folder / MODEL, "", MOST_OF_TENSORS))
    except StorageError:
        return False
    return found == status.files.get(MODEL)
