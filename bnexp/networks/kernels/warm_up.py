"""Compiling everything that a run needs, before the run: once on a machine, for each dtype.

The options of a run are numbers that the kernels read, not types. So one call of each entry with
the smallest network compiles what all networks need.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bnexp.config import ModelConfig, TrainConfig
from bnexp.networks.kernels import sparse, step
from bnexp.networks.kernels.compiler import is_cached
from bnexp.networks.kernels.examples import sparse_examples
from bnexp.networks.kernels.layout import buffers_for, layers_of, options_of, parameters_for
from bnexp.networks.kernels.percentiles import percentile_table, sorting_size
from bnexp.recording.percentiles import Percentiles


def compile_kernels(dtype: str) -> None:
    """Compile all entries for a dtype, or load them from the cache. It takes some seconds, or none.

    Args:
        dtype: "float32" or "float64", as in `train.dtype`.
    """
    for function, arguments in calls(dtype):
        function(*arguments)


def is_compiled(dtype: str) -> bool:
    """Whether `compile_kernels` will find everything in the cache."""
    return all(is_cached(function, *arguments) for function, arguments in calls(dtype))


def calls(name: str) -> list[tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Each entry with arguments of the types that the engine calls it with."""
    dtype, batch = np.dtype(name), 2
    layers, total = layers_of((1, 1, 1))
    options = options_of(ModelConfig(hidden=(1,)), TrainConfig(), dtype)
    parameters = parameters_for(layers, total, options, dtype)
    x, columns, values = np.ones((batch, 1), np.float32), np.zeros(2, np.int32), np.ones(2)
    pointers, labels = np.arange(batch + 1), np.zeros(batch, np.int64)
    values = values.astype(np.float32)
    examples = sparse_examples(pointers, columns, values, labels)
    table = percentile_table(Percentiles((50.0,), batch))
    buffers = buffers_for(
        layers, batch, dtype, examples, sorting=sorting_size(batch), backward=True
    )
    network = layers, options, parameters, buffers, examples
    index, order, out = (
        np.arange(batch),
        np.arange(batch)[np.newaxis],
        np.empty((1, 1, 1), np.float32),
    )
    recorded = np.zeros(1, np.int64)
    return [
        (sparse.count_nonzero, (x, pointers.copy())),
        (sparse.keep_nonzero, (x, columns, values)),
        (step.train, (*network, order, 0, True, table, 1, recorded, out, np.zeros(2))),
        (step.observe, (*network, index, True, table, out[0], np.zeros(2))),
    ]
