"""The optimizers against torch's."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bnexp.config.experiment import TrainConfig
from bnexp.networks import backend, optimizer
from bnexp.networks.backend import NumpyBackend, TorchBackend

SIZE, STEPS = 50, 20
SGD = replace(TrainConfig(), optimizer="sgd", lr=0.3)
ADAM = replace(TrainConfig(), optimizer="adam", lr=0.01)


@pytest.mark.parametrize("decay", [0.0, 0.02])
@pytest.mark.parametrize("config", [SGD, replace(SGD, momentum=0.9), ADAM])
@pytest.mark.parametrize("make", [NumpyBackend, lambda dtype: TorchBackend(dtype, "cpu")])
def test_updates_are_those_of_torch(monkeypatch, make, config, decay):
    """In float64 to 1e-12, whatever the pieces that the vector is gone through in."""
    monkeypatch.setattr(backend, "PIECE", 7)
    config, to = replace(config, weight_decay=decay), make("float64")
    rng = np.random.default_rng(0)
    start, *gradients = torch.from_numpy(rng.standard_normal((STEPS + 1, SIZE)))
    theirs = start.clone().requires_grad_()
    reference = (
        torch.optim.Adam([theirs], config.lr, weight_decay=decay)
        if config.optimizer == "adam"
        else torch.optim.SGD([theirs], config.lr, config.momentum, weight_decay=decay)
    )
    ours, update = to.asarray(start.clone()), optimizer.make(config, to, SIZE).update
    for step, gradient in enumerate(gradients):
        theirs.grad = gradient.clone()
        reference.step()
        update(ours, to.asarray(gradient), step)
    np.testing.assert_allclose(to.numpy(ours), theirs.detach(), rtol=0, atol=1e-12)
    assert np.abs(to.numpy(ours) - start.numpy()).min() > 1e-3
