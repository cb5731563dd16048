"""The metrics of a run that somebody else trains: losses by the step, and what is measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bnexp.errors import ConfigError
from bnexp.files.status import PENDING

Number = float | Tensor


@dataclass(frozen=True)
class _Row:
    step: int
    losses: int  # how many of the losses that are held come before this row
    measured: Mapping[str, Number]


class MetricsCollector:
    """Collects rows of `metrics.csv`; numbers stay on their device until `take`.

    A row tells of the network right before the forward pass of its step. Whatever was logged since
    the forward pass before belongs to it. So it does not matter whether something is logged before
    or after the optimizer's step.

    Once something was measured, there are rows of measurements alone, so that no curve has gaps.

    Args:
        every: steps between two rows, as long as losses are all that is given.
        skip: a step whose row is written already.
        measured: whether there are rows of measurements already.
        pending: what `pending` returned in the recording that goes on.
    """

    def __init__(
        self,
        every: int,
        skip: int | None = None,
        *,
        measured: bool = False,
        pending: Mapping[str, str] | None = None,
    ) -> None:
        self._every, self._skip = every, skip
        self._rows: list[_Row] = []
        self._losses: list[Number] = []
        self._settled = 0  # of the losses that are held, those that belong to a row
        held = {key: PENDING[key](text) for key, text in (pending or {}).items()}
        # Of the losses that were taken since the last row.
        self._total, self._count = held.pop("loss_sum", 0.0), int(held.pop("losses", 0))
        self._measured: dict[str, Number] = {**held}
        self._ever_measured = measured or bool(held)

    def add_loss(self, loss: Number) -> None:
        """The mean loss of a minibatch."""
        self._losses.append(_number("train_loss", loss))

    def measure(self, name: str, value: Number) -> None:
        """A number that was measured of the network as it is now."""
        self._measured[name] = _number(name, value)
        self._ever_measured = True

    def settle(self, step: int, *, last: bool = False) -> None:
        """Make the row of this step, if it is due and was not made before.

        The last forward pass may be one that no step followed. What was logged after it belongs to
        the row of the same step.
        """
        fresh = len(self._losses) > self._settled or self._count > 0
        of_losses = last or (fresh and step % self._every == 0)
        due = bool(self._measured) or step == 0 or (of_losses and not self._ever_measured)
        held = self._rows[-1] if self._rows and self._rows[-1].step == step else None
        if due and held is not None:
            self._rows[-1] = replace(held, measured={**held.measured, **self._measured})
        elif due and step != self._skip:
            self._rows.append(_Row(step, len(self._losses), self._measured))
            self._settled, self._skip = len(self._losses), step
        self._measured = {}

    def take(self) -> list[tuple[float, ...]]:
        """The rows, as `METRICS_COLUMNS` has them, which are then forgotten."""
        losses, start = _on_host(self._losses), 0
        taken = list[tuple[float, ...]]()
        for row in self._rows:
            self._add(losses[start : row.losses])
            start = row.losses
            mean = self._total / self._count if self._count else math.nan
            accuracy, loss = _on_host(
                [row.measured.get(key, math.nan) for key in ("test_accuracy", "test_loss")]
            )
            taken.append((row.step, mean, accuracy, loss, math.nan, math.nan))
            self._total, self._count = 0.0, 0
        self._add(losses[start:])
        self._rows, self._losses, self._settled = [], [], 0
        return taken

    def pending(self) -> dict[str, str]:
        """What waits for its row after `take`, as `Status.pending` has it."""
        found = dict(zip(self._measured, _on_host([*self._measured.values()]), strict=True))
        losses = {"losses": self._count, "loss_sum": self._total} if self._count else {}
        return {key: repr(value) for key, value in {**losses, **found}.items()}

    def _add(self, losses: Sequence[float]) -> None:
        # One at a time: `sum` may add in another order, which would depend on the blocks.
        for loss in losses:
            self._total, self._count = self._total + loss, self._count + 1


def _number(name: str, value: Number) -> Number:
    """The value without its graph.

    Raises:
        ConfigError: it is no single number.
    """
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ConfigError(f"record: {name} has shape {tuple(value.shape)}; give one number")
        return value.detach().reshape(()).clone()
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"record: {name} is {value!r}; give a number or a tensor") from None


def _on_host(values: Sequence[Number]) -> list[float]:
    """The numbers as floats; tensors of one device are copied at once."""
    found = [value if isinstance(value, float) else math.nan for value in values]
    by_device: dict[torch.device, list[int]] = {}
    for place, value in enumerate(values):
        if isinstance(value, Tensor):
            by_device.setdefault(value.device, []).append(place)
    for places in by_device.values():
        tensors = [value for value in (values[i] for i in places) if isinstance(value, Tensor)]
        for place, number in zip(places, torch.stack(tensors).tolist(), strict=True):
            found[place] = float(number)
    return found
