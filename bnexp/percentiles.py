"""Exact percentiles of stacked pre-activations, unit by unit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp.backend import Array, Backend


class Percentiles:
    """Percentiles over the examples of a batch, by numpy's default (linear) method.

    For m examples in ascending order x_0 .. x_(m-1), the q-th percentile is the linear
    interpolation of x at the position h = q / 100 * (m - 1): equal to
    `numpy.percentile(x, q, method="linear")`, rounded to float32 (a test holds it bit by bit).
    Units are never pooled. Two steps, so that only the first is done while training.

    Args:
        q: percentiles, each in [0, 100].
        examples: m.
    """

    def __init__(self, q: Sequence[float], examples: int) -> None:
        position = np.asarray(q, np.float64) / 100 * (examples - 1)
        low = np.floor(position).astype(np.int64)
        self.rows = np.concatenate([low, np.minimum(low + 1, examples - 1)])
        self.fraction = (position - low)[:, None]

    def select(self, backend: Backend, values: Array) -> Array:
        """The order statistics below and above each position: (S, m, U) to (S, 2 * len(q), U)."""
        return backend.sort(values, 1)[:, self.rows]

    def interpolate(self, selected: NDArray[Any]) -> NDArray[np.float32]:
        """The percentiles: (..., 2 * len(q), U), as selected, to (..., len(q), U)."""
        low, high = np.split(selected.astype(np.float64), 2, axis=-2)
        span = high - low
        # Two forms of one line, as in numpy: each is exact at its own end.
        from_low, from_high = low + span * self.fraction, high - span * (1 - self.fraction)
        return np.where(self.fraction < 0.5, from_low, from_high).astype(np.float32)
