"""One run from its first step to its files; on a GPU, a stack of runs that train together.

Resuming needs no state but the checkpoint. A step's minibatch is a function of the seed and the
step, so a run that continues at step t makes the same arithmetic, in the same order, as one that
was never stopped, and writes the same bytes. How the steps are cut into blocks makes no difference
either: `Engine.advance` carries everything over.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import Literal, Protocol

import numpy as np

from bnexp.config import DataConfig, TrainConfig
from bnexp.data import datasets
from bnexp.errors import BnexpError, ConfigError, RunError
from bnexp.files.checkpoint import Checkpoint
from bnexp.files.locks import locked, storage_errors
from bnexp.files.run_folder import RunPlan
from bnexp.files.status import Provenance
from bnexp.networks.engine import Engine, is_due, next_due
from bnexp.networks.running_statistics import RunningStatisticsMeter
from bnexp.training.engine_setup import make_engine
from bnexp.training.plans import is_done
from bnexp.training.run_writer import RunWriter
from bnexp.training.stack import Stack

BLOCK_SECONDS = 0.1  # after which the run looks whether it is to stop, and shows that it lives
Outcome = Literal["done", "interrupted"]
Loader = Callable[[DataConfig], datasets.Dataset]


class Reporter(Protocol):
    """What a run asks and tells on the way."""

    def stop(self) -> bool:
        """Whether the run is to stop after a checkpoint; asked several times a second."""

    def say(self, text: str) -> None:
        """Take a line that users should know."""

    def progress(self, plan: RunPlan, step: int, loss: float, accuracy: float) -> None:
        """Take note of a run's step, and of its last training loss and test accuracy."""


def train(
    plans: Sequence[RunPlan],
    made_with: Provenance,
    reporter: Reporter,
    load: Loader | None = None,
) -> Outcome:
    """Make runs, or what is left of them.

    Args:
        plans: runs that differ in nothing but the seed; they train together as one stack.
        made_with: versions, commit and command, as they go to `status.json`.
        reporter: is asked and told on the way.
        load: loads the data set; None: from its files. A process that trains one run after another
            may keep it.

    Raises:
        RunError: the loss of a run is not finite.
        ConfigError: a folder holds a run with other settings.
        DataError: the data set is missing or damaged.
        StorageError: the files cannot be written, or another process writes them.
    """
    with ExitStack() as stack:
        for plan in plans:
            stack.enter_context(storage_errors(plan.folder))
            # A process whose parent was killed needs a moment to notice and end.
            stack.enter_context(locked(plan.folder, wait=5.0))
        # What is not finite is found, and said, by the engine.
        stack.enter_context(np.errstate(all="ignore"))
        waiting: list[tuple[RunWriter, Checkpoint | None]] = []
        for plan in plans:
            if not is_done(plan):
                writer = stack.enter_context(closing(RunWriter(plan, made_with)))
                waiting.append((writer, writer.newest_checkpoint(reporter.say)))
        return _train_waiting(waiting, reporter, load or datasets.load)


def _train_waiting(
    waiting: Sequence[tuple[RunWriter, Checkpoint | None]], reporter: Reporter, load: Loader
) -> Outcome:
    """Train runs that stand at the same step together, one such group after the other."""
    errors: list[BnexpError] = []
    for _, group in itertools.groupby(sorted(waiting, key=_step_of), key=_step_of):
        try:
            outcome = _train_group(list(group), reporter, load)
        except RunError as error:
            errors.append(error)
            continue
        if outcome == "interrupted":
            return outcome
    if errors:
        raise errors[0]
    return "done"


def _step_of(item: tuple[RunWriter, Checkpoint | None]) -> int:
    return 0 if item[1] is None else item[1].step


def _train_group(
    group: Sequence[tuple[RunWriter, Checkpoint | None]], reporter: Reporter, load: Loader
) -> Outcome:
    writers = [writer for writer, _ in group]
    settings = writers[0].plan.settings
    try:
        dataset = load(settings.data)
        engine = make_engine(settings, dataset, [writer.plan.seed for writer in writers])
        for writer, state_dict in zip(writers, engine.state_dicts(), strict=True):
            writer.count_parameters(state_dict)
        checkpoints = [found for _, found in group if found is not None]
        if checkpoints:
            _check_engine(checkpoints, engine, writers)
            engine.load_state(checkpoints[0].step, [each.arrays for each in checkpoints])
        for writer, found in group:
            change = writer.begin(found, engine)
            if found is not None:
                reporter.say(f"{writer.plan.name}: continuing at step {engine.step}")
            if change:
                reporter.say(
                    f"{writer.plan.name}: other arithmetic {change}. The results may differ in "
                    "rounding from those of an undisturbed run"
                )
        statistics = None
        if writers[0].logs.axes.running_statistics:
            seeds = [writer.plan.seed for writer in writers]
            statistics = RunningStatisticsMeter(settings, dataset, seeds)
        return _loop(engine, writers, statistics, reporter)
    except Exception as error:
        for writer in writers:
            writer.fail(error)
        raise


def _check_engine(
    checkpoints: Sequence[Checkpoint], engine: Engine, writers: Sequence[RunWriter]
) -> None:
    """Refuse to continue with another engine: the steps before and after would not fit together.

    Raises:
        ConfigError: the checkpoint is another engine's.
    """
    for found, writer in zip(checkpoints, writers, strict=True):
        if found.engine != engine.name:
            raise ConfigError(
                f"{writer.plan.folder}: was trained with train.engine={found.engine}, and would "
                f"continue with {engine.name}.\n"
                f"Set train.engine={found.engine}, or use --out DIR."
            )


def _loop(
    engine: Engine,
    writers: Sequence[RunWriter],
    statistics: RunningStatisticsMeter | None,
    reporter: Reporter,
) -> Outcome:
    settings, stack, block = writers[0].plan.settings, Stack(writers), 1
    train, compared_every = settings.train, settings.record.statistics_every
    while engine.step < train.steps:
        if statistics is not None and is_due(engine.step, compared_every):
            stack.compare_statistics(statistics, engine)
        ends = (
            engine.step + block,
            next_due(engine.step, train.checkpoint_every),
            next_due(engine.step, compared_every),
            train.steps,
        )
        began = time.monotonic()
        stack.append(engine.advance(int(min(ends)) - engine.step))
        block = _next_block(block, time.monotonic() - began)
        stopping = reporter.stop()
        if stopping or _checkpoint_due(engine.step, train):
            stack.commit(engine)
        for writer in stack.alive.values():
            if writer.beat(engine.step):
                _tell(writer, engine, reporter)
        if stopping and engine.step < train.steps:
            for writer in stack.alive.values():
                writer.interrupt()
            return "interrupted"
    if statistics is not None:
        stack.compare_statistics(statistics, engine)
    stack.finish(engine)
    for writer in stack.alive.values():
        _tell(writer, engine, reporter)
    return "done"


def _checkpoint_due(step: int, train: TrainConfig) -> bool:
    return step % train.checkpoint_every == 0 or step == train.steps


def _tell(writer: RunWriter, engine: Engine, reporter: Reporter) -> None:
    reporter.progress(writer.plan, engine.step, writer.last_loss, writer.last_accuracy)


def _next_block(block: int, seconds: float) -> int:
    """How many steps to make at once, so that they take about `BLOCK_SECONDS`."""
    if seconds > BLOCK_SECONDS:
        return max(block // 2, 1)
    return block * 2 if seconds < BLOCK_SECONDS / 2 else block
