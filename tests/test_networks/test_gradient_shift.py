"""Gradient internal covariate shift against its definition, computed by torch's autograd."""

import numpy as np
import pytest
import torch
from helpers.cases import (
    OPTIMIZERS,
    assert_same_bits,
    make,
    minibatch,
    plain,
    settings,
    sparse_digits,
)


def gradients(made, state):
    """The gradient of every linear module's weights at these parameters, on minibatch 0."""
    network = plain(made)
    network.load_state_dict({key: torch.from_numpy(np.asarray(v)) for key, v in state.items()})
    x, y = minibatch(made, 0)
    torch.nn.functional.cross_entropy(network(x), y).backward()
    names = ["linear1", "linear2", "output"]
    return [getattr(network, name).weight.grad.numpy() for name in names]


def layer_of(key):
    """The layer that a parameter belongs to, counted from 1."""
    module = key.split(".")[0]
    return 3 if module == "output" else int(module[-1])


@pytest.mark.parametrize("engine", ["kernels", "torch"])
@pytest.mark.parametrize("case", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_shift_is_that_of_definition_2_1(engine, case, norm):
    """Distance, relative distance and cosine of each layer, at the first step."""
    made = settings(model={"norm": norm}, train=case, record={"ics_every": 10})
    trained = make(engine, made)
    (old,) = trained.state_dicts()
    (rows,) = trained.advance(1)
    (new,) = trained.state_dicts()
    before = gradients(made, old)
    assert [(row.step, row.layer) for row in rows.gradient_shift] == [(0, 2), (0, 3)]
    for row in rows.gradient_shift:
        mixed = {key: new[key] if layer_of(key) < row.layer else old[key] for key in old}
        a, b = before[row.layer - 1], gradients(made, mixed)[row.layer - 1]
        distance, norms = np.linalg.norm(a - b), [np.linalg.norm(a), np.linalg.norm(b)]
        np.testing.assert_allclose(row.distance, distance, rtol=1e-9)
        np.testing.assert_allclose(row.relative_distance, distance / norms[0], rtol=1e-9)
        np.testing.assert_allclose(row.cosine, (a * b).sum() / np.prod(norms), rtol=1e-9)


@pytest.mark.parametrize("engine", ["kernels", "torch"])
@pytest.mark.parametrize("dataset", [None, sparse_digits()], ids=["dense", "sparse"])
def test_measuring_the_shift_does_not_change_the_run(engine, dataset):
    """Everything else is bitwise that of a run without it."""
    with_it = make(engine, settings(record={"ics_every": 3}), dataset)
    without = make(engine, settings(), dataset)
    (rows,), (expected,) = with_it.advance(40), without.advance(40)
    assert len(rows.gradient_shift) == 14 * 2
    rows.gradient_shift = []
    assert_same_bits([rows], [expected])
    assert_same_bits(with_it.state(), without.state())
