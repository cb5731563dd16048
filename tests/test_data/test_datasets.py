"""Data sets as arrays: what the networks see of MNIST and of the digits."""

import gzip
import importlib.util
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from bnexp.config import DATASET_SIZES, DataConfig, Sizes
from bnexp.data import idx
from bnexp.data.datasets import load
from bnexp.errors import DataError

EDGES = np.array([0, 7, 8, 16, 127, 128, 255], np.uint8)


@pytest.fixture
def four_arrays(monkeypatch):
    """Stands in for the IDX files: train and test images of 1x7 pixels around both thresholds."""
    images, labels = EDGES.reshape(1, 1, 7), np.array([9], np.uint8)
    monkeypatch.setattr(idx, "load", lambda *_: [images, labels, images, labels])
    monkeypatch.setitem(DATASET_SIZES, "mnist", Sizes(1, 1))


@pytest.fixture
def digits_file(tmp_path, monkeypatch):
    """Where the digits are looked for; nothing is there yet."""
    spec = ModuleSpec("sklearn", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: spec)
    path = tmp_path / "datasets" / "data" / "digits.csv.gz"
    path.parent.mkdir(parents=True)
    return path


def assert_same(array, expected):
    """Same shape, values and type."""
    np.testing.assert_array_equal(array, expected, strict=True)


@pytest.mark.usefixtures("four_arrays")
def test_mnist_pixels_above_127_are_one():
    """Binary pixels are 0 and 1 in float32, images are flat rows, labels int64."""
    data = load(DataConfig("mnist", "unused", binarize=True))
    assert_same(data.train_x, np.array([[0, 0, 0, 0, 0, 1, 1]], np.float32))
    assert_same(data.test_x, data.train_x)
    assert_same(data.train_y, np.array([9], np.int64))
    assert_same(data.test_y, data.train_y)
    assert (data.classes, data.name) == (10, "mnist")


@pytest.mark.usefixtures("four_arrays")
def test_mnist_pixels_not_binarised_are_a_share_of_255():
    """They are what float32 arithmetic makes of pixel / 255, bit for bit."""
    data = load(DataConfig("mnist", "unused", binarize=False))
    assert_same(data.test_x, EDGES[None].astype(np.float32) / np.float32(255))


@pytest.mark.usefixtures("four_arrays")
def test_a_set_of_another_size_than_the_config_was_checked_for_is_refused(monkeypatch):
    """Sound files of other images do not become a silently different experiment."""
    monkeypatch.setitem(DATASET_SIZES, "mnist", Sizes(60_000, 10_000))
    with pytest.raises(DataError) as caught:
        load(DataConfig("mnist", "unused"))
    assert str(caught.value) == (
        "mnist: 1 training and 1 test examples, where 60000 and 10000 belong.\n"
        "Delete its files and run again, to download them."
    )


def test_digits_are_those_of_scikit_learn():
    """The file is read to the same images and labels, and the last 360 are the test set."""
    data = load(DataConfig("digits", "unused", binarize=True))
    images, labels = load_digits(return_X_y=True)
    assert (data.train_x.shape, data.test_x.shape) == ((1437, 64), (360, 64))
    assert (data.train_x.dtype, data.train_y.dtype) == (np.float32, np.int64)
    assert np.array_equal(np.concatenate([data.train_x, data.test_x]), images > 7)
    assert np.array_equal(np.concatenate([data.train_y, data.test_y]), labels)


def test_the_test_set_of_the_digits_has_all_of_them_about_equally_often():
    """It holds 33 to 37 of each digit."""
    counts = np.bincount(load(DataConfig("digits", "unused")).test_y)
    assert (len(counts), counts.min(), counts.max()) == (10, 33, 37)


def test_digits_not_binarised_are_a_share_of_16():
    """The pixels are 0 to 16, so the inputs are multiples of 1/16 up to 1."""
    data = load(DataConfig("digits", "unused", binarize=False))
    images, _ = load_digits(return_X_y=True)
    assert_same(data.train_x, (images[:1437] / 16).astype(np.float32))
    assert data.train_x.max() == 1


def test_loading_the_digits_imports_neither_torch_nor_scikit_learn():
    """Importing them would take longer than loading the digits and training on them."""
    code = (
        "import sys\n"
        "from bnexp.config import DataConfig\n"
        "from bnexp.data.datasets import load\n"
        "load(DataConfig('digits'))\n"
        "print({'torch', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_missing_file_of_digits_is_named_with_the_way_out(digits_file):
    """A scikit-learn without its data is told in two lines."""
    with pytest.raises(DataError) as caught:
        load(DataConfig("digits"))
    assert str(caught.value) == (
        f"{digits_file}: missing in this scikit-learn.\n"
        "Reinstall it: pip install --force-reinstall scikit-learn"
    )


def test_digits_without_scikit_learn_are_refused(monkeypatch):
    """The error says what has to be installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DataError, match="scikit-learn, which is not installed here"):
        load(DataConfig("digits"))


LINE = ",".join(["8"] * 64 + ["3"])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "0 lines, where 1797 belong"),
        (b"no gzip", "Not a gzipped file"),
        (gzip.compress(f"{LINE}\n".encode() * 1796), "1796 lines, where 1797 belong"),
        (gzip.compress(f"{LINE}\n".encode() * 1797)[:-9], "Compressed file ended"),
        (gzip.compress(f"{LINE},1\n".encode() * 1797), "not 64 pixels from 0 to 16"),
        (gzip.compress(f"9{LINE}\n".encode() * 1797), "not 64 pixels from 0 to 16"),
        (gzip.compress(f"{LINE}5\n".encode() * 1797), "a label from 0 to 9"),
        (gzip.compress(f"x{LINE}\n".encode() * 1797), "could not convert"),
        (gzip.compress(b"\xff\n" * 1797), "can't decode"),
    ],
    ids=["empty", "text", "a line less", "cut", "a column more", "99", "35", "a letter", "a byte"],
)
def test_a_damaged_file_of_digits_is_refused(digits_file, content, problem):
    """Whatever is wrong with it, the file is named, with what was found."""
    digits_file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(DataConfig("digits"))
    assert str(caught.value).startswith(f"{digits_file}: damaged (")
    assert problem in str(caught.value)
    assert str(caught.value).count("\n") == 1


def test_real_mnist():
    """Shapes, class counts and number of ones of MNIST itself, of which `load` checks the md5."""
    root = os.environ.get("BNEXP_DATA", "")
    if not (Path(root) / "MNIST" / "raw").is_dir():
        pytest.skip("BNEXP_DATA names no folder with MNIST/raw")
    data = load(DataConfig("mnist", root, binarize=True))
    assert (data.train_x.shape, data.test_x.shape) == ((60000, 784), (10000, 784))
    assert np.bincount(data.train_y)[:2].tolist() == [5923, 6742]
    assert np.bincount(data.test_y)[:2].tolist() == [980, 1135]
    assert (np.count_nonzero(data.train_x), data.train_x.max()) == (6221431, 1)
    assert (np.count_nonzero(data.test_x), data.test_x.max()) == (1052359, 1)
