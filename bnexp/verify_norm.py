"""Checks of what batch normalization computes: forward, backward, moving averages."""

from collections.abc import Callable

import numpy as np
import torch  # noqa: TID253

from bnexp.checking import (
    EPS,
    MODES,
    MOMENTUM,
    Finding,
    Values,
    batch_norm,
    check,
    largest,
    normalize,
)

M, UNITS = 60, 7
Gradients = tuple[Values, Values, Values]  # of x (S, B, U), gamma (S, U) and beta (S, U)


def _inputs(*, examples: int = M, units: int = UNITS) -> Values:
    """Random x (2, examples, units); each unit has its own mean, and deviations of 0.001 to 10."""
    rng = np.random.default_rng(1)
    scale = 10 ** rng.uniform(-3, 1, (2, 1, units))
    return scale * (rng.standard_normal((2, examples, units)) + rng.normal(0, 2, (2, 1, units)))


def _scale_and_shift(units: int = UNITS) -> tuple[Values, Values]:
    """Random gamma, of both signs, and beta, each (2, units)."""
    gamma, beta = np.random.default_rng(2).standard_normal((2, 2, units))
    return gamma, beta


@check(
    1,
    "in training, BN's output has mean beta and standard deviation "
    "|gamma| sqrt(var / (var + eps)), unit by unit",
    "Algorithm 1; it says variance gamma",
    "both to 1e-12",
)
def moments() -> Finding:
    """y_i = gamma (x_i - mu) / sqrt(var + eps) + beta, with mu = mean x_i, var = mean (x_i - mu)^2.

    So mean y_i = beta, and mean (y_i - beta)^2 = gamma^2 var / (var + eps). Each unit here has its
    own mean, variance, gamma and beta, so statistics shared by units would show.
    """
    x, (gamma, beta) = _inputs(), _scale_and_shift()
    y = normalize(batch_norm(gamma, beta, UNITS), x).preactivation
    var = x.var(1)
    mean_error = largest(y.mean(1) - beta)
    std_error = largest(y.std(1) - np.abs(gamma) * np.sqrt(var / (var + EPS)))
    return (
        largest([mean_error, std_error]) <= 1e-12,
        f"mean to {mean_error:.0e}, standard deviation to {std_error:.0e}",
    )


@check(
    2,
    "gamma = sqrt(var + eps) and beta = mean give the batch's input back; "
    "without eps, or with the unbiased variance, they do not",
    "section 3; it says sqrt(Var[x])",
    "to 1e-12; var 1e-6 without eps: 70 % off; unbiased: 0.8 % off",
)
def identity() -> Finding:
    """gamma (x - mu) / sqrt(var + eps) + beta = x for gamma = sqrt(var + eps), beta = mu.

    gamma = sqrt(var) leaves the factor sqrt(var / (var + eps)), which is sqrt(1/11) at var = 1e-6
    and eps = 1e-5; the unbiased variance leaves sqrt(m / (m - 1)), where var >> eps.
    """
    x = _inputs()
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    x[..., 0] *= 1e-3
    x += np.random.default_rng(4).standard_normal((2, 1, UNITS))
    mean, var = x.mean(1), x.var(1)

    def error(gamma: Values) -> Values:
        """Of the output, by unit, in standard deviations of x."""
        wrong = normalize(batch_norm(gamma, mean, UNITS), x).preactivation - x
        return np.asarray(np.sqrt(np.square(wrong).mean(1) / var))

    exact = largest(error(np.sqrt(var + EPS)))
    without_eps = error(np.sqrt(var))[:, 0]
    unbiased = error(np.sqrt(var * M / (M - 1) + EPS))[:, 1:]
    wanted = 1 - (1e-6 / (1e-6 + EPS)) ** 0.5, (M / (M - 1)) ** 0.5 - 1
    holds = exact <= 1e-12
    holds &= largest(without_eps - wanted[0]) <= 1e-6 and largest(unbiased - wanted[1]) <= 1e-6
    return holds, (
        f"to {exact:.0e}; without eps {without_eps.mean():.1%} off; "
        f"unbiased {unbiased.mean():.2%} off"
    )


@check(
    3,
    "BN's written-out backward pass is the chain rule's",
    "section 3, the six equations",
    "autograd and finite differences to 1e-8; 0 for an upstream gradient of ones",
)
def backward() -> Finding:
    """With v = var + eps, x_hat = (x - mu) / sqrt(v), g_i = dL/dy_i, and sums over the batch.

    dL/dx_hat_i = g_i gamma; dL/dvar = sum dL/dx_hat_i (x_i - mu) (-1/2) v^(-3/2);
    dL/dmu = -sum dL/dx_hat_i / sqrt(v) + dL/dvar mean(-2 (x_i - mu));
    dL/dx_i = dL/dx_hat_i / sqrt(v) + dL/dvar 2 (x_i - mu) / m + dL/dmu / m;
    dL/dgamma = sum g_i x_hat_i; dL/dbeta = sum g_i. These six are computed here too, one by one.
    """
    rng = np.random.default_rng(5)
    x, g = rng.standard_normal((2, 2, 9, 4))
    gamma, beta = _scale_and_shift(4)
    norm = batch_norm(gamma, beta, 4)

    def ours(upstream: Values) -> Gradients:
        work, d_gamma, d_beta = normalize(norm, x), np.empty_like(gamma), np.empty_like(beta)
        work.delta[...] = upstream
        norm.backward(work, d_gamma, d_beta)
        return work.delta, d_gamma, d_beta

    def loss() -> float:
        return float((g * normalize(norm, x).preactivation).sum())

    differences = tuple(_differences(loss, array) for array in (x, gamma, beta))
    equations, autograd, finite = (
        largest([largest(a - b) for a, b in zip(ours(g), others, strict=True)])
        for others in (_equations(x, gamma, g), _autograd(x, gamma, beta, g), differences)
    )
    ones = largest(ours(np.ones_like(g))[0])
    return largest([equations, autograd, finite]) <= 1e-8 and ones <= 1e-14, (
        f"the equations to {equations:.0e}, autograd to {autograd:.0e}, "
        f"finite differences to {finite:.0e}; ones: {ones:.0e}"
    )


def _equations(x: Values, gamma: Values, g: Values) -> Gradients:
    """The six equations of section 3."""
    m, centred, v = x.shape[1], x - x.mean(1, keepdims=True), x.var(1, keepdims=True) + EPS
    d_hat = g * gamma[:, None]
    d_var = (d_hat * centred).sum(1, keepdims=True) * -0.5 * v**-1.5
    d_mean = -(d_hat / np.sqrt(v)).sum(1, keepdims=True)
    d_mean += d_var * (-2 * centred).mean(1, keepdims=True)
    d_x = d_hat / np.sqrt(v) + d_var * 2 * centred / m + d_mean / m
    return d_x, (g * centred / np.sqrt(v)).sum(1), g.sum(1)


def _autograd(x: Values, gamma: Values, beta: Values, g: Values) -> Gradients:
    """Torch's own batch normalization and its autograd, for each network of the stack."""
    leaves = [torch.tensor(array, requires_grad=True) for array in (x, gamma, beta)]
    total = torch.zeros(())
    for tx, tg, tb, upstream in zip(*leaves, torch.tensor(g), strict=True):
        y = torch.nn.functional.batch_norm(tx, None, None, tg, tb, training=True, eps=EPS)
        total = total + (y * upstream).sum()
    d_x, d_gamma, d_beta = (gradient.numpy() for gradient in torch.autograd.grad(total, leaves))
    return d_x, d_gamma, d_beta


def _differences(loss: Callable[[], float], array: Values, h: float = 1e-5) -> Values:
    """Central differences of a loss for each value of an array that it reads."""
    slopes = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept, sides = array[index], []
        for side in (kept + h, kept - h):
            array[index] = side
            sides.append(loss())
        array[index], slopes[index] = kept, (sides[0] - sides[1]) / (2 * h)
    return slopes


@check(
    4,
    "in training an example's output depends on the other 59; in evaluation it does not",
    "section 3.1",
    "a change; exactly 0",
)
def others_matter() -> Finding:
    """BN(x_0) is a function of x_0 and of mean and variance, of the batch or of the population."""
    x, (gamma, beta) = _inputs(), _scale_and_shift()
    norm = batch_norm(gamma, beta, UNITS)
    changed = np.concatenate([x[:, :1], 2 * x[:, 1:] + 1], 1)
    training, evaluation = (
        largest(np.subtract(*(normalize(norm, v, mode).preactivation[:, 0] for v in (x, changed))))
        for mode in MODES
    )
    return (
        training > 1e-3 and evaluation == 0,
        f"largest change {training:.1f} in training, {evaluation:g} in evaluation",
    )


@check(
    5,
    "running mean and variance are the moving averages' closed form, with the unbiased variance; "
    "passes that do not train leave them alone",
    "section 3.1; torch.nn.BatchNorm1d",
    "to 1e-12",
)
def moving_averages() -> Finding:
    """r_n = (1 - k)^n r_0 + k sum_i (1 - k)^(n - i) b_i, with momentum k, and r_0 = 0 or 1.

    b_i is the mean of batch i, and for the variance sum (x - mu)^2 / (m - 1). After each batch
    another one passes through in training mode without an update, as the probe does.
    """
    n = 25
    norm = batch_norm(None, None, UNITS)
    torch_norm = torch.nn.BatchNorm1d(UNITS, EPS, MOMENTUM, dtype=torch.float64)
    batches = [_inputs() * i + i for i in range(1, n + 1)]
    for x in batches:
        work = normalize(norm, x)
        norm.update_running(work)
        normalize(norm, -x)
        torch_norm(torch.tensor(x[0]))
    decay = (1 - MOMENTUM) ** np.arange(n, -1, -1)
    weights = np.concatenate([decay[:1], MOMENTUM * decay[1:]])[:, None, None]
    means = np.stack([np.zeros((2, UNITS)), *(x.mean(1) for x in batches)])
    variances = np.stack([np.ones((2, UNITS)), *(x.var(1, ddof=1) for x in batches)])
    closed = (weights * means).sum(0), (weights * variances).sum(0)
    reference = [torch_norm.state_dict()[f"running_{name}"].numpy() for name in ("mean", "var")]
    ours = norm.running_mean, norm.running_var
    error, torch_error = (
        largest([largest((a - b) / b) for a, b in zip(*pair, strict=True)])
        for pair in ((ours, closed), ([a[0] for a in ours], reference))
    )
    return (
        largest([error, torch_error]) <= 1e-12,
        f"closed form to {error:.0e}, torch to {torch_error:.0e} of the value",
    )


@check(
    16,
    "training mode with one example is an error, with a message that says so",
    "Algorithm 1: its variance is 0",
    "an error that asks for 2 examples; none in evaluation",
)
def one_example() -> Finding:
    """m = 1: x = mu, so the output is beta whatever the input, and the unbiased variance is 0/0."""
    norm, x = batch_norm(None, None, UNITS), _inputs(examples=1)
    finite = bool(np.isfinite(normalize(norm, x, "running").preactivation).all())
    try:
        normalize(norm, x)
    except ValueError as error:
        return finite and "2 examples" in str(error), f"ValueError: {error}"
    return False, "no error"
