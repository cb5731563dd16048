"""Which engine does a run's arithmetic, and when what is due."""

import contextlib
import importlib
import sys

import pytest
from helpers.cases import settings

from bnexp.errors import ConfigError
from bnexp.networks.engine import Minibatches, choose_engine, count_due, is_due, until_event


@pytest.mark.parametrize(
    ("engine", "device", "numba", "chosen"),
    [
        ("auto", "cpu", True, "kernels"),
        ("auto", "cpu", False, "torch"),
        ("auto", "cuda", True, "torch"),
        ("auto", "mps", True, "torch"),
        ("kernels", "cpu", True, "kernels"),
        ("torch", "cpu", True, "torch"),
        ("torch", "cuda", False, "torch"),
    ],
)
def test_auto_means_kernels_on_the_cpu_where_numba_is_installed(engine, device, numba, chosen):
    """And torch everywhere else; an engine that is named is used."""
    assert choose_engine(engine, device, settings(), numba=numba) == chosen


@pytest.mark.parametrize(("device", "numba"), [("cuda", True), ("cpu", False)])
def test_asking_for_kernels_where_they_cannot_be_used_is_a_mistake(device, numba):
    """The message names the key, the reason, and what to do."""
    with pytest.raises(ConfigError, match=r"train\.engine: kernels, but .*; use train\.engine="):
        choose_engine("kernels", device, settings(), numba=numba)


@contextlib.contextmanager
def nothing_imported():
    """Neither bnexp nor Numba is imported, and Numba cannot be."""

    def taken():
        roots = {"bnexp", "numba", "llvmlite"}
        names = [name for name in sys.modules if name.partition(".")[0] in roots]
        return {name: sys.modules.pop(name) for name in names}

    before = taken()
    sys.modules.update(dict.fromkeys(("numba", "llvmlite")))
    try:
        yield
    finally:
        taken()
        sys.modules.update(before)


def test_the_room_imports_without_numba():
    """Everything but the kernels: as on a machine where Numba is not installed."""
    with nothing_imported():
        for name in ("engine", "mlp", "torch_engine"):
            importlib.import_module(f"bnexp.networks.{name}")
        for name in ("sorting", "percentiles"):
            importlib.import_module(f"bnexp.recording.{name}")
        with pytest.raises(ImportError, match=r"numba|llvmlite"):
            importlib.import_module("bnexp.networks.kernels_engine")


def test_blocks_end_where_something_is_due():
    """A block never steps over the beginning of a step at which something else is due."""
    record = settings(record={"probe_every": 10, "evaluate_every": 7, "ics_every": None}).record
    step, blocks = 0, []
    while step < 25:
        until = until_event(step, 25, record)
        blocks.append((step, until))
        step = until
    assert blocks == [(0, 1), (1, 7), (7, 8), (8, 10), (10, 14), (14, 15), (15, 20), (20, 21),
                      (21, 22), (22, 25)]  # fmt: skip


def test_counting_what_is_due_equals_asking_at_each_step():
    """For blocks that begin and end anywhere."""
    for every in (1, 3, 10):
        for first in range(12):
            for end in range(first, 25):
                expected = sum(is_due(step, every) for step in range(first, end))
                assert count_due(first, end, every) == expected


def test_a_block_of_minibatches_is_the_minibatches_of_its_steps():
    """Whatever the order in which they are asked for; an epoch's end cuts a block."""
    minibatches = Minibatches(100, 30, 5)
    assert minibatches.per_epoch == 3
    assert len(minibatches.block(1, 10)) == 2
    fresh = Minibatches(100, 30, 5)
    for step in (4, 0, 7, 2, 1):
        alone, block = fresh.block(step, step + 1)[0], Minibatches(100, 30, 5).block(step, 99)
        assert (alone == block[0]).all()
    assert len({*minibatches.block(0, 3).ravel()}) == 90
