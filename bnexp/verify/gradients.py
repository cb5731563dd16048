"""Checks 3 and 14: the gradient of batch norm, and how the scale of the weights enters it."""

from dataclasses import replace

import torch

from bnexp.verify.check import Finding, check, found, largest
from bnexp.verify.implementations import EPS, BatchNorm, for_each_implementation, layer
from bnexp.verify.networks import (
    NORMED,
    Build,
    cross_entropy,
    digits,
    initial_network,
    linear_layers,
    minibatches,
    on_digits,
    preactivations,
)


def chain_rule(
    x: torch.Tensor, gamma: torch.Tensor, upstream: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of x (m, units), gamma and beta (units,), by the six equations of section 3.

    Each line is one equation, in the paper's order. `upstream` (m, units) is dL/dy.
    """
    m, centered = len(x), x - x.mean(0)
    inv_std = 1 / (x.var(0, correction=0) + eps).sqrt()
    normalized = centered * inv_std
    d_normalized = upstream * gamma
    d_var = (d_normalized * centered).sum(0) * -0.5 * inv_std**3
    # The second term is 0, since the centred values sum to 0. The paper writes it all the same.
    d_mean = -d_normalized.sum(0) * inv_std + d_var * (-2 * centered).mean(0)
    d_x = d_normalized * inv_std + d_var * 2 * centered / m + d_mean / m
    d_gamma = (upstream * normalized).sum(0)
    d_beta = upstream.sum(0)
    return d_x, d_gamma, d_beta


@check(3, "section 3, six equations", "chain rule and finite differences to 1e-8; 0 for g of ones")
@for_each_implementation
def backward(norm: BatchNorm) -> Finding:
    """The gradient of BN is the chain rule's, through the mean and the variance as well.

    Let g = dL/dy and x_hat = (x - mu) / sqrt(var + eps). The six equations of section 3 together
    give dL/dx = gamma / sqrt(var + eps) (g - mean(g) - x_hat mean(g x_hat)), dL/dgamma =
    sum(g x_hat) and dL/dbeta = sum(g). The loss here is L = sum(g y) with a random g. For g of
    ones the loss is m beta whatever x is, so its gradient for x is 0: a test with a plain sum
    would accept every mistake in the two means. Finite differences move one value of x at a time.
    """
    generator = torch.Generator().manual_seed(5)
    shape, step = (9, 4), 1e-5
    x, upstream = torch.randn((2, *shape), generator=generator, dtype=torch.float64)
    gamma, beta = torch.randn((2, shape[1]), generator=generator, dtype=torch.float64)
    tested = layer(norm, gamma, beta)

    def gradients_of(g: torch.Tensor) -> tuple[torch.Tensor, ...]:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(tested(leaf), (leaf, tested.weight, tested.bias), g)

    def loss(moved: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = tested(moved)
        product: torch.Tensor = upstream * y
        return product.sum()

    ours, ones = (
        gradients_of(upstream),
        largest(gradients_of(torch.ones(shape, dtype=torch.float64))[0]),
    )
    rule = chain_rule(x, gamma, upstream, EPS)
    by_rule = largest(*(a - b for a, b in zip(ours, rule, strict=True)))
    moves = step * torch.eye(x.numel(), dtype=torch.float64).view(-1, *shape)
    with torch.no_grad():
        slopes = torch.stack([(loss(x + h) - loss(x - h)) / (2 * step) for h in moves])
    by_differences = largest(ours[0].flatten() - slopes)
    return found(
        largest(by_rule, by_differences) <= 1e-8 and ones <= 1e-14,
        f"chain rule to {by_rule:.0e}, finite differences to {by_differences:.0e}, "
        f"ones: {ones:.0e}",
    )


@check(14, "section 3.3", "to 1e-10 at eps 1e-14")
def scale_invariance(build: Build = initial_network) -> Finding:
    """BN(aWu) = BN(Wu); aW's gradient is 1/a of W's; a unit's weights are orthogonal to theirs.

    A factor a > 0 of the weights cancels in (x - mu) / sqrt(var), so L(aW) = L(W). The derivative
    of this equation for W is a dL/d(aW) = dL/dW. Its derivative for a, at a = 1, says that the
    weights w of a unit and their gradient are orthogonal: <w, dL/dw> = 0. All three hold up to
    eps, which is added to the variance and does not scale with it. It is small here for this.
    """
    a, minibatch = 7.0, next(minibatches(digits(), 60, 0, torch.float64))
    network = on_digits(build, replace(NORMED, norm_eps=1e-14)).train()
    weight = linear_layers(network)[0].weight

    def gradient_and_output() -> tuple[torch.Tensor, torch.Tensor]:
        (gradient,) = torch.autograd.grad(cross_entropy(network, minibatch), weight)
        return gradient, preactivations(network, minibatch[0])[0]

    gradient, output = gradient_and_output()
    cosine = largest(torch.cosine_similarity(weight, gradient, dim=1, eps=0.0))
    with torch.no_grad():
        weight *= a
    gradient_of_scaled, output_of_scaled = gradient_and_output()
    change = largest(output_of_scaled - output)
    ratio = largest(a * gradient_of_scaled - gradient) / largest(gradient)
    return found(
        largest(change, ratio, cosine) <= 1e-10,
        f"output {change:.0e}, gradient ratio {ratio:.0e}, cosine {cosine:.0e}",
    )
