"""What an engine is, what it records, and the rule that chooses one.

An engine trains networks: it holds their parameters, makes updates, and returns what the `record`
section asks for. It writes no files. Both engines do the same in the same order. At step t, with
the parameters before update t:

1. If a probe is due, the percentiles of all hidden layers over the probe's examples, in training
   mode but without touching the running statistics; and gamma and beta.
2. If an evaluation is due, the mean training loss of the steps since the evaluation before, and
   accuracy and loss on the test set in evaluation mode.
3. The forward pass on minibatch t; its percentiles, if they are due; its loss.
4. The backward pass, the running statistics, the optimizer.

The minibatch is a function of (seed, step), and the training loss a running sum, so nothing that
an engine computes depends on how the steps are cut into calls of `advance`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bnexp.config import KERNEL_NORMS, RecordConfig, Settings, recorded_layers
from bnexp.data.streams import batch_order
from bnexp.errors import ConfigError
from bnexp.files.run_folder import GradientShiftRow, MetricsRow

EngineName = Literal["kernels", "torch"]
State = dict[str, NDArray[Any]]


class Failure(NamedTuple):
    """Why a run cannot go on: nothing of this step or a later one was recorded."""

    step: int
    reason: str

    def __str__(self) -> str:
        return f"{self.reason} at step {self.step}"


@dataclass
class Rows:
    """What a block of steps recorded of one run."""

    minibatch: NDArray[np.float32]  # (rows, percentiles, units of the recorded layers)
    probe: NDArray[np.float32]  # (rows, percentiles, units of all hidden layers)
    norm_parameters: NDArray[np.float32]  # (rows of the probe, 2, the same units); 0 without norm
    metrics: list[MetricsRow] = field(default_factory=list)
    gradient_shift: list[GradientShiftRow] = field(default_factory=list)
    failure: Failure | None = None


class Engine(Protocol):
    """Trains a stack of runs that share their settings; the kernels engine's stack is one run."""

    @property
    def name(self) -> EngineName:
        """As `train.engine` and the checkpoint call it."""

    @property
    def description(self) -> str:
        """What computes, with versions: for `status.json`."""

    @property
    def step(self) -> int:
        """How many updates have been made."""

    def advance(self, steps: int) -> list[Rows]:
        """Make so many updates; what they recorded, for each run.

        A run that has failed records nothing more, and its `failure` stays.
        """

    def finish(self) -> list[Rows]:
        """One row each of probe, norm parameters and metrics, for the networks as they are now.

        Nothing changes, so that training can go on as if there had been no such call.
        """

    def state(self) -> list[State]:
        """All that the rest of each run depends on, but the step: arrays that are copies."""

    def load_state(self, step: int, states: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Continue from what `state` returned after `step` updates."""

    def state_dicts(self) -> list[State]:
        """Each run's parameters and running statistics, for `mlp.mlp(...).load_state_dict`."""


def is_due(step: int, every: int | None) -> bool:
    """Whether something that happens at every so many steps, from step 0 on, happens at `step`."""
    return every is not None and step % every == 0


def next_due(step: int, every: int | None) -> float:
    """The first step after `step` at which it happens."""
    return float("inf") if every is None else (step // every + 1) * every


def count_due(first: int, end: int, every: int) -> int:
    """At how many of the steps first .. end - 1 it happens."""
    return -(-end // every) - -(-first // every)


class Minibatches:
    """The indices of each step's training examples for one seed."""

    def __init__(self, examples: int, batch_size: int, seed: int) -> None:
        self.examples, self.batch_size, self.seed = examples, batch_size, seed
        self.per_epoch = max(examples // batch_size, 1)
        self._epoch, self._order = -1, np.empty((0, 0), np.int64)

    def block(self, step: int, end: int) -> NDArray[np.int64]:
        """The indices (steps, batch) of the steps from `step` to `end`, or to the epoch's end.

        Raises:
            ConfigError: the training set is smaller than one minibatch.
        """
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            order = batch_order(self.examples, self.batch_size, self.seed, epoch)
            self._order = np.ascontiguousarray(np.asarray(order, np.int64))
            self._epoch = epoch
        return self._order[position : position + end - step]


def empty_rows(settings: Settings, failure: Failure | None = None) -> Rows:
    """Rows of a block in which nothing was recorded."""
    hidden, q = settings.model.hidden, len(settings.record.percentiles)
    recorded = sum(hidden[layer - 1] for layer in recorded_layers(settings))
    total = sum(hidden)
    return Rows(
        np.empty((0, q, recorded), np.float32),
        np.empty((0, q, total), np.float32),
        np.empty((0, 2, total), np.float32),
        failure=failure,
    )


def joined(blocks: Sequence[Rows]) -> Rows:
    """The rows of several blocks of one run, one block after the other."""
    return Rows(
        np.concatenate([rows.minibatch for rows in blocks]),
        np.concatenate([rows.probe for rows in blocks]),
        np.concatenate([rows.norm_parameters for rows in blocks]),
        [row for rows in blocks for row in rows.metrics],
        [row for rows in blocks for row in rows.gradient_shift],
        blocks[-1].failure,
    )


def until_event(step: int, end: int, record: RecordConfig) -> int:
    """Where a block of steps that begins at `step` must end, because something else is due.

    An evaluation needs the gradient of its own step, and the gradient shift its update. So a step
    at which one of them is due is a block of its own.
    """
    if is_due(step, record.evaluate_every) or is_due(step, record.ics_every):
        return step + 1
    intervals = (record.probe_every, record.evaluate_every, record.ics_every)
    return int(min(end, *(next_due(step, every) for every in intervals)))


def numba_available() -> bool:
    """Whether Numba is installed. This is the one place that asks."""
    return find_spec("numba") is not None


def choose_engine(engine: str, device: str, settings: Settings, *, numba: bool) -> EngineName:
    """The engine that does a run's arithmetic.

    `auto` means the kernels on the CPU where Numba is installed, and torch everywhere else. The
    kernels cover every key of the `model`, `train` and `record` sections but the norms `layer` and
    `rms`; what they do not cover stands in `_obstacle`.

    Args:
        engine: `train.engine`.
        device: the device that will be used: "cpu", "cuda" or "mps".
        settings: of the run.
        numba: whether Numba is installed (`numba_available`).

    Raises:
        ConfigError: the kernels are asked for where they cannot be used.
    """
    if engine == "torch":
        return "torch"
    obstacle = _obstacle(device, settings, numba=numba)
    if obstacle is None:
        return "kernels"
    if engine == "kernels":
        raise ConfigError(f"train.engine: kernels, but {obstacle}; use train.engine=auto")
    return "torch"


def _obstacle(device: str, settings: Settings, *, numba: bool) -> str | None:
    """Why the kernels cannot train a run; `None` where they can."""
    if device != "cpu":
        return f"they run on the CPU and train.device is {device}"
    if not numba:
        return "Numba is not installed"
    if settings.model.norm not in KERNEL_NORMS:
        return f"they have no norm '{settings.model.norm}'"
    return None
