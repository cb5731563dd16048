"""What the runs of a variant recorded, with an axis for the seeds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnexp.analysis.stacking import Rows


@dataclass(frozen=True)
class PercentileLog:
    """The percentiles that the runs of a variant recorded over one kind of examples.

    Attributes:
        steps: (rows,).
        values: (rows, seeds, percentiles, units) float32, read when it is indexed.
        percentiles: in [0, 100], ascending.
        seeds: the second axis.
        layer: (units,): the layer of each unit, counted from 1.
        unit: (units,): its index in the layer, counted from 0.
        examples: how many the percentiles are over.
        population: which ones, in words.
        names: of the layers, from layer 1 on, where a model of the user's own was recorded.
    """

    steps: NDArray[np.int64]
    values: Rows
    percentiles: tuple[float, ...]
    seeds: tuple[int, ...]
    layer: NDArray[np.int64]
    unit: NDArray[np.int64]
    examples: int
    population: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricsLog:
    """The metrics of a variant's runs, each (rows, seeds); NaN where there is no value.

    Attributes:
        steps: (rows,): those at which every run has a row.
        seeds: the second axis.
        train_loss: mean cross-entropy of the minibatches since the row before in the run's file.
        test_accuracy: in evaluation mode.
        test_loss: mean cross-entropy, in evaluation mode.
        bias_norm: Euclidean norm of all biases of hidden layers.
        bias_gradient_norm: that of their gradient at this step.
    """

    steps: NDArray[np.int64]
    seeds: tuple[int, ...]
    train_loss: NDArray[np.float64]
    test_accuracy: NDArray[np.float64]
    test_loss: NDArray[np.float64]
    bias_norm: NDArray[np.float64]
    bias_gradient_norm: NDArray[np.float64]


@dataclass(frozen=True)
class GradientShiftLog:
    """Gradient internal covariate shift (Santurkar et al. 2018, Definition 2.1).

    Attributes:
        steps: (rows,).
        seeds: the last axis.
        layers: the middle axis, from layer 2 to the output layer.
        distance: (rows, layers, seeds): ||G - G'||.
        relative_distance: (rows, layers, seeds): ||G - G'|| / ||G||.
        cosine: (rows, layers, seeds): of the angle between G and G'.
    """

    steps: NDArray[np.int64]
    seeds: tuple[int, ...]
    layers: tuple[int, ...]
    distance: NDArray[np.float64]
    relative_distance: NDArray[np.float64]
    cosine: NDArray[np.float64]


@dataclass(frozen=True)
class RunningStatisticsLog:
    """Batch norm's running statistics against those of the training set, each (rows, seeds).

    Attributes:
        steps: (rows,).
        seeds: the second axis.
        mean_gap: root mean square over units of (running mean - E[x]) / sqrt(Var[x]), where E and
            Var are over 100 minibatches of the training set with frozen weights.
        variance_gap: root mean square over units of (running variance - Var[x]) / Var[x].
        running_accuracy: on the test set, by the running statistics.
        population_accuracy: by E[x] and Var[x].
        minibatch_accuracy: by the statistics of each minibatch of the test set, as in training.
    """

    steps: NDArray[np.int64]
    seeds: tuple[int, ...]
    mean_gap: NDArray[np.float64]
    variance_gap: NDArray[np.float64]
    running_accuracy: NDArray[np.float64]
    population_accuracy: NDArray[np.float64]
    minibatch_accuracy: NDArray[np.float64]
