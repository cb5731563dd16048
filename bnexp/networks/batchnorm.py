"""Batch normalization (BN) of stacked networks; the backward pass is written out (section 3).

Shapes: S seeds, B examples, units of a layer U.
"""

from dataclasses import dataclass
from typing import Literal

from bnexp.networks.backend import Array, Backend, Namespace

Statistics = Literal["batch", "running"]


@dataclass
class LayerWork:
    """What one layer computed for one batch, kept for recording and for the backward pass."""

    centered: Array  # (S, B, U): the input of BN; after its pass, less the mean
    preactivation: Array  # (S, B, U): the input of the nonlinearity; the logits in the last layer
    activation: Array  # (S, B, U): its output
    delta: Array  # (S, B, U): the loss's gradient, first for the activation, then further back
    scratch: Array  # (S, B, U)
    mean: Array  # (S, 1, U); None in the output layer, as is var
    var: Array  # (S, 1, U): biased, over the batch (1/m)
    inv_std: Array  # (S, 1, U): 1 / sqrt(var + eps) of the statistics in use
    column: Array  # (S, 1, U)
    statistics: Statistics = "batch"


class BatchNorm:
    """Batch normalization of each unit (Ioffe & Szegedy 2015, Algorithms 1 and 2).

    y = gamma * (x - mean) / sqrt(var + eps) + beta, where mean and (biased, 1/m) var are the
    batch's, or the running ones.

    Args:
        backend: where the arrays are.
        running: mean and variance (2, S, 1, U), as `update_running` moves them.
        gamma: (S, 1, U); None: fixed at 1.
        beta: (S, 1, U); None: fixed at 0.
        eps: added to the variance.
    """

    def __init__(
        self,
        backend: Backend,
        running: Array,
        gamma: Array | None = None,
        beta: Array | None = None,
        eps: float = 1e-5,
    ) -> None:
        self.backend, self.running, self.gamma, self.beta = backend, running, gamma, beta
        self.running_mean, self.running_var = running
        self.eps = eps

    def forward(self, work: LayerWork, statistics: Statistics) -> None:
        """From `work.centered`, which holds x, to `work.preactivation`; x is overwritten.

        Raises:
            ValueError: batch statistics of one example: its variance is 0, and BN would return
                beta whatever the input.
        """
        xp, x, y = self.backend.xp, work.centered, work.preactivation
        work.statistics = statistics
        if statistics == "batch":
            if x.shape[1] < 2:
                raise ValueError("batch normalization in training mode needs 2 examples or more")
            average = self.backend.constant(1 / x.shape[1], 1, 1, x.shape[1])
            xp.matmul(average, x, out=work.mean)
            xp.subtract(x, work.mean, out=x)
            xp.multiply(x, x, out=work.scratch)
            xp.matmul(average, work.scratch, out=work.var)
            xp.add(work.var, self.eps, out=work.inv_std)
        else:
            xp.subtract(x, self.running_mean, out=x)
            xp.add(self.running_var, self.eps, out=work.inv_std)
        xp.sqrt(work.inv_std, out=work.inv_std)
        xp.reciprocal(work.inv_std, out=work.inv_std)
        xp.multiply(x, self._scale(work), out=y)
        if self.beta is not None:
            xp.add(y, self.beta, out=y)

    def backward(self, work: LayerWork, gamma_grad: Array | None, beta_grad: Array | None) -> None:
        """In `work.delta`, from dL/dy to dL/dx; the gradients of gamma and beta (S, 1, U).

        The six equations of section 3 of the paper, put together: dL/dx = gamma / sqrt(var + eps)
        * (dy - mean(dy) - x_hat * mean(dy * x_hat)), with x_hat = (x - mean) / sqrt(var + eps).
        With running statistics, which do not depend on x, both means drop out.
        """
        xp, d, column = self.backend.xp, work.delta, work.column
        on_batch = work.statistics == "batch"
        average = self.backend.constant(1 / d.shape[1], 1, 1, d.shape[1])
        if on_batch or gamma_grad is not None:
            xp.multiply(d, work.centered, out=work.scratch)
            xp.matmul(average, work.scratch, out=column)
            xp.multiply(column, work.inv_std, out=column)  # mean(dy * x_hat)
            if gamma_grad is not None:
                xp.multiply(column, d.shape[1], out=gamma_grad)
        if on_batch:
            xp.multiply(column, work.inv_std, out=column)
            xp.multiply(work.centered, column, out=work.scratch)
        if on_batch or beta_grad is not None:
            xp.matmul(average, d, out=column)  # mean(dy)
            if beta_grad is not None:
                xp.multiply(column, d.shape[1], out=beta_grad)
        if on_batch:
            xp.subtract(d, column, out=d)
            xp.subtract(d, work.scratch, out=d)
        xp.multiply(d, self._scale(work), out=d)

    def _scale(self, work: LayerWork) -> Array:
        """gamma / sqrt(var + eps), (S, 1, U)."""
        if self.gamma is None:
            return work.inv_std
        return self.backend.xp.multiply(work.inv_std, self.gamma, out=work.column)


def update_running(
    xp: Namespace, running: Array, moments: Array, examples: int, momentum: float
) -> None:
    """Move running statistics towards a batch's; both (2, ...): means, and variances.

    As in torch, running = (1 - momentum) * running + momentum * batch, where the variance is the
    unbiased one, 1/(m - 1); in `moments` it is 1/m.
    """
    xp.multiply(running, 1 - momentum, out=running)
    moments = xp.multiply(moments, momentum)
    xp.multiply(moments[1], examples / (examples - 1), out=moments[1])
    xp.add(running, moments, out=running)
