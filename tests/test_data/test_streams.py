"""The random streams of a run, and the order of its minibatches."""

import numpy as np
import pytest
import torch

from bnexp.data.streams import batch_order, generator
from bnexp.errors import ConfigError


def test_a_stream_depends_on_its_seed_and_purpose_alone():
    """Neither the global generator nor earlier draws change it, and it changes neither."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = torch.randn(5, generator=generator(3, "layers.1.weight"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    torch.randn(5, generator=generator(3, "layers.2.weight"))
    assert torch.equal(torch.randn(5, generator=generator(3, "layers.1.weight")), first)


def test_streams_of_other_seeds_and_purposes_differ():
    """1,000 pairs have 1,000 streams, also where seed and purpose could join to one text."""
    purposes = [f"layers.{n}.weight" for n in range(50)] + [f"batches/{n}" for n in range(50)]
    seeds = {generator(seed, name).initial_seed() for seed in range(10) for name in purposes}
    assert len(seeds) == 1000


def test_the_draws_of_a_stream_stay_what_they_were():
    """Published results rest on these numbers."""
    draws = torch.randn(4, generator=generator(0, "layers.1.weight"), dtype=torch.float64)
    assert generator(0, "layers.1.weight").initial_seed() == 2015113430
    frozen = [-2.254642438665084, -0.4203270580879949, -0.19988804365637153, -2.105943559002662]
    assert draws.tolist() == pytest.approx(frozen, rel=1e-12)


def test_the_minibatches_of_an_epoch_stay_what_they_were():
    """Published results rest on this order."""
    assert batch_order(10, 3, seed=0, epoch=0).tolist() == [[3, 7, 0], [8, 1, 9], [6, 2, 4]]
    late = batch_order(60_000, 60, seed=4, epoch=49)
    assert late[0, :5].tolist() == [38115, 17522, 45755, 55591, 25735]
    assert late[1, :5].tolist() == [26448, 14037, 3214, 39514, 9374]


def test_an_epoch_visits_examples_once_and_drops_the_incomplete_minibatch():
    """23 examples in minibatches of 5 make four of them, with no example twice."""
    order = batch_order(23, 5, seed=7, epoch=2)
    assert order.shape == (4, 5)
    assert order.dtype == np.int64
    assert len(np.unique(order)) == 20
    assert set(order.flat) <= set(range(23))


def test_batch_order_is_a_function_of_its_arguments():
    """The same call gives the same order; another epoch or seed gives another one."""
    order = batch_order(100, 10, seed=1, epoch=4)
    torch.manual_seed(99)
    assert np.array_equal(batch_order(100, 10, seed=1, epoch=4), order)
    assert not np.array_equal(batch_order(100, 10, seed=1, epoch=5), order)
    assert not np.array_equal(batch_order(100, 10, seed=2, epoch=4), order)


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
    """A minibatch of all examples is a permutation."""
    assert sorted(batch_order(10, 10, seed=0, epoch=0).flat) == list(range(10))
