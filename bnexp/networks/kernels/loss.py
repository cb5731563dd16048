"""The cross-entropy of the softmax of the logits, and its gradient."""

import numpy as np

from bnexp.networks.kernels.compiler import kernel
from bnexp.networks.kernels.exponential import exp, log
from bnexp.networks.kernels.layout import Array


@kernel
def cross_entropy(logits: Array, i: int, label: int, classes: int, softmax: Array) -> float:
    """The loss of example i, -log p_label, and its p = softmax(z) in row i of `softmax`.

    p_c = e^(z_c - M) / S with S = sum_c e^(z_c - M), where M is the largest logit: it keeps e^x
    from overflowing and cancels out. So -log p_label = log S + M - z_label. The logarithm and the
    difference are in float64.

    logits, softmax: (examples, width), of which the first `classes` are no padding.
    """
    largest = logits[i, 0]
    for c in range(1, classes):
        largest = max(largest, logits[i, c])
    for c in range(logits.shape[1]):  # with the padding: whole vectors
        softmax[i, c] = exp(logits[i, c] - largest)
    total = softmax[i, 0]
    for c in range(1, classes):
        total += softmax[i, c]
    for c in range(classes):
        softmax[i, c] /= total
    for c in range(classes, logits.shape[1]):
        softmax[i, c] = 0
    return log(np.float64(total)) + (np.float64(largest) - np.float64(logits[i, label]))


@kernel
def mean_loss(logits: Array, labels: Array, index: Array, classes: int, delta: Array) -> float:
    """The mean loss of the examples `index`, and delta = dL/dz = (softmax(z) - one_hot) / m.

    logits, delta: (m, width); index: (m,), places in `labels` (n,).
    """
    examples, total = index.size, 0.0
    share = logits.dtype.type(examples)
    one = logits.dtype.type(1)
    for i in range(examples):
        label = labels[index[i]]
        total += cross_entropy(logits, i, label, classes, delta)
        delta[i, label] -= one
        for c in range(classes):
            delta[i, c] /= share
    return total / examples


@kernel
def predicted(logits: Array, i: int, classes: int) -> int:
    """The class with the largest logit of example i; the first of several. logits: (m, width)."""
    best = 0
    for c in range(1, classes):
        if logits[i, c] > logits[i, best]:
            best = c
    return best
