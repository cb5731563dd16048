"""Check 17: what a seed decides, so that variants can be compared in pairs."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from bnexp.data.datasets import Dataset
from bnexp.verify.check import Finding, check, found
from bnexp.verify.networks import (
    BIASED,
    NORMED,
    Build,
    Minibatch,
    digits,
    initial_network,
    linear_layers,
    minibatches,
    on_digits,
)

# From a data set, a size, a seed and a type of the values: the minibatches from step 0 on.
Batches = Callable[[Dataset, int, int, torch.dtype], Iterator[Minibatch]]
# A plain network, one with batch norm, one with a bias before it, and one that learns none of it.
VARIANTS = (
    replace(BIASED, norm="none"),
    NORMED,
    BIASED,
    replace(NORMED, gamma=False, beta=False),
)


@check(17, "the pairing of variants by seed", "equal bits for a seed, other ones for another")
def same_seed(build: Build = initial_network, batches: Batches = minibatches) -> Finding:
    """A seed decides weights and minibatches; norm and bias of the network change neither.

    Each parameter has a random stream of its own, which depends on the seed and on the parameter's
    name alone. With one stream for all, the bias of a layer would shift the weights of the layers
    behind it, and networks of the same seed would start differently. Two networks with different
    seeds are made in turn here, so that a stream which they share would show as well.
    """
    seeds: tuple[int, ...] = (3, 5)
    seen: dict[tuple[int, int], set[bytes]] = {}
    for model, seed in itertools.product(VARIANTS, seeds):
        weights = [
            linear.weight.detach() for linear in linear_layers(on_digits(build, model, seed))
        ]
        drawn = itertools.islice(batches(digits(), 60, seed, torch.float32), 25)
        chosen = [part for step, batch in enumerate(drawn) if step in {0, 1, 24} for part in batch]
        for place, values in enumerate([*weights, *chosen]):
            seen.setdefault((seed, place), set()).add(values.numpy().tobytes())
    alike = all(len(values) == 1 for values in seen.values())
    apart = all(
        values.isdisjoint(seen[seeds[1], place])
        for (seed, place), values in seen.items()
        if seed == seeds[0]
    )
    return found(
        alike and apart,
        f"{len(VARIANTS)} variants of a seed {'equal' if alike else 'DIFFERENT'}, "
        f"two seeds {'different' if apart else 'EQUAL'}",
    )
