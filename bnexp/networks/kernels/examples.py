"""The examples of a data set as the kernels read them: dense, or their nonzero features alone."""

import numpy as np

from bnexp.data.datasets import Dataset
from bnexp.networks.kernels.layout import Array, Examples
from bnexp.networks.kernels.sparse import count_nonzero, keep_nonzero

# A row of weights that is added because of a nonzero feature costs about three times what it costs
# in a dense product, whose rows are used by many examples while they are in the nearest cache.
SPARSE = 0.3


def examples_of(dataset: Dataset) -> tuple[Examples, Examples]:
    """The training and the test set; sparse if less than `SPARSE` of the training set is nonzero.

    Both forms give the same bits: a term that the sparse products leave out is a product with 0.
    """
    pointers, columns, values = _nonzero(dataset.train_x)
    sparse = len(values) < SPARSE * dataset.train_x.size
    if not sparse:
        return _dense(dataset.train_x, dataset.train_y), _dense(dataset.test_x, dataset.test_y)
    return (
        sparse_examples(pointers, columns, values, dataset.train_y),
        sparse_examples(*_nonzero(dataset.test_x), dataset.test_y),
    )


def _nonzero(dense: Array) -> tuple[Array, Array, Array]:
    """The pointers, columns and values of `Examples`."""
    dense = np.ascontiguousarray(dense, np.float32)
    pointers = np.zeros(len(dense) + 1, np.int64)
    count_nonzero(dense, pointers)
    columns, values = np.empty(pointers[-1], np.int32), np.empty(pointers[-1], np.float32)
    keep_nonzero(dense, columns, values)
    return pointers, columns, values


def sparse_examples(pointers: Array, columns: Array, values: Array, y: Array) -> Examples:
    """Examples as their nonzero features; see `layout.Examples`."""
    nothing, binary = np.empty((0, 0), np.float32), bool((values == 1).all())
    kept = values[:0] if binary else values
    return Examples(True, binary, nothing, pointers, columns, kept, _labels(y))


def _dense(x: Array, y: Array) -> Examples:
    integers, numbers = np.empty(0, np.int32), np.empty(0, np.float32)
    dense = np.ascontiguousarray(x, np.float32)
    return Examples(False, False, dense, np.empty(0, np.int64), integers, numbers, _labels(y))


def _labels(y: Array) -> Array:
    return np.ascontiguousarray(y, np.int64)
