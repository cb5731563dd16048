"""Checks 1, 2, 4, 7 and 16: what batch normalization (BN) does to the values of a minibatch.

BN of one unit is y_i = gamma (x_i - mu) / sqrt(var + eps) + beta. In training mode mu and var are
the mean and the biased variance of the minibatch; in evaluation mode they are the running ones.
"""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from bnexp.config import ModelConfig, Settings, TrainConfig
from bnexp.config.constraints import conflicts
from bnexp.verify.check import Finding, check, found, largest
from bnexp.verify.implementations import EPS, BatchNorm, for_each_implementation, layer

EXAMPLES, UNITS = 60, 7


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A minibatch x (60, 7) whose units have variances from 1e-6 to 100; gamma and beta (7,)."""
    generator = torch.Generator().manual_seed(1)

    def gaussian(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x = gaussian(EXAMPLES, UNITS)
    x = (x - x.mean(0)) / x.std(0, correction=0) + gaussian(UNITS)
    return torch.logspace(-3, 1, UNITS, dtype=torch.float64) * x, gaussian(UNITS), gaussian(UNITS)


@check(1, "Algorithm 1, which says `variance gamma'", "both to 1e-12")
@for_each_implementation
@torch.no_grad()
def moments(norm: BatchNorm) -> Finding:
    """In training a unit's output has mean beta and deviation |gamma| sqrt(var / (var + eps)).

    The values x_i - mu have mean 0, so the mean of y_i is beta. Their mean square is var, so the
    mean of (y_i - beta)^2 is gamma^2 var / (var + eps). Gamma is thus a standard deviation and no
    variance, and the factor sqrt(var / (var + eps)) is what eps takes from it.
    """
    x, gamma, beta = inputs()
    y, var = layer(norm, gamma, beta)(x), x.var(0, correction=0)
    mean = largest(y.mean(0) - beta)
    deviation = largest(y.std(0, correction=0) - gamma.abs() * (var / (var + EPS)).sqrt())
    return found(
        largest(mean, deviation) <= 1e-12, f"mean to {mean:.0e}, deviation to {deviation:.0e}"
    )


@check(
    2,
    "section 3, which takes sqrt(Var[x]) for gamma",
    "to 1e-12; at variance 1e-6 without eps 69.8 % off, with the unbiased variance 0.8 %",
)
@for_each_implementation
@torch.no_grad()
def identity(norm: BatchNorm) -> Finding:
    """gamma = sqrt(var + eps) and beta = mu give the batch back; another variance does not.

    Then y_i = x_i for the minibatch whose mu and var these are, and for no other one. With any
    other gamma, y_i - x_i = (gamma / sqrt(var + eps) - 1) (x_i - mu). Without eps the factor is
    sqrt(var / (var + eps)) - 1, which is -0.698 for a variance of 1e-6. With the unbiased variance
    it is at most sqrt(60 / 59) - 1.
    """
    x, _, _ = inputs()
    mean, var = x.mean(0), x.var(0, correction=0)
    gammas = [(var + EPS).sqrt(), var.sqrt(), (x.var(0, correction=1) + EPS).sqrt()]
    off = [((layer(norm, gamma, mean)(x) - x).square().mean(0) / var).sqrt() for gamma in gammas]
    predicted = [(gamma / gammas[0] - 1).abs() for gamma in gammas]
    exact, without_eps, unbiased = (float(each.max()) for each in off)
    return found(
        largest(torch.stack(off) - torch.stack(predicted)) <= 1e-12,
        f"to {exact:.0e}, without eps {without_eps:.1%} off, unbiased {unbiased:.2%} off",
    )


@check(4, "section 3.1", "a change in training; exactly none in evaluation")
@for_each_implementation
@torch.no_grad()
def others_matter(norm: BatchNorm) -> Finding:
    """BN(x_0) depends on the other 59 examples in training, and not at all in evaluation.

    In training mode mu and var are functions of the whole minibatch. In evaluation mode they are
    constants, so an example's output is a function of that example alone.
    """
    x, gamma, beta = inputs()
    changed = torch.cat([x[:1], 2 * x[1:] + 1])

    def change(*, training: bool) -> float:
        outputs = [layer(norm, gamma, beta).train(training)(batch)[0] for batch in (x, changed)]
        return largest(outputs[0] - outputs[1])

    training, evaluation = change(training=True), change(training=False)
    return found(
        training > 1e-3 and evaluation == 0,
        f"largest change {training:.1f} in training, {evaluation:g} in evaluation",
    )


@check(7, "section 3.2", "to 1e-12")
@for_each_implementation
@torch.no_grad()
def added_constant(norm: BatchNorm) -> Finding:
    """A constant added to the input of BN changes nothing in training.

    The mean moves with the constant, mean(x + c) = mean(x) + c, so x_i - mu stays what it was, and
    so does the variance. The units are scaled to variance 1 here, since rounding is relative.
    """
    x, gamma, beta = inputs()
    x, c, tested = x / x.std(0, correction=0), 3 * beta, layer(norm, gamma, beta)
    change = largest(tested(x + c) - tested(x))
    return found(
        change <= 1e-12, f"largest change {change:.0e} for constants up to {largest(c):.1f}"
    )


@check(16, "Algorithm 1", "errors that name the reason: torch's in training, and the config's")
@torch.no_grad()
def one_example(
    norm: BatchNorm = nn.BatchNorm1d,
    mistakes: Callable[[Settings], Iterable[tuple[str, str, str]]] = conflicts,
) -> Finding:
    """A minibatch of one example is an error in training.

    One example is its own mean: x_0 - mu = 0, and BN would return beta whatever the input. bnexp
    refuses such a config before any engine sees it, since a compiled loop asks no questions.
    """
    x, gamma, beta = inputs()
    alone = Settings(model=ModelConfig(norm="batch"), train=TrainConfig(batch_size=1))
    reasons = [reason for key, _, reason in mistakes(alone) if key == "train.batch_size"]
    tested = layer(norm, gamma, beta)
    try:
        tested(x[:1])
    except ValueError as error:
        finite = bool(tested.eval()(x[:1]).isfinite().all())
        return found(
            finite and bool(reasons), f"torch: {error}; config: {'; '.join(reasons) or 'accepted'}"
        )
    return found(holds=False, measured="no error")
