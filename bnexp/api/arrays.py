"""The logs of an experiment as labelled arrays, which are read from the disk when they are used."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from bnexp.analysis.records import PercentileLog
from bnexp.analysis.stacking import Rows
from bnexp.errors import ConfigError

AXES = ("variant", "seed", "step", "percentile", "unit")


class _Logs(BackendArray):
    """The logs of several variants as one array (variant, seed, step, percentile, unit).

    Args:
        logs: the values (rows, seeds, percentiles, units) of each variant.
        seeds: for each variant, where the common seeds stand among its own.
        rows: how many rows all have.
    """

    def __init__(self, logs: Sequence[Rows], seeds: Sequence[Sequence[int]], rows: int) -> None:
        self._logs, self._seeds = logs, seeds
        self.shape = (len(logs), len(seeds[0]), rows, *logs[0].shape[2:])
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[np.float32]:
        found: NDArray[np.float32] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )
        return found

    def _read(self, key: tuple[int | slice, ...]) -> NDArray[np.float32]:
        """What is asked for by numbers and slices; only this is read."""
        slices = [slice(k, k + 1) if isinstance(k, int) else k for k in map(_plain, key)]
        variants, seeds, rows, *rest = slices
        parts = []
        for log, positions in zip(self._logs[variants], self._seeds[variants], strict=True):
            chosen = [log[rows, position, ...] for position in positions[seeds]]
            parts.append(np.stack([each[:, *rest] for each in chosen]))
        whole = np.stack(parts)
        drop = tuple(axis for axis, k in enumerate(map(_plain, key)) if isinstance(k, int))
        return np.asarray(whole.squeeze(drop))


def _plain(key: int | np.integer[Any] | slice) -> int | slice:
    return key if isinstance(key, slice) else int(key)


def labelled(logs: Mapping[str, PercentileLog], name: str) -> xr.DataArray:
    """The logs of the variants of an experiment as one array.

    Args:
        logs: by variant; one or more.
        name: of the array.

    Returns:
        An array (variant, seed, step, percentile, unit), with the seeds and the rows that all
        variants have. A unit is numbered through all layers; the coordinates `layer`, counted from
        1, and `index`, counted from 0 in its layer, say which it is. Of a model that
        `bnexp.record` watched, `layer_name` is the module's name. All of them select, one after
        another: `array.sel(layer=3).sel(index=7)`.

    Raises:
        ConfigError: the variants did not record the same units and percentiles.
    """
    first, *others = logs.values()
    for variant, log in logs.items():
        same = log.percentiles == first.percentiles and np.array_equal(log.layer, first.layer)
        if not same:
            raise ConfigError(
                f"{variant} recorded other units or percentiles than {next(iter(logs))}; take "
                f"them one by one, as experiment.sel({variant!r}).{name}"
            )
    rows = min(len(log.steps) for log in logs.values())
    seeds = [seed for seed in first.seeds if all(seed in log.seeds for log in others)]
    positions = [[log.seeds.index(seed) for seed in seeds] for log in logs.values()]
    names = [first.names[n - 1] if first.names else "" for n in first.layer]
    array = _Logs([log.values for log in logs.values()], positions, rows)
    labelled_units = ["layer", "index", *(["layer_name"] if first.names else [])]
    found = xr.DataArray(
        indexing.LazilyIndexedArray(array),
        dims=AXES,
        coords={
            "variant": list(logs),
            "seed": seeds,
            "step": first.steps[:rows],
            "percentile": list(first.percentiles),
            "unit": np.arange(len(first.layer)),
            "layer": ("unit", first.layer),
            "index": ("unit", first.unit),
            **({"layer_name": ("unit", names)} if first.names else {}),
        },
        name=name,
        attrs={"population": first.population, "examples": first.examples},
    )
    for each in labelled_units:
        found = found.set_xindex(each)
    return found
