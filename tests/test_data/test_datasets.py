"""Data sets as tensors, and the random streams of a run."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from bnexp.config.experiment import DataConfig
from bnexp.data import idx
from bnexp.data.datasets import batch_order, generator, load
from bnexp.errors import ConfigError

EDGES = np.array([0, 7, 8, 16, 127, 128, 255], np.uint8)


@pytest.fixture
def four_arrays(monkeypatch):
    """Stands in for the IDX files: train and test images of 1x7 pixels around both thresholds."""
    images, labels = EDGES.reshape(1, 1, 7), np.array([9], np.uint8)
    monkeypatch.setattr(idx, "load", lambda name, root: (images, labels, images, labels))  # noqa: ARG005


def test_a_stream_depends_on_its_seed_and_name_alone():
    """Neither the global generator nor earlier draws change it, and it changes neither."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = torch.randn(5, generator=generator(3, "layers.1.weight"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    torch.randn(5, generator=generator(3, "layers.2.weight"))
    assert torch.equal(torch.randn(5, generator=generator(3, "layers.1.weight")), first)


def test_streams_of_other_seeds_and_names_differ():
    """1,000 (seed, name) pairs have 1,000 streams, also where the joined text could be alike."""
    names = [f"layers.{n}.weight" for n in range(50)] + [f"batches/{n}" for n in range(50)]
    seeds = {generator(seed, name).initial_seed() for seed in range(10) for name in names}
    assert len(seeds) == 1000


def test_streams_stay_what_they_were():
    """Published results depend on these draws: neither the hash nor the permutation may change."""
    assert generator(0, "layers.1.weight").initial_seed() == 2015113430
    assert batch_order(10, 3, seed=0, epoch=0).tolist() == [[3, 7, 0], [8, 1, 9], [6, 2, 4]]


def test_an_epoch_visits_examples_once_and_drops_the_incomplete_batch():
    """23 examples in batches of 5: four batches, no example twice, each a valid index."""
    order = batch_order(23, 5, seed=7, epoch=2)
    assert order.shape == (4, 5)
    assert order.dtype == torch.int64
    assert len(set(order.flatten().tolist())) == 20
    assert set(order.flatten().tolist()) <= set(range(23))


def test_batch_order_is_a_function_of_its_arguments():
    """The same call gives the same order, another epoch or seed another one."""
    order = batch_order(100, 10, seed=1, epoch=4)
    torch.manual_seed(99)
    assert torch.equal(batch_order(100, 10, seed=1, epoch=4), order)
    assert not torch.equal(batch_order(100, 10, seed=1, epoch=5), order)
    assert not torch.equal(batch_order(100, 10, seed=2, epoch=4), order)


def test_every_example_is_equally_likely_in_each_place():
    """Over 2,000 epochs each of 6 examples is first 333 times, within 5 standard deviations."""
    first = [int(batch_order(6, 2, seed=0, epoch=epoch)[0, 0]) for epoch in range(2000)]
    counts = np.bincount(first, minlength=6)
    assert np.all(np.abs(counts - 2000 / 6) < 5 * np.sqrt(2000 * (1 / 6) * (5 / 6)))


@pytest.mark.parametrize("batch_size", [0, -1, 11])
def test_a_minibatch_larger_than_the_training_set_is_refused(batch_size):
    """The error names the key, the value and what is possible."""
    with pytest.raises(ConfigError) as caught:
        batch_order(10, batch_size, seed=0, epoch=0)
    expected = f"train.batch_size: {batch_size}; choose 1 to 10, the training examples"
    assert str(caught.value) == expected


def test_one_minibatch_may_be_the_whole_training_set():
    """A batch of all examples is a permutation."""
    assert sorted(batch_order(10, 10, seed=0, epoch=0).flatten().tolist()) == list(range(10))


@pytest.mark.usefixtures("four_arrays")
def test_mnist_pixels_above_127_are_one():
    """Binary pixels are 0 and 1 in float32, images are flat rows, labels int64."""
    data = load(DataConfig("mnist", "unused", binarize=True))
    assert data.train_x.tolist() == [[0, 0, 0, 0, 0, 1, 1]]
    assert (data.train_x.dtype, data.train_y.dtype) == (torch.float32, torch.int64)
    assert (data.train_y.tolist(), data.classes, data.name) == ([9], 10, "mnist")
    assert torch.equal(data.test_x, data.train_x)


@pytest.mark.usefixtures("four_arrays")
def test_mnist_pixels_not_binarised_are_a_share_of_255():
    """Bitwise what torch computes for pixel / 255 in float32."""
    data = load(DataConfig("mnist", "unused", binarize=False))
    assert torch.equal(data.test_x, torch.from_numpy(EDGES)[None].float() / 255)


def test_digits_are_split_into_1437_and_360():
    """The test set is scikit-learn's last 360 examples, with all digits about equally often."""
    data = load(DataConfig("digits", "unused", binarize=True))
    images, labels = load_digits(return_X_y=True)
    assert (data.train_x.shape, data.test_x.shape) == ((1437, 64), (360, 64))
    assert np.array_equal(torch.cat([data.train_x, data.test_x]), images > 7)
    assert np.array_equal(torch.cat([data.train_y, data.test_y]), labels)
    assert (data.test_y.bincount().min(), data.test_y.bincount().max()) == (33, 37)


def test_digits_not_binarised_are_a_share_of_16():
    """The pixels are 0 to 16, so the inputs are multiples of 1/16 up to 1."""
    data = load(DataConfig("digits", "unused", binarize=False))
    images, _ = load_digits(return_X_y=True)
    assert np.array_equal(data.train_x, images[:1437] / 16)
    assert data.train_x.max() == 1


def test_real_mnist():
    """Shapes, class counts and number of ones of MNIST itself, of which `load` checks the md5."""
    root = os.environ.get("BNEXP_DATA", "")
    if not (Path(root) / "MNIST" / "raw").is_dir():
        pytest.skip("BNEXP_DATA names no folder with MNIST/raw")
    data = load(DataConfig("mnist", root, binarize=True))
    assert (data.train_x.shape, data.test_x.shape) == ((60000, 784), (10000, 784))
    assert data.train_y.bincount()[:2].tolist() == [5923, 6742]
    assert data.test_y.bincount()[:2].tolist() == [980, 1135]
    assert (int(data.train_x.count_nonzero()), float(data.train_x.max())) == (6221431, 1)
    assert (int(data.test_x.count_nonzero()), float(data.test_x.max())) == (1052359, 1)
