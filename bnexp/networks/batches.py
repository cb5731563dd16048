"""Minibatches of stacked networks, and what of the data set they need."""

from collections.abc import Sequence

import numpy as np
import torch  # noqa: TID253

from bnexp.data import datasets as data
from bnexp.data import streams
from bnexp.networks.backend import Array, Backend


class Batches:
    """The minibatches of S seeds; a function of the step alone, so resuming needs no state.

    Each seed goes through its own permutation of the training set in each epoch.
    """

    def __init__(self, dataset: data.Dataset, size: int, seeds: Sequence[int], to: Backend) -> None:
        self.backend, self.size, self.seeds = to, size, tuple(seeds)
        self.examples = len(dataset.train_x)
        self.per_epoch = self.examples // size
        x = torch.from_numpy(dataset.train_x)
        # Binary pixels take a quarter of the memory as bytes, and less time to gather.
        x = x.to(torch.uint8) if torch.equal(x, x.bool().to(x.dtype)) else x
        self._x, self._targets = to.asarray(x), to.asarray(one_hot(dataset, "train"))
        self._x_out = to.empty(len(seeds), size, dataset.train_x.shape[1])
        self._targets_out = to.empty(len(seeds), size, dataset.classes)
        self._epoch, self._order = -1, None

    def __call__(self, step: int) -> tuple[Array, Array]:
        """x (S, B, features) and one-hot targets (S, B, classes) of a step."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            orders = [
                streams.batch_order(self.examples, self.size, seed, epoch) for seed in self.seeds
            ]
            self._epoch, self._order = (
                epoch,
                self.backend.asarray(torch.from_numpy(np.stack(orders, 1))),
            )
        index = self._order[position]  # type: ignore[index]
        return (
            self.backend.take(self._x, index, self._x_out),
            self.backend.take(self._targets, index, self._targets_out),
        )


def one_hot(dataset: data.Dataset, part: str) -> torch.Tensor:
    """The labels of the `train` or `test` part as (n, classes)."""
    labels = torch.from_numpy(getattr(dataset, f"{part}_y"))
    return torch.nn.functional.one_hot(labels, dataset.classes).to(torch.float32)


def used_inputs(dataset: data.Dataset, weight_decay: float) -> torch.Tensor:
    """Indices of the features that are not 0 in all examples; of all, where weights decay.

    The border of the images is empty: a seventh of the binarised pixels of MNIST.
    """
    if weight_decay:
        return torch.arange(dataset.train_x.shape[1])
    used = dataset.train_x.any(0) | dataset.test_x.any(0)
    return torch.from_numpy(np.flatnonzero(used))
