"""What must be on this machine before an experiment writes its first file.

A command that is refused here leaves no folder behind, so nothing stands in the way of the
corrected one.
"""

from collections.abc import Iterable

from bnexp.data import idx
from bnexp.files.run_folder import RunPlan


def check_machine(plans: Iterable[RunPlan]) -> None:
    """Check that these runs find their device, their engine and their data here.

    Missing data files are downloaded, once for all runs.

    Raises:
        ConfigError: a device or an engine that the config names is not on this machine.
        DataError: a data set is missing or damaged.
    """
    settings = dict.fromkeys(plan.settings for plan in plans)
    for each in settings:
        train = each.train
        # Only what is asked for by name can be missing. Everything else costs no time here: to ask
        # is to load torch.
        if train.device not in {"auto", "cpu"} or train.engine == "kernels":
            from bnexp.networks.device import resolve_device
            from bnexp.networks.engine import choose_engine, numba_available

            device = resolve_device(train.device, train.dtype)
            choose_engine(train.engine, device, each, numba=numba_available())
    for name, root in dict.fromkeys((each.data.name, each.data.root) for each in settings):
        if name in idx.CLASSES:
            idx.load(name, root)
