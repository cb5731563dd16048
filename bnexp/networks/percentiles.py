"""Exact percentiles of stacked pre-activations, unit by unit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray

from bnexp.networks.backend import Array, Backend


class Percentiles:
    """Percentiles over the examples of a batch, by numpy's default (linear) method.

    For m examples in ascending order x_0 .. x_(m-1), the q-th percentile is the linear
    interpolation of x at the position h = q / 100 * (m - 1): equal to
    `numpy.percentile(x, q, method="linear")`, rounded to float32 (a test holds it bit by bit).
    Units are never pooled. Two steps, so that only the first is done while training.

    Args:
        q: percentiles, each in [0, 100].
        examples: m.
        backend: where the pre-activations are.
    """

    def __init__(self, q: Sequence[float], examples: int, backend: Backend) -> None:
        position = np.asarray(q, np.float64) / 100 * (examples - 1)
        low = np.floor(position).astype(np.int64)
        rows = np.concatenate([low, np.minimum(low + 1, examples - 1)])
        self.backend, self.rows = backend, backend.asarray(torch.from_numpy(rows))
        self.fraction = position - low

    def select(self, columns: Array) -> Array:
        """The order statistics below and above each position: (S, U, m) to (S, U, 2 * len(q)).

        `columns` may be sorted in place. The examples come last, where sorting is fastest.
        """
        return self.backend.sort(columns)[..., self.rows]

    def interpolate(self, selected: NDArray[Any]) -> NDArray[np.float32]:
        """The percentiles: (..., U, 2 * len(q)), as selected, to (..., len(q), U)."""
        count = len(self.fraction)
        shape = (*selected.shape[:-2], count, selected.shape[-2])
        percentiles = np.empty(shape, np.float32)
        for index, fraction in enumerate(self.fraction):
            low = selected[..., index].astype(np.float64)
            high = selected[..., count + index].astype(np.float64)
            # Two forms of one line, as in numpy: each is exact at its own end.
            near_low = fraction < 0.5
            start, share = (low, fraction) if near_low else (high, fraction - 1)
            percentiles[..., index, :] = start + (high - low) * share
        return percentiles
