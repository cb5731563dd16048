"""The functions that Python calls: train for a block of steps, or look at the network."""

import math

from bnexp.networks.kernels.compiler import entry, yes, zero
from bnexp.networks.kernels.layout import (
    UNITS,
    Array,
    Buffers,
    Examples,
    Options,
    Parameters,
)
from bnexp.networks.kernels.loss import cross_entropy, mean_loss, predicted
from bnexp.networks.kernels.network import backward, forward, matrix
from bnexp.networks.kernels.percentiles import PercentileTable, record
from bnexp.networks.kernels.update import finish_sparse_gradient, update, update_running


@entry
def train(
    layers: Array,
    options: Options,
    parameters: Parameters,
    buffers: Buffers,
    examples: Examples,
    order: Array,
    step: int,
    change: bool,
    table: PercentileTable,
    every: int,
    recorded: Array,
    out: Array,
    losses: Array,
) -> int:
    """Make the steps from `step` on, one for each minibatch of `order`.

    Each step is a forward pass, the percentiles if they are due, the loss, the backward pass, the
    running statistics and the optimizer.

    Args:
        layers: (layers, 8), of the network, as are the next two.
        options: see there.
        parameters: see there.
        buffers: for minibatches of this size.
        examples: the training set.
        order: (steps, batch) indices of training examples.
        step: of the first minibatch, counted from 0.
        change: false: compute loss and gradient, and change no parameter and no statistic.
        table: of the percentiles.
        every: steps between two rows of percentiles.
        recorded: (number,), the layers to record, counted from 0.
        out: float32 (rows, Q, units of these layers): a row for each step due.
        losses: float64 (2,): the sum and the number of the losses go on from here.

    Returns:
        The first step whose loss is not finite, which has changed nothing; -1 if there is none.
    """
    last = layers.shape[0] - 1
    rows = 0
    for s in range(order.shape[0]):
        index = order[s]
        m = index.size
        forward(layers, options, parameters, buffers, examples, index, last + 1, yes())
        if (step + s) % every == 0 and rows < out.shape[0]:
            first = zero()
            for n in recorded:
                z = matrix(buffers.preactivation, buffers.capacity, layers, n, m)
                record(z, layers[n, UNITS], table, buffers.sorting, out[rows], first)
                first += layers[n, UNITS]
            rows += 1
        logits = matrix(buffers.preactivation, buffers.capacity, layers, last, m)
        delta = matrix(buffers.delta, buffers.capacity, layers, last, m)
        loss = mean_loss(logits, examples.labels, index, layers[last, UNITS], delta)
        if not math.isfinite(loss):
            return step + s
        losses[0] += loss
        losses[1] += 1
        backward(layers, options, parameters, buffers, examples, index)
        if change:
            if options.norm:
                update_running(layers, options, parameters, buffers, m)
            update(layers, options, parameters, buffers, examples, m, step + s + 1)
        elif examples.sparse:
            finish_sparse_gradient(layers, parameters, buffers, examples, m)
    return -1


@entry
def observe(
    layers: Array,
    options: Options,
    parameters: Parameters,
    buffers: Buffers,
    examples: Examples,
    index: Array,
    training: bool,
    table: PercentileTable,
    out: Array,
    results: Array,
) -> None:
    """Look at the network without changing it: record the probe, or evaluate.

    It is one function for both because the forward pass would else be compiled twice.

    Args:
        layers: (layers, 8), of the network, as are the next two.
        options: see there.
        parameters: see there.
        buffers: for the probe, its capacity is the number of examples.
        examples: the test set.
        index: (n,), which of the examples.
        training: batch norm uses the statistics of the examples, and `out` is computed; false: it
            uses the running statistics, and `results` are computed.
        table: of the percentiles.
        out: float32 (Q, units of all hidden layers): the percentiles over the examples.
        results: float64 (2,): the number of correct predictions, and the sum of the losses.
    """
    last = layers.shape[0] - 1
    classes = layers[last, UNITS]
    results[:] = 0
    for start in range(0, index.size, buffers.capacity):
        chunk = index[start : start + buffers.capacity]
        m = chunk.size
        depth = last if training else last + 1
        forward(layers, options, parameters, buffers, examples, chunk, depth, training)
        first = zero()
        for n in range(last if training else 0):
            z = matrix(buffers.preactivation, buffers.capacity, layers, n, m)
            record(z, layers[n, UNITS], table, buffers.sorting, out, first)
            first += layers[n, UNITS]
        if not training:
            logits = matrix(buffers.preactivation, buffers.capacity, layers, last, m)
            softmax = matrix(buffers.activation, buffers.capacity, layers, last, m)
            for i in range(m):
                label = examples.labels[chunk[i]]
                results[0] += predicted(logits, i, classes) == label
                results[1] += cross_entropy(logits, i, label, classes, softmax)
