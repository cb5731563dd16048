"""How a network lies in memory: one vector of parameters, rows padded to whole cache lines.

A layer's weights are (inputs, width), where the width is the number of units rounded up to a
multiple of 16. A row then begins on a cache line and holds whole vectors, so that no loop has a
remainder. The padding holds zeros: zero weights give zero pre-activations, whose gradient is zero
because the gradient that comes from above is a product with zero weights. So it stays zero.

The parameters of all layers lie in one vector, in this order for each layer: weight (inputs,
width), bias (width), gamma (width), beta (width). All four have their place in every layer. Those
that a network does not have stay at 0, or at 1 for gamma, and no optimizer touches them.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnexp.config import ModelConfig, TrainConfig

Array = NDArray[Any]
LANES = 16  # units of padding: a cache line of float32, two of float64
CACHE_LINE = 64  # bytes
WORD = 64  # bits of a uint64
ACTIVATIONS = {"identity": 0, "relu": 1, "leaky_relu": 2, "tanh": 3, "sigmoid": 4}


# A table of the layers, int64 (layers, 8), says how large they are and where they lie. It is one
# array because a kernel that calls another passes all fields of a tuple one by one.
INPUTS = 0  # features, or the units of the layer before
UNITS = 1
WIDTH = 2  # units rounded up
WEIGHT, BIAS, GAMMA, BETA = 3, 4, 5, 6  # where each begins in the vector of parameters
START = 7  # the sum of the widths before: where the layer's units begin in a row of all


class Options(NamedTuple):
    """What the `model` and `train` sections choose; the numbers are of the network's dtype."""

    activation: int  # ACTIVATIONS
    norm: bool
    bias: bool  # in hidden layers
    gamma: bool
    beta: bool
    eps: Any
    running_keep: Any  # 1 - norm_momentum
    running_take: Any  # norm_momentum
    adam: bool
    lr: Any
    momentum: Any
    weight_decay: Any


class Parameters(NamedTuple):
    """All that training changes. The vectors are laid out alike; see above."""

    vector: Array
    gradient: Array
    first: Array  # momentum_buffer of SGD or exp_avg of Adam; empty without momentum
    second: Array  # exp_avg_sq of Adam; else empty
    running_mean: Array  # (sum of the widths,)
    running_var: Array


class Examples(NamedTuple):
    """Inputs and labels of a data set, dense or as the nonzero features of each example."""

    sparse: bool
    binary: bool  # all values of a sparse data set are 1, and none is kept
    dense: Array  # float32 (n, features); (0, 0) where sparse
    pointers: Array  # int64 (n + 1,): example i has the entries pointers[i] .. pointers[i + 1]
    columns: Array  # int32: the feature of each entry
    values: Array  # float32: its value; (0,) where binary
    labels: Array  # int64 (n,)


class Buffers(NamedTuple):
    """What a pass over a batch computes, for batches of at most `capacity` examples.

    The first four hold (examples, width) matrices of all layers, one after the other.
    """

    capacity: int
    normalized: Array  # x-hat, the input of BN minus its mean and divided by its deviation
    preactivation: Array  # the input of the nonlinearity; the logits in the output layer
    activation: Array
    delta: Array  # the gradient of the loss: first for the activation, then further back
    mean: Array  # (sum of the widths,): of the batch
    var: Array  # biased, divided by the number of examples
    inv_std: Array  # 1 / sqrt(var + eps) of the statistics in use
    inputs: Array  # (capacity * features,): dense examples in the network's dtype
    transposed: Array  # the weights of one layer, transposed
    ends: Array  # int64 (capacity,): the sparse examples of a batch, as in `sparse.pack`
    columns: Array
    values: Array  # of each entry; (1,), which stands for all, where the examples are binary
    members: Array  # uint64 (features, words): the same by feature, as in `sparse.by_feature`
    member_values: Array  # (features * capacity,) or (1,)
    sorting: Array  # where percentiles are sorted


def aligned(size: int, dtype: np.dtype[Any]) -> Array:
    """A vector of zeros that begins on a cache line."""
    raw = np.zeros(size * dtype.itemsize + CACHE_LINE, np.uint8)
    offset = -raw.ctypes.data % CACHE_LINE
    return raw[offset : offset + size * dtype.itemsize].view(dtype)


def layers_of(sizes: tuple[int, ...]) -> tuple[Array, int]:
    """The table of a network of these sizes (features, hidden..., classes), and its parameters."""
    rows: list[list[int]] = []
    place = start = 0
    for inputs, units in pairwise(sizes):
        width = -(-units // LANES) * LANES
        bias = place + inputs * width
        rows.append([inputs, units, width, place, bias, bias + width, bias + 2 * width, start])
        place, start = bias + 3 * width, start + width
    return np.array(rows, np.int64), place


def options_of(model: ModelConfig, train: TrainConfig, dtype: np.dtype[Any]) -> Options:
    """The choices of a run, as kernels read them."""
    norm, sgd = model.norm == "batch", train.optimizer == "sgd"
    number = dtype.type
    return Options(
        activation=ACTIVATIONS[model.activation],
        norm=norm,
        bias=model.bias,
        gamma=norm and model.gamma,
        beta=norm and model.beta,
        eps=number(model.norm_eps),
        running_keep=number(1 - model.norm_momentum),
        running_take=number(model.norm_momentum),
        adam=not sgd,
        lr=number(train.lr),
        momentum=number(train.momentum if sgd else 0.0),
        weight_decay=number(train.weight_decay),
    )


def parameters_for(layers: Array, total: int, options: Options, dtype: np.dtype[Any]) -> Parameters:
    """Gamma at 1, all else at 0, and the memory that the optimizer needs.

    Args:
        layers: of the network.
        total: the length of the vector, from `layers_of`.
        options: see there.
        dtype: of the network.
    """
    units = int(layers[:, WIDTH].sum())
    memory = bool(options.adam or options.momentum)
    parameters = Parameters(
        aligned(total, dtype),
        aligned(total, dtype),
        aligned(total * memory, dtype),
        aligned(total * options.adam, dtype),
        aligned(units, dtype),
        aligned(units, dtype),
    )
    for start, number in layers[:, [GAMMA, UNITS]]:
        parameters.vector[start : start + number] = 1
    return parameters


def buffers_for(
    layers: Array,
    capacity: int,
    dtype: np.dtype[Any],
    examples: Examples,
    *,
    sorting: int = 0,
    backward: bool = False,
) -> Buffers:
    """The arrays for batches of up to `capacity` examples.

    Args:
        layers: of the network.
        capacity: examples.
        dtype: of the network.
        examples: whose batches they are.
        sorting: elements that `percentiles.record` needs.
        backward: whether there will be a backward pass.
    """
    features, total = int(layers[0, INPUTS]), int(layers[:, WIDTH].sum())
    block = int((layers[1:, WIDTH] * layers[:-1, WIDTH]).max())
    matrices = capacity * total
    entries = capacity * int(np.diff(examples.pointers).max(initial=0)) if examples.sparse else 0
    places = features * capacity if examples.sparse and backward else 0
    return Buffers(
        capacity=capacity,
        normalized=aligned(matrices, dtype),
        preactivation=aligned(matrices, dtype),
        activation=aligned(matrices, dtype),
        delta=aligned(matrices * backward, dtype),
        mean=aligned(total, dtype),
        var=aligned(total, dtype),
        inv_std=aligned(total, dtype),
        inputs=aligned(0 if examples.sparse else capacity * features, dtype),
        transposed=aligned(block * backward, dtype),
        ends=np.zeros(capacity, np.int64),
        columns=np.zeros(entries, np.int32),
        values=np.ones(1 if examples.binary else entries, dtype),
        members=np.zeros((features if places else 0, -(-capacity // WORD)), np.uint64),
        member_values=np.ones(1 if examples.binary else places, dtype),
        sorting=aligned(sorting, dtype),
    )
