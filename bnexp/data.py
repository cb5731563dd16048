"""Data sets as tensors held whole in memory, and the random streams of a run."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch  # noqa: TID253
from numpy.typing import NDArray

from bnexp import idx
from bnexp.config import DataConfig
from bnexp.errors import ConfigError


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set in memory.

    Attributes:
        name: as in `data.name`.
        train_x: (n, features) float32, in [0, 1]; the rows of an image one after the other.
        train_y: (n,) int64, in 0 .. classes - 1.
        test_x: (m, features) float32.
        test_y: (m,) int64.
        classes: how many.
    """

    name: str
    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor
    classes: int


def generator(seed: int, name: str) -> torch.Generator:
    """The random stream of one seed for one purpose: a function of the two, and of nothing else.

    Args:
        seed: the run's seed.
        name: what is drawn from it, such as `layers.1.weight`.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    # torch's CPU generator (a Mersenne Twister) takes only the low 32 bits of its seed.
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:4], "big"))


def batch_order(n: int, batch_size: int, seed: int, epoch: int) -> torch.Tensor:
    """The minibatches of one epoch: sampling without replacement, an incomplete last one dropped.

    A function of its arguments alone, so that a run is continued from (seed, step).

    Args:
        n: examples in the training set.
        batch_size: examples in a minibatch.
        seed: the run's seed.
        epoch: counts from 0.

    Returns:
        (n // batch_size, batch_size) int64, indices of examples.

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

    `digits` is scikit-learn's: 1,797 images of 8x8 pixels of 0 to 16. Its examples stand in the
    order in which people wrote them, and the last 360 are the test set: other hands than the
    training set's, and 33 to 37 of each digit.

    Raises:
        DataError: files are missing and cannot be downloaded, or are damaged.
        StorageError: what is missing cannot be stored.
    """
    peak = 255
    if config.name == "digits":
        from sklearn.datasets import load_digits

        peak = 16
        images, labels = load_digits(return_X_y=True)
        train_x, train_y, test_x, test_y = (
            images[:-360],
            labels[:-360],
            images[-360:],
            labels[-360:],
        )
    else:
        train_x, train_y, test_x, test_y = idx.load(config.name, config.root)
    return Dataset(
        config.name,
        _pixels(train_x, peak, binarize=config.binarize),
        torch.from_numpy(train_y.astype(np.int64)),
        _pixels(test_x, peak, binarize=config.binarize),
        torch.from_numpy(test_y.astype(np.int64)),
        classes=10,
    )


def _pixels(images: NDArray[Any], peak: int, *, binarize: bool) -> torch.Tensor:
    """Images (n, ...) of 0 .. peak as inputs (n, features) of 0 .. 1."""
    flat = images.reshape(len(images), -1)
    x = flat >= (peak + 1) // 2 if binarize else flat / np.float32(peak)
    return torch.from_numpy(x.astype(np.float32))
