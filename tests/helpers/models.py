"""Models of a user's own, the loops that train them, and what was recorded of them."""

import os
import signal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import bnexp
from bnexp.analysis.variants import read_variant


def dense(seed=0, units=6):
    """A small network with batch norm: 8 inputs, 6 units, 3 classes."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(8, units), nn.BatchNorm1d(units), nn.Sigmoid(), nn.Linear(units, 3)
    )


def minibatch(step, examples=16):
    """The inputs and labels of a step."""
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(examples, 8, generator=generator)
    return x, x[:, :3].argmax(1)


def train(model, recorder, end, optimizer=None, call=None):
    """Train to a step as people do; `call` is what the loop calls instead of the model."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.1)
    while recorder.steps < end:
        x, y = minibatch(recorder.steps)
        loss = F.cross_entropy((call or model)(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recorder.step(train_loss=loss)


def record(model, folder, layers="1", **options):
    """`bnexp.record` with a layer."""
    return bnexp.record(model, folder, layers, **options)


def recorded(folder, steps, evaluated_every=None, seed=0, **options):
    """Train and record for so many steps, with an accuracy of t / steps after every so many."""
    model = dense(seed)
    with record(model, folder, seed=seed, **options) as recorder:
        for end in range(1, steps + 1):
            train(model, recorder, end)
            if evaluated_every and end % evaluated_every == 0:
                recorder.log(test_accuracy=end / steps)


def read(folder, variant="model", seeds=(0,)):
    """What was recorded, as analysis reads it."""
    return read_variant(variant, [folder / variant / f"seed-{seed}" for seed in seeds])


def rows(log):
    """All rows (rows, percentiles, units) of the first seed."""
    return np.asarray(log.values[:, 0])


def expected(values, axis=1, q=(15, 50, 85)):
    """numpy.percentile of captured values, unit by unit."""
    columns = np.moveaxis(values.detach().double().numpy(), axis, -1)
    columns = columns.reshape(-1, columns.shape[-1])
    return np.percentile(columns, q, axis=0).astype(np.float32)


def files(folder):
    """The bytes of the logs and of what describes them."""
    names = ("batch_percentiles.npy", "probe_percentiles.npy", "metrics.csv", "percentiles.json")
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


def record_and_die(folder, checkpoint, options):
    """Train and record, save the state at steps 5 and 8 with a commit each, and die at step 10.

    Args:
        folder: of the experiment.
        checkpoint: the path of the states, before `-5.pt` and `-8.pt`.
        options: of the recording.
    """
    model = dense()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    with record(model, folder, probe=minibatch(99, 20)[0], **options) as recorder:
        for end in (5, 8):
            train(model, recorder, end, optimizer)
            recorder.commit()
            torch.save([model.state_dict(), optimizer.state_dict()], f"{checkpoint}-{end}.pt")
        train(model, recorder, 10, optimizer)
        os.kill(os.getpid(), signal.SIGKILL)


def held(folder, ready, done):
    """Record in a process of its own, until it may end."""
    model = dense()
    with record(model, folder) as recorder:
        train(model, recorder, 1)
        ready.set()
        done.wait(60)
