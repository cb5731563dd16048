"""The random streams of a run: one for each pair of a seed and a purpose.

A stream depends on its seed and its purpose alone. So two variants with the same seed start from
the same weights and see the same minibatches, whatever else differs between them, and the
difference between their results is paired. A run is also continued from its step alone, because
the order of an epoch can be drawn again at any time.

Published results rest on these draws. The numbers therefore come from torch's generator on the CPU,
for every engine, and neither the hash nor the permutation may change.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from bnexp.errors import ConfigError


def generator(seed: int, purpose: str) -> torch.Generator:
    """The random stream of a seed for one purpose, such as `layers.1.weight`."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    # torch's generator on the CPU, a Mersenne Twister, uses only the low 32 bits of its seed.
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:4], "big"))


def batch_order(examples: int, batch_size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The minibatches of an epoch: (examples // batch_size, batch_size) indices of examples.

    An epoch goes through the examples in a random order, so that none comes twice, and drops the
    incomplete minibatch at the end.

    Args:
        examples: how many training examples there are.
        batch_size: how many a minibatch holds.
        seed: of the run.
        epoch: counted from 0.

    Raises:
        ConfigError: the training set is smaller than one minibatch.
    """
    if not 0 < batch_size <= examples:
        raise ConfigError(
            f"train.batch_size: {batch_size}; choose 1 to {examples}, the training examples"
        )
    stream = generator(seed, f"batches/{epoch}")
    order = torch.randperm(examples, generator=stream, device="cpu").numpy()
    return order[: examples // batch_size * batch_size].reshape(-1, batch_size)
