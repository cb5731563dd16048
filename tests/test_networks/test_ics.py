"""Gradient internal covariate shift against its definition, computed by torch's autograd."""

from dataclasses import replace

import numpy as np
import torch
from helpers.experiments import small_settings

from bnexp.analysis import results as reader
from bnexp.data import datasets as data
from bnexp.data import streams
from bnexp.files import run_folder as runlog
from bnexp.training import run as train


def torch_gradients(settings, parameters, x, y):
    """The gradient of every weight of one seed, by autograd."""
    leaves = {k: torch.tensor(v, requires_grad=True) for k, v in parameters.items()}
    a, depth = x, len(settings.model.hidden) + 1
    for layer in range(1, depth + 1):
        z = a @ leaves[f"layers.{layer}.weight"]
        if layer == depth:
            break
        z = (z - z.mean(0)) / (z.var(0, correction=0) + settings.model.norm_eps).sqrt()
        a = torch.sigmoid(z * leaves[f"layers.{layer}.gamma"] + leaves[f"layers.{layer}.beta"])
    logits = z + leaves[f"layers.{depth}.bias"]
    torch.nn.functional.cross_entropy(logits, y).backward()
    return {k: v.grad.numpy() for k, v in leaves.items()}


def test_shift_is_that_of_definition_2_1(small_task):
    """Distance and cosine of each layer equal those of autograd, at the first step."""
    task = small_task(train={"dtype": "float64"}, record={"ics_every": 10})
    settings = task.variant.settings
    train.run(task, lambda: False, lambda _: None)
    measured = reader.read_variant(task.folder, task.variant).ics
    np.testing.assert_array_equal(measured.steps, [0, 10, 20, 30])
    assert measured.distance.shape == (4, 2, 3)
    dataset = data.load(settings.data)
    for index, seed in enumerate(task.seeds):
        sizes = (64, 8, 6, 10)
        old = {}
        for layer in (1, 2, 3):
            key, shape = f"layers.{layer}.weight", sizes[layer - 1 : layer + 1]
            draw = torch.randn(shape, generator=streams.generator(seed, key), dtype=torch.float64)
            old[key] = (draw * settings.model.weight_std).numpy()
            if layer < 3:
                old[f"layers.{layer}.gamma"] = np.ones(shape[1])
                old[f"layers.{layer}.beta"] = np.zeros(shape[1])
        old["layers.3.bias"] = np.zeros(10)
        batch = streams.batch_order(len(dataset.train_x), 20, seed, 0)[0]
        x = torch.from_numpy(dataset.train_x[batch]).double()
        y = torch.from_numpy(dataset.train_y[batch])
        g = torch_gradients(settings, old, x, y)
        for row, layer in enumerate((2, 3)):
            mixed = {
                k: v - settings.train.lr * g[k] if int(k.split(".")[1]) < layer else v
                for k, v in old.items()
            }
            key = f"layers.{layer}.weight"
            ours, theirs = g[key], torch_gradients(settings, mixed, x, y)[key]
            distance = np.linalg.norm(ours - theirs)
            cosine = (ours * theirs).sum() / np.linalg.norm(ours) / np.linalg.norm(theirs)
            np.testing.assert_allclose(measured.distance[0, row, index], distance, rtol=1e-9)
            np.testing.assert_allclose(measured.cosine[0, row, index], cosine, rtol=1e-9)


def test_measuring_the_shift_does_not_change_the_run(small_task):
    """Every other file is bitwise that of a run without it."""
    with_it, without = small_task("with", record={"ics_every": 3}), small_task("without")
    for task in (with_it, without):
        train.run(task, lambda: False, lambda _: None)
    for name in (runlog.BATCH, runlog.PROBE, runlog.METRICS):
        assert (with_it.folder / name).read_bytes() == (without.folder / name).read_bytes()


def test_the_shift_is_off_by_default():
    """Nobody pays for what was not asked for."""
    assert replace(small_settings()).record.ics_every is None
