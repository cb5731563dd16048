"""Data sets as tensors held whole in memory, and the random streams of a run."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray

from bnexp.config.experiment import DataConfig
from bnexp.data import idx
from bnexp.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set in memory."""

    name: str  # as in `data.name`
    train_x: torch.Tensor  # (n, features) float32, in [0, 1]; an image's rows one after the other
    train_y: torch.Tensor  # (n,) int64, in 0 .. classes - 1
    test_x: torch.Tensor  # (m, features) float32
    test_y: torch.Tensor  # (m,) int64
    classes: int


def generator(seed: int, name: str) -> torch.Generator:
    """The random stream of a seed for one purpose, such as `layers.1.weight`; of nothing else."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    # torch's CPU generator (a Mersenne Twister) takes only the low 32 bits of its seed.
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:4], "big"))


def batch_order(n: int, batch_size: int, seed: int, epoch: int) -> torch.Tensor:
    """The minibatches of an epoch, counted from 0: (n // batch_size, batch_size) int64 indices.

    The n examples are sampled without replacement, and an incomplete last minibatch is dropped.
    A function of the arguments alone, so that a run is continued from (seed, step).

    Raises:
        ConfigError: the training set is smaller than one minibatch.
    """
    if not 0 < batch_size <= n:
        raise ConfigError(f"train.batch_size: {batch_size}; choose 1 to {n}, the training examples")
    order = torch.randperm(n, generator=generator(seed, f"batches/{epoch}"), device="cpu")
    return order[: n // batch_size * batch_size].view(-1, batch_size)


def load(config: DataConfig) -> Dataset:
    """Load a data set, downloading the files that are not there.

    With `binarize`, a pixel is 1 from half the scale on (mnist: > 127; digits: > 7), else 0;
    without, it is its share of the scale (mnist: / 255; digits: / 16).

    `digits` is scikit-learn's: 1,797 images of 8x8 pixels of 0 to 16, in the order in which people
    wrote them; the last 360 are the test set: other hands, and 33 to 37 of each digit.

    Raises:
        DataError, StorageError: as in `idx.load`.
    """
    if config.name == "digits":
        from sklearn.datasets import load_digits

        peak, (x, y) = 16, load_digits(return_X_y=True)
        arrays = [x[:-360], y[:-360], x[-360:], y[-360:]]
    else:
        peak, arrays = 255, idx.load(config.name, config.root)

    def tensor(array: NDArray[Any]) -> torch.Tensor:
        if array.ndim == 1:  # labels
            return torch.from_numpy(array.astype(np.int64))
        flat = array.reshape(len(array), -1)
        x = flat >= (peak + 1) // 2 if config.binarize else flat / np.float32(peak)
        return torch.from_numpy(x.astype(np.float32))

    train_x, train_y, test_x, test_y = map(tensor, arrays)
    return Dataset(config.name, train_x, train_y, test_x, test_y, classes=10)
