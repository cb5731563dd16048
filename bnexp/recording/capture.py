"""What is taken of the layers in one forward pass: the order statistics that percentiles need.

A hook on each layer sorts the values of the moment, since the module behind it may change them in
place, and keeps a few numbers for each unit. On a GPU they stay there, so that nothing waits for
the host; `SelectedRows.take` copies those of many steps at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bnexp.errors import ConfigError
from bnexp.recording.layers import UnitAxis, examples_and_units, tensor_of, unit_axis
from bnexp.recording.percentiles import Percentiles
from bnexp.recording.probe import probe_is_running

Side = Literal["outputs", "inputs"]
Population = Literal["minibatch", "probe"]


@dataclass(frozen=True)
class Selected:
    """The order statistics of one layer in one forward pass."""

    percentiles: Percentiles  # what turns them into percentiles
    statistics: Tensor  # (2 q + 1, units), on the layer's device


@dataclass(frozen=True)
class Seen:
    """What the layers of one population look like, from the first forward pass on."""

    examples: int  # of the first layer: the size of its batch
    positions: bool  # whether a layer has several values of a unit for each example
    units: tuple[int, ...]  # of each layer


@dataclass
class SelectedRows:
    """The rows of one log since the last `take`."""

    rows: list[list[Selected]] = field(default_factory=list)

    @property
    def numbers(self) -> int:
        """How many numbers are held."""
        return len(self.rows) and len(self.rows) * sum(s.statistics.numel() for s in self.rows[0])

    def take(self) -> NDArray[np.float32]:
        """The percentiles (rows, q, units) of all rows, which are then forgotten."""
        layers = [_interpolate(layer) for layer in zip(*self.rows, strict=True)]
        self.rows = []
        return np.concatenate(layers, axis=2)


def _interpolate(rows: Sequence[Selected]) -> NDArray[np.float32]:
    """The percentiles (rows, q, units) of one layer."""
    statistics = torch.stack([row.statistics for row in rows]).cpu().numpy()
    if all(row.percentiles is rows[0].percentiles for row in rows):
        return rows[0].percentiles.interpolate(statistics)
    pairs = zip(rows, statistics, strict=True)
    return np.stack([row.percentiles.interpolate(each) for row, each in pairs])


class Capture:
    """Hooks on layers, which take what one forward pass gives while `listen` is in force.

    Args:
        layers: by name.
        q: the percentiles.
        side: what is recorded of a layer.
        axis: which axis the units are on; see `layers.unit_axis`.
        varying: whether the number of examples, or of positions, may change.
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        q: Sequence[float],
        side: Side,
        axis: UnitAxis,
        *,
        varying: bool,
    ) -> None:
        self.layers, self._q, self._side = layers, tuple(q), side
        self._axis, self._varying = axis, varying
        self.seen: dict[Population, Seen] = {}
        self._shapes: dict[Population, Mapping[str, tuple[int, ...]]] = {}  # of the first pass
        self._percentiles: dict[int, Percentiles] = {}
        self._taken: dict[str, Selected] = {}
        self._given: dict[str, tuple[int, ...]] = {}  # the shapes of what was taken
        self._listening: tuple[Population, int] | None = None
        self._handles: list[RemovableHandle] = []

    def attach(self) -> None:
        """Put the hooks on the layers."""
        for name, module in self.layers.items():
            self._handles.append(self._hook(name, module))

    def _hook(self, name: str, module: nn.Module) -> RemovableHandle:
        def take(_: nn.Module, *values: Any) -> None:
            if self._is_mine():
                self._take(name, module, values)

        hook = uncompiled(take)
        if self._side == "inputs":
            return module.register_forward_pre_hook(hook, with_kwargs=True)
        return module.register_forward_hook(hook)

    def _is_mine(self) -> bool:
        """Whether this forward pass is looked at, and not the probe of another recorder."""
        listening = self._listening
        return listening is not None and (listening[0] == "probe") == probe_is_running()

    def detach(self) -> None:
        """Remove the hooks."""
        while self._handles:
            self._handles.pop().remove()

    def listen(self, population: Population, step: int) -> None:
        """Take what the layers give from now on."""
        self.ignore()
        self._listening = population, step

    def ignore(self) -> None:
        """Take nothing any more, and forget what a pass that failed has left."""
        self._taken, self._given, self._listening = {}, {}, None

    def take(self) -> list[Selected]:
        """What all layers gave since `listen`.

        Raises:
            ConfigError: a layer gave nothing.
        """
        taken, given, listening = self._taken, self._given, self._listening
        self.ignore()
        missing = [name for name in self.layers if name not in taken]
        if listening is None or missing:
            at = "" if listening is None else f" at step {listening[1]}"
            raise ConfigError(
                f"record: layer '{missing[0]}' was not called in the forward pass{at}; leave it "
                "out of layers, or call the module itself and not its parts"
            )
        population, _ = listening
        shapes = self._shapes.setdefault(population, given)
        if population not in self.seen:
            units = tuple(taken[name].statistics.shape[1] for name in self.layers)
            positions = any(len(shape) > 2 for shape in shapes.values())
            first = next(iter(self.layers))
            self.seen[population] = Seen(shapes[first][0], positions, units)
        return [taken[name] for name in self.layers]

    def _take(self, name: str, module: nn.Module, values: Sequence[Any]) -> None:
        if self._listening is None:
            return
        population, step = self._listening
        if name in self._taken:
            raise ConfigError(
                f"record: layer '{name}' is called more than once in the forward pass at step "
                f"{step}; give each call a module of its own"
            )
        # A pre-hook is given (args, kwargs), a hook (inputs, output).
        value = values[1] if self._side == "outputs" else (*values[0], *values[1].values())
        tensor = tensor_of(name, value)
        self._check_shape(name, population, tuple(tensor.shape), step)
        axis = unit_axis(module, tensor, self._axis)
        columns = examples_and_units(tensor, axis)
        percentiles = self._percentiles_of(len(columns))
        if columns.device.type == "cpu":
            # NumPy sorts several times faster than torch on a CPU.
            statistics = torch.from_numpy(percentiles.select(columns.numpy()))
        else:
            statistics = percentiles.select_torch(columns)
        self._taken[name] = Selected(percentiles, statistics)

    def _percentiles_of(self, examples: int) -> Percentiles:
        if examples not in self._percentiles:
            self._percentiles[examples] = Percentiles(self._q, examples)
        return self._percentiles[examples]

    def _check_shape(
        self, name: str, population: Population, shape: tuple[int, ...], step: int
    ) -> None:
        self._given[name] = shape
        before = self._shapes.get(population, self._given)[name]
        if shape != before and not self._varying:
            raise ConfigError(
                f"record: layer '{name}' has shape {shape} at step {step}, and had {before} "
                "before; use drop_last=True in the DataLoader, or record(..., varying=True)"
            )


def uncompiled(hook: Any) -> Any:
    """The hook as torch.compile calls it: outside of the compiled code, at the same place."""
    disable: Any = torch.compiler.disable  # untyped
    return disable(hook, reason="bnexp.record looks at a layer's values here")
