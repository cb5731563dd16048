"""A run, its files, and how it continues."""

import itertools
import json
import re

import numpy as np
import pytest
import torch

from bnexp.analysis import results as reader
from bnexp.data import datasets as data
from bnexp.data import streams
from bnexp.errors import DamagedError, LockedError, RunError, StorageError
from bnexp.files import checkpoint, storage
from bnexp.files import run_folder as runlog
from bnexp.networks.backend import TorchBackend
from bnexp.training import run as train
from bnexp.training.trainer import Trainer


def silent(_):
    """Say nothing."""


def never():
    """Do not stop."""
    return False


def after(steps):
    """Stop after so many steps."""
    left = iter(range(steps - 1))
    return lambda: next(left, None) is None


@pytest.fixture(autouse=True)
def _a_run_asks_at_every_step_whether_to_stop(monkeypatch):
    """It asks five times a second, and steps here take microseconds."""
    monkeypatch.setattr(train._Status, "due", lambda _: True)


def go(task, stop=never):
    """Do a run to its end, or to the stop."""
    return train.run(task, stop, silent)


def files(folder):
    """Every byte that must not depend on how the run was interrupted."""
    content = {
        name: (folder / name).read_bytes()
        for name in (runlog.BATCH, runlog.PROBE, runlog.METRICS, runlog.PERCENTILES)
    }
    for name in (runlog.MODEL, runlog.CHECKPOINT):
        state = checkpoint.load_tensors(folder / name)
        tensors = state if name == runlog.MODEL else {**state["arrays"], "losses": state["losses"]}
        content |= {f"{name}/{key}": value.numpy().tobytes() for key, value in tensors.items()}
    return content


def read(task):
    """The run as analysis reads it."""
    return reader.read_variant(task.folder, task.variant)


def reference(settings, seed, steps):
    """Train one net in torch's own modules; the pre-activations of each step, layer by layer."""
    dataset = data.load(settings.data)
    sizes, layers = (dataset.train_x.shape[1], *settings.model.hidden), []
    preactivations = []
    for number, (fan_in, units) in enumerate(itertools.pairwise(sizes), 1):
        linear = torch.nn.Linear(fan_in, units, bias=False, dtype=torch.float64)
        draw = streams.generator(seed, f"layers.{number}.weight")
        weight = torch.randn(fan_in, units, generator=draw, dtype=torch.float64)
        linear.weight.data = (weight * settings.model.weight_std).T
        sigmoid = torch.nn.Sigmoid()
        sigmoid.register_forward_pre_hook(lambda _, z: preactivations.append(z[0].detach()))
        layers += [linear, torch.nn.BatchNorm1d(units, dtype=torch.float64), sigmoid]
    last = torch.nn.Linear(sizes[-1], dataset.classes, dtype=torch.float64)
    draw = streams.generator(seed, f"layers.{len(sizes)}.weight")
    weight = torch.randn(sizes[-1], dataset.classes, generator=draw, dtype=torch.float64)
    last.weight.data = (weight * settings.model.weight_std).T
    last.bias.data.zero_()
    net = torch.nn.Sequential(*layers, last)
    optimizer = torch.optim.SGD(net.parameters(), settings.train.lr)
    size = settings.train.batch_size
    rows = []
    for step in range(steps):
        epoch, position = divmod(step, len(dataset.train_x) // size)
        index = streams.batch_order(len(dataset.train_x), size, seed, epoch)[position]
        preactivations.clear()
        loss = torch.nn.functional.cross_entropy(
            net(torch.from_numpy(dataset.train_x[index]).double()),
            torch.from_numpy(dataset.train_y[index]),
        )
        rows.append(torch.cat(preactivations, 1).numpy())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return rows, net, dataset


def test_batch_percentiles_equal_numpy_percentile_of_a_run_in_torch(small_task):
    """Every row of the log, over more than one epoch, is that of an independent implementation."""
    task = small_task(train={"steps": 100, "dtype": "float64"})
    go(task)
    log = read(task).batch
    assert log.values.shape == (100, 3, 3, 14)
    np.testing.assert_array_equal(log.steps, range(100))
    for index, seed in enumerate(task.seeds):
        rows, net, dataset = reference(task.variant.settings, seed, 100)
        for step, preactivations in enumerate(rows):
            expected = np.percentile(preactivations, (15, 50, 85), axis=0)
            np.testing.assert_allclose(log.values[step, index], expected, rtol=1e-6, atol=1e-6)
        net.eval()
        labels = torch.from_numpy(dataset.test_y)
        logits = net(torch.from_numpy(dataset.test_x).double())
        accuracy = (logits.argmax(1) == labels).double().mean().item()
        loss = torch.nn.functional.cross_entropy(logits, labels).item()
        assert read(task).metrics.test_accuracy[-1, index] == pytest.approx(accuracy, abs=1e-12)
        assert read(task).metrics.test_loss[-1, index] == pytest.approx(loss, abs=1e-9)


def test_probe_rows_are_those_of_the_initial_and_the_final_network(small_task):
    """The first row can be computed from the seed, the last from model.pt."""
    task = small_task(train={"steps": 43})
    go(task)
    probe, dataset = read(task).probe, data.load(task.variant.settings.data)
    np.testing.assert_array_equal(probe.steps, [0, 10, 20, 30, 40, 43])
    model = checkpoint.load_tensors(task.folder / runlog.MODEL)
    x = torch.from_numpy(dataset.test_x[:50])
    for row, seed_index in itertools.product((0, -1), range(3)):
        a, columns = x, []
        for layer in (1, 2):
            key = f"layers.{layer}."
            if row == 0:
                weight = model[key + "weight"][0]
                draw = streams.generator(task.seeds[seed_index], key + "weight")
                weight = torch.randn(weight.shape, generator=draw, dtype=torch.float64) * 0.3
                gamma, beta = torch.ones(()), torch.zeros(())
            else:
                weight, gamma, beta = (
                    model[key + name][seed_index] for name in ("weight", "gamma", "beta")
                )
            z = a.double() @ weight.double()
            z = gamma * (z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt() + beta
            columns.append(np.percentile(z.numpy(), (15, 50, 85), axis=0))
            a = torch.sigmoid(z)
        expected = np.concatenate(columns, 1)
        np.testing.assert_allclose(probe.values[row, seed_index], expected, rtol=1e-4, atol=1e-4)


def test_a_seed_of_a_stack_is_that_seed_alone(small_task):
    """Seed 2 of three has bitwise the initial row of seed 2 alone, and then its curve."""
    stack, alone = small_task("stack"), small_task("alone", seeds=(2,))
    go(stack)
    go(alone)
    together, single = read(stack).batch.values[:, 2], read(alone).batch.values[:, 0]
    np.testing.assert_allclose(together, single, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(together[0], single[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("changes", [{}, {"optimizer": "adam", "lr": 0.01}])
def test_torch_trains_as_numpy_does(small_task, monkeypatch, device, changes):
    """What a GPU runs, here on torch's CPU and on CUDA where there is one: the same to rounding."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    keys = {"train": {"dtype": "float64", **changes}, "record": {"ics_every": 10}}
    go(numpy_task := small_task("numpy", **keys))
    backend = TorchBackend("float64", device)
    monkeypatch.setattr("bnexp.networks.backend.choose", lambda *_: backend)
    task = small_task("torch", **keys)
    go(task, after(17))
    go(task)
    ours, theirs = read(task), read(numpy_task)
    assert ours.status["backend"].startswith(f"torch {torch.__version__}, {device}")
    for log in ("batch", "probe"):
        np.testing.assert_allclose(
            getattr(ours, log).values, getattr(theirs, log).values, atol=1e-5
        )
    np.testing.assert_allclose(ours.metrics.test_loss, theirs.metrics.test_loss, atol=1e-9)
    np.testing.assert_allclose(ours.ics.distance, theirs.ics.distance, atol=1e-9)


@pytest.mark.parametrize("model", [{"norm": "none"}, {"bias": True}, {"activation": "tanh"}])
def test_variants_see_identical_batches(small_task, model):
    """Whatever the model, a seed's minibatches are bitwise the same."""
    seen = []
    for changes in ({}, model):
        task = small_task(f"run{len(seen)}", model=changes)
        dataset = data.load(task.variant.settings.data)
        task.folder.mkdir()
        opened = runlog.RunFiles(task.folder, task.variant.settings, task.seeds)
        trainer = Trainer(task, dataset, opened)
        seen.append([[a.copy() for a in trainer.batches(step)] for step in (0, 71, 72)])
        opened.close()
    for ours, theirs in zip(*seen, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_same_run_twice_writes_the_same_bytes(small_task):
    """And nothing depends on global random state."""
    torch.manual_seed(1)
    go(small_task("a"))
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002
    go(small_task("b"))
    assert files(small_task("a").folder) == files(small_task("b").folder)


@pytest.mark.parametrize(
    "train_changes",
    [{}, {"momentum": 0.9, "weight_decay": 1e-4}, {"optimizer": "adam", "lr": 0.01}],
)
def test_resumed_run_is_bitwise_equal_to_uninterrupted_run(small_task, train_changes):
    """Stopped at any moment, and several times, a run ends with the same bytes."""
    whole = small_task("whole", train=train_changes)
    go(whole)
    for seed in range(3):
        task, rng = small_task(f"stopped{seed}", train=train_changes), np.random.default_rng(seed)
        states = []
        while "done" not in states:
            states.append(go(task, after(int(rng.integers(1, 20)))))
        assert states.count("interrupted") > 0
        assert files(task.folder) == files(whole.folder)


def test_a_longer_run_continues_a_finished_one(small_task):
    """40 steps and then 60 in all write what 60 at once write."""
    go(small_task("extended"))
    go(small_task("extended", train={"steps": 60}))
    go(small_task("whole", train={"steps": 60}))
    assert files(small_task("extended").folder) == files(small_task("whole").folder)


@pytest.mark.parametrize("name", [runlog.CHECKPOINT, runlog.BATCH, runlog.METRICS])
@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_file_is_named_and_never_trusted(small_task, name, damage):
    """The checkpoint before takes over from a damaged one; a damaged log is refused."""
    whole = small_task("whole")
    go(whole)
    task, said = small_task("damaged"), []
    assert go(task, after(38)) == "interrupted"
    path = task.folder / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    else:
        del content[len(content) // 2 :]
    path.write_bytes(content)
    if name == runlog.CHECKPOINT:
        train.run(task, never, said.append)
        assert any(str(path) in text and "damaged" in text for text in said)
        assert files(task.folder) == files(whole.folder)
    else:
        with pytest.raises(DamagedError, match=name):
            go(task)


def test_a_diverged_run_fails_with_its_step_and_stays_readable(small_task):
    """The error names variant, step and key; what was recorded until then is on the disk."""
    task = small_task(
        train={"lr": 1e30, "steps": 500}, model={"norm": "none", "activation": "relu"}
    )
    told = r"variant: the loss is not finite at step (\d+); lower train.lr"
    with pytest.raises(RunError, match=told) as failed:
        go(task)
    status = json.loads((task.folder / runlog.STATUS).read_text())
    assert status["state"] == "failed"
    assert "not finite" in status["error"]
    run, step = read(task), int(re.search(told, str(failed.value))[1])
    assert run.metrics.steps[0] == 0
    assert run.batch.steps[-1] >= step
    assert run.probe.steps[-1] > step - task.variant.settings.record.probe_every


def test_two_processes_never_write_one_run(small_task, monkeypatch):
    """The second is refused with host and pid."""
    task = small_task()
    task.folder.mkdir()
    original = train.locked
    monkeypatch.setattr(train, "locked", lambda folder, wait: original(folder, wait=0))  # noqa: ARG005
    with (
        storage.locked(task.folder),
        pytest.raises(LockedError, match=r"in use by process \d+ on "),
    ):
        go(task)


def test_a_checkpoint_of_other_settings_is_refused(small_task):
    """Nothing is continued with a changed config."""
    go(small_task(), after(20))
    with pytest.raises(DamagedError, match="belongs to other settings"):
        go(small_task(train={"lr": 0.1}))


def test_a_folder_that_cannot_be_written_is_one_line(small_task):
    """A file where the folder should be: which, why, what to do."""
    task = small_task()
    task.folder.write_text("in the way")
    with pytest.raises(StorageError, match=r"run: File exists; what was written"):
        go(task)


def test_metrics_hold_the_mean_loss_since_the_row_before(small_task):
    """train_loss of row r is the mean of the minibatch losses of the steps since row r - 1."""
    fine, coarse = small_task("fine", record={"evaluate_every": 1}), small_task("coarse")
    go(fine)
    go(coarse)
    each, mean = read(fine).metrics, read(coarse).metrics
    np.testing.assert_array_equal(mean.steps, [0, 7, 14, 21, 28, 35, 40])
    assert np.isnan(mean.train_loss[0]).all()
    np.testing.assert_allclose(mean.train_loss[1], each.train_loss[1:8].mean(0), rtol=1e-12)
    np.testing.assert_allclose(mean.train_loss[-1], each.train_loss[36:41].mean(0), rtol=1e-12)


def test_readers_see_whole_rows_while_a_run_writes(small_task, monkeypatch):
    """At every write, what status.json promises can be read, and equals the finished log."""
    task = small_task(train={"checkpoint_every": 3})
    seen, original = [], storage.os.fsync

    def fsync(descriptor):
        original(descriptor)
        if (task.folder / runlog.STATUS).exists():
            run = read(task)
            seen.extend(log.values.copy() for log in (run.batch, run.probe))
            assert np.load(task.folder / runlog.BATCH, mmap_mode="r").shape[1:] == (3, 3, 14)

    monkeypatch.setattr("bnexp.files.storage.os.fsync", fsync)
    go(task)
    final = read(task)
    assert len(seen) > 50
    for values in seen:
        assert any(
            np.array_equal(values, log.values[: len(values)]) for log in (final.batch, final.probe)
        )
