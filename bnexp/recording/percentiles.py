"""Exact percentiles of pre-activations, unit by unit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


class Percentiles:
    """Percentiles over the examples of a batch, by numpy's default (linear) method.

    For m examples in ascending order x_0 .. x_(m-1), the q-th percentile is the linear
    interpolation of x at the position h = q / 100 * (m - 1): with i = floor(h) and t = h - i,

        x_i + t * (x_(i+1) - x_i).

    The result equals `numpy.percentile(x.astype(float64), q)` rounded to float32, bit for bit. So
    do the special cases: a unit with a NaN among its examples has NaN for every percentile.

    The work has two parts, so that a GPU need only do the first while it trains: `select` or
    `select_torch` takes the order statistics x_i and x_(i+1) of every percentile, and `interpolate`
    makes percentiles of them later, for many rows at once.

    Args:
        q: the percentiles, each in [0, 100].
        examples: m, at least 1.
    """

    def __init__(self, q: Sequence[float], examples: int) -> None:
        position = np.asarray(q, np.float64) / 100 * (examples - 1)
        self.examples = examples
        self.low = np.floor(position).astype(np.int64)
        self.high = np.minimum(self.low + 1, examples - 1)
        self.fraction: NDArray[np.float64] = position - self.low
        # Sorting puts NaN last, so the largest order statistic says whether there is one.
        self.rows = np.concatenate([self.low, self.high, [examples - 1]])
        self._rows_on: dict[torch.device, torch.Tensor] = {}

    def select(self, values: NDArray[Any]) -> NDArray[Any]:
        """The order statistics that the percentiles need.

        Args:
            values: pre-activations (..., m, units).

        Returns:
            (..., 2 * len(q) + 1, units): x_i of each percentile, x_(i+1) of each, and x_(m-1).
        """
        # Sorting is several times faster along the axis that is contiguous in memory. A copy is
        # made in any case: of a single unit the columns would be the caller's own memory.
        columns = np.array(values.swapaxes(-1, -2), order="C")
        columns.sort(axis=-1)
        return columns[..., self.rows].swapaxes(-1, -2)

    def select_torch(self, values: "torch.Tensor") -> "torch.Tensor":
        """The same as `select` for a tensor (..., m, units), on its own device."""
        import torch

        columns = values.detach().transpose(-1, -2).contiguous()
        # Copied to the device once: a GPU would wait for a copy at every step.
        rows = self._rows_on.get(values.device)
        if rows is None:
            rows = self._rows_on[values.device] = torch.from_numpy(self.rows).to(values.device)
        return torch.sort(columns).values.index_select(-1, rows).transpose(-1, -2)

    def interpolate(self, selected: NDArray[Any]) -> NDArray[np.float32]:
        """The percentiles (..., len(q), units) of what `select` returned."""
        count = len(self.fraction)
        low = selected[..., :count, :].astype(np.float64)
        high = selected[..., count : 2 * count, :].astype(np.float64)
        fraction = self.fraction[:, np.newaxis]
        with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, as in numpy
            difference = high - low
            # Two forms of one line, as in numpy: each is exact at its own end.
            percentiles = np.where(
                fraction < 0.5, low + difference * fraction, high + difference * (fraction - 1)
            )
            percentiles = np.where(np.isnan(selected[..., -1:, :]), np.nan, percentiles)
            return percentiles.astype(np.float32)

    def of(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """The percentiles (..., len(q), units) of pre-activations (..., m, units)."""
        return self.interpolate(self.select(values))
