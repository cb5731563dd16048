"""Data sets as NumPy arrays, held whole in memory.

torch is not loaded here, and scikit-learn's code neither: importing it would take longer than
training a small network.
"""

import gzip
import importlib.util
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnexp.config import DATASET_SIZES, DataConfig
from bnexp.data import idx
from bnexp.errors import DataError


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set.

    Attributes:
        name: as in `data.name`.
        train_x: (n, features), in [0, 1]; an image's rows stand one after the other.
        train_y: (n,), each from 0 to `classes` - 1.
        test_x: (m, features).
        test_y: (m,).
        classes: how many classes there are.
    """

    name: str
    train_x: NDArray[np.float32]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]
    classes: int


def load(config: DataConfig) -> Dataset:
    """Load a data set, and download the files of it that are missing.

    With `binarize`, a pixel is 1 from half of the scale on (mnist: above 127, digits: above 7),
    else 0. Without, it is its share of the scale (mnist: pixel / 255, digits: pixel / 16).

    Raises:
        DataError, StorageError: as in `idx.load` and `read_digits`.
    """
    arrays: list[NDArray[Any]]
    if config.name == "digits":
        peak, (images, labels) = 16, read_digits()
        # The images stand in the order in which people wrote them. So the last 360 are the test
        # set: they come from other hands, and hold 33 to 37 of each digit.
        n = DATASET_SIZES["digits"].train
        arrays = [images[:n], labels[:n], images[n:], labels[n:]]
    else:
        peak, arrays = 255, [*idx.load(config.name, config.root)]
        _check_sizes(config.name, len(arrays[0]), len(arrays[2]))
    train_images, train_labels, test_images, test_labels = arrays
    return Dataset(
        config.name,
        train_x=_inputs(train_images, peak, binarize=config.binarize),
        train_y=train_labels.astype(np.int64),
        test_x=_inputs(test_images, peak, binarize=config.binarize),
        test_y=test_labels.astype(np.int64),
        classes=10,
    )


def _check_sizes(name: str, train: int, test: int) -> None:
    """Check that a data set has as many examples as the config was checked against.

    Raises:
        DataError: it has not.
    """
    expected = DATASET_SIZES[name]
    if (train, test) != expected:
        raise DataError(
            f"{name}: {train} training and {test} test examples, where {expected.train} and "
            f"{expected.test} belong.\nDelete its files and run again, to download them."
        )


def _inputs(images: NDArray[Any], peak: int, *, binarize: bool) -> NDArray[np.float32]:
    """Images of pixels from 0 to `peak` as a network sees them: (n, features)."""
    flat = images.reshape(len(images), -1)
    if binarize:
        return (flat >= (peak + 1) // 2).astype(np.float32)
    return (flat / np.float32(peak)).astype(np.float32)


def read_digits() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """scikit-learn's digits: (1797, 64) pixels from 0 to 16, and (1797,) labels from 0 to 9.

    They are read from the file that comes with scikit-learn, a line of 64 pixels and a label each.

    Raises:
        DataError: the file is missing or damaged.
    """
    package = importlib.util.find_spec("sklearn")  # finds the package without importing it
    if package is None or package.origin is None:
        raise DataError("digits: comes with scikit-learn, which is not installed here.")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    advice = "Reinstall it: pip install --force-reinstall scikit-learn"
    try:
        return _parse_digits(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path}: missing in this scikit-learn.\n{advice}") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: damaged ({error}).\n{advice}") from error


def _parse_digits(packed: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Images and labels of scikit-learn's file; ValueError if they are not all there."""
    lines = gzip.decompress(packed).decode("ascii").splitlines()
    examples = sum(DATASET_SIZES["digits"])
    if len(lines) != examples:
        raise ValueError(f"{len(lines)} lines, where {examples} belong")
    table = np.loadtxt(lines, delimiter=",")
    if table.shape[1] != 65 or not _within(table[:, :-1], 16) or not _within(table[:, -1], 9):
        raise ValueError("not 64 pixels from 0 to 16 and a label from 0 to 9 in each line")
    return table[:, :-1], table[:, -1]


def _within(values: NDArray[np.float64], most: int) -> bool:
    """Whether all values are whole numbers from 0 to `most`."""
    return bool(np.isin(values, np.arange(most + 1)).all())
