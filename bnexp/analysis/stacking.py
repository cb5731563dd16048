"""The logs of several seeds as one array, read from the disk in parts."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class StackedRows:
    """The logs of several seeds as one array (rows, seeds, ...), read from the disk in parts.

    It is indexed like an array by rows (a number, a slice, or an array of positions), then seeds (a
    number or a slice), then the rest. Only what is asked for is read, and nothing of it stays
    mapped in memory.

    Args:
        logs: the rows (rows, ...) of each seed, memory-mapped.
        rows: how many of them are used; all have as many.
    """

    def __init__(self, logs: Sequence[NDArray[np.float32]], rows: int) -> None:
        self._logs = [_Remapped(log) for log in logs]
        self.shape = (rows, len(logs), *logs[0].shape[1:])
        self.dtype = logs[0].dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        keys = list(key) if isinstance(key, tuple) else [key]
        # `Ellipsis in keys` would compare it with an array of positions, element by element.
        for at in [i for i, each in enumerate(keys) if each is Ellipsis]:
            keys[at : at + 1] = [slice(None)] * (self.ndim - len(keys) + 1)
        rows, seeds, *rest = [*keys, slice(None)][: max(len(keys), 2)]
        if isinstance(rows, slice):
            rows = slice(*rows.indices(len(self)))
            rows = slice(rows.start, rows.stop if rows.stop >= 0 else None, rows.step)
        elif isinstance(rows, int | np.integer):
            rows = range(len(self))[rows]
        chosen = self._logs[seeds]
        if not isinstance(chosen, list):
            return np.asarray(chosen.read((rows, *rest)))
        parts = [log.read((rows, *rest)) for log in chosen]
        return np.stack(parts, axis=0 if isinstance(rows, int) else 1)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype, copy=bool(copy))


Rows = StackedRows | NDArray[np.float32]
"""Rows that are indexed like an array: read from files, or in memory."""


class _Remapped:
    """A memory-mapped array that is mapped anew for each part, so that it takes no memory."""

    def __init__(self, array: NDArray[np.float32]) -> None:
        self._array: NDArray[np.float32] | None = array
        if isinstance(array, np.memmap):
            self._again = (array.filename, array.dtype, "r", array.offset, array.shape)
            self._array = None

    def read(self, key: Any) -> NDArray[np.float32]:
        if self._array is not None:
            return np.array(self._array[key])
        return np.array(np.memmap(*self._again)[key])  # type: ignore[call-overload]


def first_steps(
    logs: Sequence[NDArray[np.float32]], every: int, ends: Sequence[int]
) -> NDArray[np.int64]:
    """The steps (rows,) of those rows that belong to the same steps in the logs of all seeds.

    They are the first rows of each log: row r is that of step r * every. The last row of the probe
    is the final network's, at whatever step a run ends. Where a run ended sooner than the others,
    they have a row of a later step in that place, and it is left out.

    Args:
        logs: the rows (rows, ...) of each seed.
        every: steps between two rows.
        ends: how many steps each seed has made.
    """
    steps = np.arange(min(map(len, logs)), dtype=np.int64) * every
    if len({*ends}) > 1:
        steps = steps[steps <= min(ends)]
    return np.minimum(steps, min(ends))


def common_rows(
    steps: Sequence[NDArray[np.int64]],
) -> tuple[NDArray[np.int64], list[NDArray[np.intp]]]:
    """The steps at which every one of several logs has a row.

    Args:
        steps: of the rows of each log, ascending.

    Returns:
        The common steps (rows,), and for each log the positions (rows,) of its rows at these steps.
    """
    if all(np.array_equal(steps[0], each) for each in steps):  # nearly always
        return steps[0], [np.arange(len(steps[0])) for _ in steps]
    common = functools.reduce(np.intersect1d, steps)
    return common, [np.searchsorted(each, common) for each in steps]


def spaced_rows(total: int, wanted: int) -> NDArray[np.int64]:
    """At most so many of the rows 0 .. total - 1: the first, the last, and more early ones.

    Curves are steepest in early training. Of n rows, row k is that at (k / (n - 1))^1.5 of the
    whole.
    """
    places = np.linspace(0, 1, min(wanted, total)) ** 1.5 * (total - 1)
    return np.unique(np.round(places).astype(np.int64))
