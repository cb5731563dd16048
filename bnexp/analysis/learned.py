"""Which networks learned something: a drift in final spreads means nothing of the others."""

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis.drift import UnitMeasures, unit_measures, window_steps
from bnexp.analysis.records import MetricsLog, PercentileLog
from bnexp.analysis.variants import VariantResults

# A network that ends below this accuracy has not left its plateau. Its units have hardly any
# spread, so a drift in units of the final spread would be a large number that says nothing.
LEARNED = 0.2
# A network that gives each of the 10 classes of a data set the same probability has this loss. One
# that ends above it, whatever its accuracy, has diverged, and its units saturate where they are.
CHANCE_LOSS = float(np.log(10))


def drift_of(
    results: VariantResults, log: PercentileLog, units: slice, seeds: slice = slice(None)
) -> UnitMeasures:
    """The drift of units, NaN for seeds that learned nothing, of which it would mean nothing.

    Where a network ends and how wide is known all the same.

    Args:
        results: the variant's.
        log: its percentiles, with at least one row.
        units: where they stand in the log.
        seeds: the positions of those that are asked about.
    """
    found = unit_measures(log.steps, log.values[:, seeds, :, units], log.percentiles)
    metrics = results.metrics
    if not len(metrics.steps):
        return found
    stuck = metrics.test_accuracy[-1] < LEARNED  # not so where no accuracy was logged
    if not results.is_recorded:  # the loss of a model of the user's own may be any
        stuck |= metrics.train_loss[last_rows(metrics)].mean(axis=0) > CHANCE_LOSS
    for name, values in found.by_name().items():  # which are the arrays just made, no copies
        if name != "end_width":
            values[stuck[seeds]] = np.nan
    return found


def last_rows(metrics: MetricsLog) -> NDArray[np.bool]:
    """The rows of the last window, over which accuracy and loss are averaged."""
    return np.asarray(metrics.steps > metrics.steps[-1] - window_steps(int(metrics.steps[-1])))
