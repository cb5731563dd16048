"""The runs that one engine trains together: what it recorded goes to the files of each."""

from collections.abc import Sequence

import numpy as np

from bnexp.errors import RunError
from bnexp.networks.engine import Engine, Failure, Rows
from bnexp.networks.running_statistics import RunningStatisticsMeter
from bnexp.training.run_writer import RunWriter


class Stack:
    """The runs that an engine trains together; one that fails leaves the stack."""

    def __init__(self, writers: Sequence[RunWriter]) -> None:
        self.alive = dict(enumerate(writers))
        self.failed: list[RunError] = []

    def append(self, recorded: Sequence[Rows]) -> None:
        """Append what a block of steps recorded.

        Raises:
            RunError: the last run of the stack has failed.
        """
        for index, writer in list(self.alive.items()):
            writer.append(recorded[index])
            if (failure := recorded[index].failure) is not None:
                self._fail(index, failure)

    def _fail(self, index: int, failure: Failure) -> None:
        plan = self.alive[index].plan
        lr = plan.settings.train.lr
        advice = f"lower train.lr (now {lr:g}), or model.weight_std"
        error = RunError(f"{plan.name}: {failure}; {advice}")
        self.alive.pop(index).fail(error, failure.step)
        self.failed.append(error)
        if not self.alive:
            raise self.failed[0]

    def commit(self, engine: Engine) -> None:
        """Save a checkpoint of each run.

        Raises:
            RunError: the last run of the stack has failed.
        """
        for index, state in enumerate(engine.state()):
            if index not in self.alive:
                continue
            if all(np.isfinite(array).all() for array in state.values()):
                self.alive[index].commit(engine, state)
            else:  # a loss may stay finite where dead units hide a weight that is not
                self._fail(index, Failure(engine.step, "a parameter is not finite"))

    def compare_statistics(self, statistics: RunningStatisticsMeter, engine: Engine) -> None:
        """Append what the running statistics of each network are at this step."""
        rows = statistics.measure(engine.step, engine.state_dicts())
        for index, writer in self.alive.items():
            writer.append_running_statistics(rows[index])

    def finish(self, engine: Engine) -> None:
        """Write the final networks.

        Raises:
            RunError: a run of the stack had failed.
        """
        final, state_dicts = engine.finish(), engine.state_dicts()
        for index, writer in self.alive.items():
            writer.finish(final[index], state_dicts[index])
        if self.failed:
            raise self.failed[0]
