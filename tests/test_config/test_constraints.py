"""What several keys say together, and what a data set allows."""

import pytest
from helpers.configs import BASE, NAME, NEEDS_TWO, load, mistakes

from bnexp.config import probe_examples

BAD = {
    "batch norm of one example": (
        NAME + "train: {batch_size: 1}\nvariants:\n  one: {model: {norm: batch}}",
        f"x.yaml:4:23: variants.one.model.norm: {NEEDS_TWO}",
    ),
    "one example for batch norm": (
        BASE + "model: {norm: batch}\ntrain: {batch_size: 1}",
        f"x.yaml:4:21: train.batch_size: {NEEDS_TWO}",
    ),
    "a layer that is not there": (
        BASE + "record: {layers: [1, 4]}",
        "x.yaml:3:18: record.layers: there is no hidden layer 4 to record",
    ),
    "a variant without the recorded layer": (
        NAME + "record: {layers: [3]}\nvariants: {one: {model: {hidden: [9]}}}",
        "x.yaml:3:34: variants.one.model.hidden: there is no hidden layer 3 to record",
    ),
    "a minibatch larger than the training set": (
        BASE + "data: {name: digits}\ntrain: {batch_size: 1438}",
        (
            "x.yaml:4:21: train.batch_size: digits has 1437 training examples; choose at most that"
            " many"
        ),
    ),
    "a probe larger than the test set": (
        BASE + "data: {name: digits}\nrecord: {probe_size: 361}",
        "x.yaml:4:22: record.probe_size: digits has 360 test examples; choose at most that many",
    ),
    "a variant whose data set is smaller than the probe": (
        NAME + "record: {probe_size: 500}\nvariants: {one: {data: {name: digits}}}",
        (
            "x.yaml:3:31: variants.one.data.name: digits has 360 test examples; choose at most that"
            " many"
        ),
    ),
    "a grid with a minibatch larger than the training set": (
        NAME + "data: {name: digits}\ngrid: {train.batch_size: [60, 2000]}",
        (
            "x.yaml:3:26: grid.train.batch_size: digits has 1437 training examples; choose at most"
            " that many"
        ),
    ),
    "kernels on a GPU": (
        BASE + "train: {device: cuda, engine: kernels}",
        "x.yaml:3:31: train.engine: the kernels run on the CPU; cuda needs engine torch or auto",
    ),
    "kernels for a norm that they do not have": (
        BASE + "model: {norm: rms}\ntrain: {engine: kernels}",
        "x.yaml:4:17: train.engine: the kernels have no norm 'rms'; use engine torch or auto",
    ),
}


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD)
def test_keys_that_cannot_stand_together_are_told_with_their_place(text, expected):
    """Each kind gives exactly one line: file, line, column, key, problem, advice."""
    assert mistakes(text) == [expected]


def test_a_conflict_in_the_base_is_told_once():
    """Two variants that inherit one conflict do not make two mistakes of it."""
    text = NAME + "record: {layers: [4]}\nvariants: {one: {}, two: {}}"
    assert len(mistakes(text)) == 1


def test_a_probe_without_a_size_is_1000_examples_or_the_whole_smaller_test_set():
    """The default is null in the YAML, and each data set gives the number."""
    sizes = {}
    for name in ("mnist", "fashion_mnist", "kmnist", "digits"):
        settings = load(BASE, f"data.name={name}").base
        assert settings.record.probe_size is None
        sizes[name] = probe_examples(settings)
    assert sizes == {"mnist": 1000, "fashion_mnist": 1000, "kmnist": 1000, "digits": 360}
    assert probe_examples(load(BASE, "record.probe_size=20").base) == 20


def test_a_minibatch_and_a_probe_may_be_the_whole_data_set():
    """The largest sizes that a data set allows are no mistake."""
    whole = ("data.name=digits", "train.batch_size=1437", "record.probe_size=360")
    settings = load(BASE, *whole).base
    assert (settings.train.batch_size, settings.record.probe_size) == (1437, 360)
