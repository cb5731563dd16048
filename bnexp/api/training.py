"""Training from Python."""

import sys
from collections.abc import Sequence
from math import inf
from pathlib import Path

from bnexp import config as configs
from bnexp.analysis.measuring import measure
from bnexp.analysis.results import read_experiment
from bnexp.analysis.summary import write_summary
from bnexp.api.arguments import NONE, PATH, WHOLE, arguments_named, as_python, check, override_list
from bnexp.api.experiment import Experiment
from bnexp.training.jobs import Tally
from bnexp.training.scheduler import train_experiment


class Quiet:
    """Says on stderr what users should know, and nothing of the progress."""

    def say(self, text: str) -> None:
        """Show a line."""
        sys.stderr.write(f"{as_python(text)}\n")

    def update(self, tally: Tally) -> None:
        """Say nothing."""


@arguments_named()
def train(
    config: str | Path,
    overrides: str | Sequence[str] = (),
    out: str | Path | None = None,
    jobs: int | None = None,
) -> Experiment:
    """Train every variant of a config, or what is left of it, as `bnexp train` does.

    The figures are not drawn; `Experiment.plot` draws them.

    Args:
        config: a YAML file, or the name of a packaged config such as `quickstart`.
        overrides: keys to set in place of the config's, such as `["train.lr=0.05", "seeds=5"]`, or
            one of them.
        out: where the results go; None: `results/NAME` in the working directory.
        jobs: how many runs train at a time; None: as many as there are cores.

    Raises:
        ConfigError: the config has mistakes, or the folder holds another experiment.
        RunError: a run failed.
        DataError: the data set is missing or damaged.
        StorageError: files cannot be written.
        InterruptedRun: Ctrl-C; the same call continues.
    """
    check("config", config, PATH, "a YAML file, or the name of a packaged config such as 'fig1'")
    check("out", out, (*PATH, NONE), "a folder")
    check("jobs", jobs, (*WHOLE, NONE), "a whole number of 1 or more, or None", (1, inf))
    experiment = configs.load(str(config), override_list(overrides))
    folder = Path("results") / experiment.name if out is None else Path(out)
    errors = train_experiment(experiment, folder, jobs, Quiet())
    if errors:
        raise errors[0]
    results = read_experiment(folder)
    numbers = measure(results)
    write_summary(folder, numbers)
    return Experiment(folder, numbers, results)
