"""The logs of an experiment as labelled arrays, which are read from the disk when they are used."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from bnexp.analysis.records import PercentileLog
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.stacking import Rows, common_rows
from bnexp.errors import ConfigError, StorageError

AXES = ("variant", "seed", "step", "percentile", "unit")


class _Logs(BackendArray):
    """The logs of several variants as one array (variant, seed, step, percentile, unit).

    Args:
        logs: the values (rows, seeds, percentiles, units) of each variant.
        seeds: for each variant, where the common seeds stand among its own.
        rows: for each variant, where the rows of the common steps stand among its own.
    """

    def __init__(
        self,
        logs: Sequence[Rows],
        seeds: Sequence[Sequence[int]],
        rows: Sequence[NDArray[np.intp]],
    ) -> None:
        self._logs, self._seeds, self._rows = logs, seeds, rows
        self.shape = (len(logs), len(seeds[0]), len(rows[0]), *logs[0].shape[2:])
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
        whole = np.empty([len(range(n)[k]) for n, k in zip(self.shape, slices, strict=True)], "f4")
        of_variants = zip(
            self._logs[variants], self._seeds[variants], self._rows[variants], strict=True
        )
        for part, (log, positions, places) in zip(whole, of_variants, strict=True):
            for block, position in zip(part, positions[seeds], strict=True):
                block[:] = log[places[rows], position, *rest]
        drop = tuple(axis for axis, k in enumerate(map(_plain, key)) if isinstance(k, int))
        return np.asarray(whole.squeeze(drop))


def _plain(key: int | np.integer[Any] | slice) -> int | slice:
    return key if isinstance(key, slice) else int(key)


def _axes(log: PercentileLog) -> tuple[object, ...]:
    """What the percentiles and the units of a log are."""
    return log.percentiles, log.layer.tolist(), log.unit.tolist(), log.names


def labelled(results: ExperimentResults, name: str) -> xr.DataArray:
    """The percentiles of all variants of an experiment as one array.

    Args:
        results: the experiment.
        name: of the array: "probe", or "minibatch".

    Returns:
        An array (variant, seed, step, percentile, unit), with the seeds and the steps that all
        variants have. A unit is numbered through all layers; the coordinates `layer`, counted from
        1, and `index`, counted from 0 in its layer, say which it is. Of a model that
        `bnexp.record` watched, `layer_name` is the module's name. All of them select, one after
        another: `array.sel(layer=3).sel(index=7)`.

    Raises:
        StorageError: no variant recorded them.
        ConfigError: the variants did not record the same units and percentiles, or have no seed in
            common.
    """
    recorded = {each.name: getattr(each, name) for each in results.variants.values()}
    logs = {variant: log for variant, log in recorded.items() if log is not None}
    if not logs:
        raise StorageError(f"{results.path}: no percentiles of the {name} were recorded")
    first, *others = logs.values()
    for variant, log in logs.items():
        one_by_one = f"take them one by one, as experiment.sel({variant!r}).{name}"
        if _axes(log) != _axes(first):
            raise ConfigError(
                f"{variant} recorded other units than {next(iter(logs))}, or other layers or "
                f"percentiles; {one_by_one}"
            )
    seeds = [seed for seed in first.seeds if all(seed in log.seeds for log in others)]
    if not seeds:
        raise ConfigError(f"the variants {', '.join(logs)} have no seed in common; {one_by_one}")
    steps, rows = common_rows([log.steps for log in logs.values()])
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
            "step": steps,
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
