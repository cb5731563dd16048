"""A run, its files, and how it continues."""

import itertools
import json
import re

import numpy as np
import pytest
import torch
from helpers.experiments import Reporter, contents, go, read

from bnexp.analysis.drift import unit_measures
from bnexp.data import datasets as data
from bnexp.data import streams
from bnexp.errors import ConfigError, DamagedError, LockedError, RunError, StorageError
from bnexp.files import checkpoint, locks, run_folder
from bnexp.files.status import STATUS, read_status
from bnexp.networks.engine import Failure
from bnexp.networks.mlp import mlp
from bnexp.networks.torch_engine import TorchEngine
from bnexp.training import run as training
from bnexp.verify.check import Verdict
from bnexp.verify.logs import one_arithmetic


@pytest.fixture(autouse=True)
def _a_run_asks_at_every_step_whether_to_stop(monkeypatch):
    """Elsewhere it asks several times a second, and steps here take microseconds."""
    monkeypatch.setattr(training, "BLOCK_SECONDS", 0.0)


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
    x, y = torch.as_tensor(dataset.train_x).double(), torch.as_tensor(dataset.train_y)
    rows = []
    for step in range(steps):
        epoch, position = divmod(step, len(x) // size)
        index = torch.as_tensor(streams.batch_order(len(x), size, seed, epoch)[position])
        preactivations.clear()
        loss = torch.nn.functional.cross_entropy(net(x[index]), y[index])
        rows.append(torch.cat(preactivations, 1).numpy())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return rows, net, dataset


@pytest.mark.parametrize("seed", [0, 2])
def test_minibatch_percentiles_equal_numpy_percentile_of_a_run_in_torch(small_plan, seed):
    """Every row of the log, over more than one epoch, is that of an independent implementation."""
    plan = small_plan(seed=seed, train={"steps": 100, "dtype": "float64"})
    go(plan)
    log = read(plan).minibatch
    assert log.values.shape == (100, 1, 3, 14)
    np.testing.assert_array_equal(log.steps, range(100))
    rows, net, dataset = reference(plan.settings, seed, 100)
    for step, preactivations in enumerate(rows):
        expected = np.percentile(preactivations, (15, 50, 85), axis=0)
        np.testing.assert_allclose(log.values[step, 0], expected, rtol=1e-6, atol=1e-6)
    net.eval()
    logits, labels = net(torch.as_tensor(dataset.test_x).double()), torch.as_tensor(dataset.test_y)
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    assert read(plan).metrics.test_accuracy[-1, 0] == pytest.approx(accuracy, abs=1e-12)
    assert read(plan).metrics.test_loss[-1, 0] == pytest.approx(loss, abs=1e-9)


def test_probe_rows_are_those_of_the_initial_and_the_final_network(small_plan):
    """The first row can be computed from the seed, the last from model.pt."""
    plan = small_plan(train={"steps": 43})
    go(plan)
    probe, dataset = read(plan).probe, data.load(plan.settings.data)
    np.testing.assert_array_equal(probe.steps, [0, 10, 20, 30, 40, 43])
    model = checkpoint.load_tensors(plan.folder / run_folder.MODEL)
    for row in (0, -1):
        a, columns = torch.as_tensor(dataset.test_x[:50]).double(), []
        for layer in (1, 2):
            weight = model[f"linear{layer}.weight"].T
            gamma, beta = model[f"norm{layer}.weight"], model[f"norm{layer}.bias"]
            if row == 0:
                draw = streams.generator(plan.seed, f"layers.{layer}.weight")
                weight = torch.randn(weight.shape, generator=draw, dtype=torch.float64) * 0.3
                gamma, beta = torch.ones(()), torch.zeros(())
            z = a @ weight.double()
            z = gamma * (z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt() + beta
            columns.append(np.percentile(z.numpy(), (15, 50, 85), axis=0))
            a = torch.sigmoid(z)
        expected = np.concatenate(columns, 1)
        np.testing.assert_allclose(probe.values[row, 0], expected, rtol=1e-4, atol=1e-4)


def test_gamma_and_beta_are_recorded_at_the_probes_rows(small_plan):
    """They begin at 1 and 0, and end as model.pt holds them."""
    plan = small_plan()
    go(plan)
    found = read(plan).norm_parameters
    assert found.shape == (5, 1, 2, 14)
    np.testing.assert_array_equal(found[0, 0], [[1.0] * 14, [0.0] * 14])
    model = checkpoint.load_tensors(plan.folder / run_folder.MODEL)
    for row, name in enumerate(("weight", "bias")):
        expected = torch.cat([model[f"norm{layer}.{name}"] for layer in (1, 2)])
        np.testing.assert_array_equal(found[-1, 0, row], expected)


@pytest.mark.parametrize(
    "model",
    [{}, {"norm": "none", "bias": True}, {"gamma": False}, {"beta": False, "activation": "relu"}],
)
def test_model_pt_loads_strictly_into_a_plain_torch_network(small_plan, model):
    """And that network has the accuracy that the last row of the metrics holds."""
    plan = small_plan(model=model)
    go(plan)
    dataset = data.load(plan.settings.data)
    net = mlp(plan.settings.model, dataset.train_x.shape[1], dataset.classes)
    net.load_state_dict(checkpoint.load_tensors(plan.folder / run_folder.MODEL), strict=True)
    net.eval()
    hits = net(torch.as_tensor(dataset.test_x)).argmax(1) == torch.as_tensor(dataset.test_y)
    assert read(plan).metrics.test_accuracy[-1, 0] == pytest.approx(hits.double().mean().item())


def test_the_same_run_twice_writes_the_same_bytes(small_plan):
    """And nothing depends on global random state."""
    torch.manual_seed(1)
    go(small_plan("a"))
    torch.manual_seed(2)
    np.random.seed(3)
    go(small_plan("b"))
    assert contents(small_plan("a").folder) == contents(small_plan("b").folder)


@pytest.mark.parametrize("engine", ["kernels", "torch"])
@pytest.mark.parametrize(
    "train", [{}, {"momentum": 0.9, "weight_decay": 1e-4}, {"optimizer": "adam", "lr": 0.01}]
)
def test_a_resumed_run_is_bitwise_equal_to_an_uninterrupted_run(small_plan, train, engine):
    """Stopped at any moment, and several times, a run ends with the same bytes."""
    train = {**train, "engine": engine}
    whole = small_plan("whole", train=train)
    go(whole)
    for seed in range(2):
        plan, rng = small_plan(f"stopped{seed}", train=train), np.random.default_rng(seed)
        outcomes = []
        while "done" not in outcomes:
            outcomes.append(go(plan, stop_after=int(rng.integers(1, 20)))[0])
        assert outcomes.count("interrupted") > 0
        assert contents(plan.folder) == contents(whole.folder)


def test_a_longer_run_continues_a_finished_one(small_plan):
    """40 steps and then 60 in all write what 60 at once write."""
    go(small_plan("extended"))
    go(small_plan("extended", train={"steps": 60}))
    go(small_plan("whole", train={"steps": 60}))
    assert contents(small_plan("extended").folder) == contents(small_plan("whole").folder)


@pytest.mark.parametrize("name", [run_folder.CHECKPOINT, run_folder.MINIBATCH, run_folder.METRICS])
@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_file_is_named_and_never_trusted(small_plan, name, damage):
    """The checkpoint before takes over from a damaged one; a damaged log is refused."""
    whole = small_plan("whole")
    go(whole)
    plan = small_plan("damaged")
    assert go(plan, stop_after=38)[0] == "interrupted"
    path = plan.folder / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    else:
        del content[len(content) // 2 :]
    path.write_bytes(content)
    if name == run_folder.CHECKPOINT:
        _, said = go(plan)
        assert any(str(path) in text and "damaged" in text for text in said)
        assert any(text.endswith("continuing at step 30") for text in said)
        assert contents(plan.folder) == contents(whole.folder)
    else:
        with pytest.raises(DamagedError, match=name):
            go(plan)


def test_a_diverged_run_fails_with_its_step_and_stays_readable(small_plan):
    """The error names the run, the step and the key; what was recorded is on the disk."""
    plan = small_plan(
        train={"lr": 1e30, "steps": 500}, model={"norm": "none", "activation": "relu"}
    )
    told = r"variant, seed 0: the loss is not finite at step (\d+); lower train.lr"
    with pytest.raises(RunError, match=told) as failed:
        go(plan)
    status = read_status(plan.folder)
    assert status.state == "failed"
    assert "not finite" in status.error
    results, step = read(plan), int(re.search(told, str(failed.value))[1])
    assert results.metrics.steps[0] == 0
    assert results.minibatch.steps[-1] == step - 1
    assert results.probe.steps[-1] > step - plan.settings.record.probe_every


@pytest.mark.parametrize("engine", ["kernels", "torch"])
def test_a_run_that_diverges_before_its_first_heartbeat_knows_its_step(
    small_plan, monkeypatch, engine
):
    """The steps of its rows are right, and what is measured of them can be."""
    monkeypatch.setattr(training, "BLOCK_SECONDS", 10.0)
    plan = small_plan(
        model={"norm": "none", "activation": "identity"},
        train={"steps": 1000, "lr": 1.5, "momentum": 0.9, "engine": engine},
        record={"probe_every": 2},
    )
    with pytest.raises(RunError, match="not finite at step") as failed:
        go(plan)
    step = int(re.search(r"at step (\d+)", str(failed.value))[1])
    assert 4 < step < 1000
    assert read_status(plan.folder).step == step
    results = read(plan)
    assert results.minibatch.steps.tolist() == list(range(step))
    assert results.probe.steps.tolist() == list(range(0, step, 2))
    assert unit_measures(results.probe.steps, results.probe.values[:], (15, 50, 85)).end.size


def test_a_run_that_diverges_leaves_those_of_its_stack_done(small_plan, monkeypatch):
    """Their networks are there, and their status says nothing of it."""
    changes = {"train": {"steps": 60, "engine": "torch"}}
    plans = [small_plan(f"run{seed}", seed, **changes) for seed in range(3)]
    original = TorchEngine.advance

    def advance(engine, steps):
        rows = original(engine, steps)
        if engine.step > 20:
            rows[1].failure = Failure(20, "the loss is not finite")
        return rows

    monkeypatch.setattr(TorchEngine, "advance", advance)
    with pytest.raises(RunError, match="variant, seed 1: the loss is not finite at step 20"):
        training.train(plans, {}, Reporter())
    found = [read_status(plan.folder) for plan in plans]
    assert [(each.state, each.step) for each in found] == [
        ("done", 60),
        ("failed", 20),
        ("done", 60),
    ]
    assert [run_folder.MODEL in each.files for each in found] == [True, False, True]
    assert [each.error is None for each in found] == [True, False, True]


def test_two_processes_never_write_one_run(small_plan, monkeypatch):
    """The second is refused with host and pid."""
    plan = small_plan()
    original = training.locked
    monkeypatch.setattr(training, "locked", lambda folder, wait: original(folder, wait=0))
    with (
        locks.locked(plan.folder),
        pytest.raises(LockedError, match=r"in use by process \d+ on "),
    ):
        go(plan)


def test_a_run_with_other_settings_is_refused_with_the_keys_that_differ(small_plan):
    """Nothing is continued, and nothing counts as done, with a changed config."""
    go(small_plan(), stop_after=20)
    with pytest.raises(ConfigError, match=r"holds another run \(train.lr: 0.5, now 0.1\)"):
        go(small_plan(train={"lr": 0.1}))
    go(small_plan())
    with pytest.raises(ConfigError, match=r"model.gamma: True, now False"):
        go(small_plan(model={"gamma": False}))
    with pytest.raises(ConfigError, match=r"it is variant, seed 0"):
        go(small_plan(seed=1))


def test_a_checkpoint_of_other_settings_is_refused_where_the_status_is_lost(small_plan):
    """The checkpoint is bound to its settings too."""
    go(small_plan(), stop_after=20)
    (small_plan().folder / STATUS).unlink()
    with pytest.raises(DamagedError, match=r"other settings \(train.lr: 0.5, now 0.1\)"):
        go(small_plan(train={"lr": 0.1}))


def test_a_run_is_not_continued_by_another_engine(small_plan):
    """Rounding would differ from one step to the next; the key is named."""
    go(small_plan(train={"engine": "torch"}), stop_after=20)
    with pytest.raises(ConfigError, match=r"train\.engine: torch, now kernels"):
        go(small_plan(train={"engine": "kernels"}))


def test_the_history_says_what_computed_which_steps(small_plan):
    """An entry for each change of engine, machine or versions, and none without a change."""
    plan = small_plan()
    go(plan, stop_after=10, made_with={"versions": {"torch": "1"}, "command": "first"})
    go(plan, stop_after=10, made_with={"versions": {"torch": "1"}, "command": "second"})
    go(plan, made_with={"versions": {"torch": "2"}, "command": "third"})
    history = read_status(plan.folder).history
    assert [(entry["from_step"], entry["versions"]["torch"]) for entry in history] == [
        (0, "1"),
        (20, "2"),
    ]
    assert {entry["engine"] for entry in history} == {"kernels"}


def test_other_arithmetic_is_said_at_the_resume_and_found_by_verify(small_plan):
    """Which versions or processor, from which step; another commit alone is no change."""
    plan, before = small_plan(), {"processor": "A", "versions": {"torch": "1"}}
    go(plan, stop_after=20, made_with={**before, "git_commit": "a"})
    assert len(go(plan, stop_after=5, made_with={**before, "git_commit": "b"})[1]) == 1
    assert one_arithmetic(read(plan)).verdict is Verdict.HOLDS
    _, said = go(plan, made_with={**before, "versions": {"torch": "2"}})
    told = "from step 25: torch: 1, now 2"
    assert said[1] == (
        f"variant, seed 0: other arithmetic {told}. The results may differ in rounding from those "
        "of an undisturbed run"
    )
    found = one_arithmetic(read(plan))
    assert found.verdict is Verdict.FAILS
    assert told in found.measured


def test_a_folder_that_cannot_be_written_is_told_by_its_name(small_plan):
    """A file where the folder should be: which, why, what to do."""
    plan = small_plan()
    plan.folder.write_text("in the way")
    with pytest.raises(StorageError, match=r"run: a file, where a folder is needed\."):
        go(plan)


def test_metrics_hold_the_mean_loss_since_the_row_before(small_plan):
    """train_loss of row r is the mean of the minibatch losses of the steps since row r - 1."""
    fine, coarse = small_plan("fine", record={"evaluate_every": 1}), small_plan("coarse")
    go(fine)
    go(coarse)
    each, mean = read(fine).metrics, read(coarse).metrics
    np.testing.assert_array_equal(mean.steps, [0, 7, 14, 21, 28, 35, 40])
    assert np.isnan(mean.train_loss[0]).all()
    np.testing.assert_allclose(mean.train_loss[1], each.train_loss[1:8].mean(0), rtol=1e-12)
    np.testing.assert_allclose(mean.train_loss[-1], each.train_loss[36:41].mean(0), rtol=1e-12)


def test_a_checkpoint_does_not_grow_with_the_steps_since_the_last_evaluation(small_plan):
    """Losses are summed as they come."""
    sizes = []
    for steps in (20, 400):
        plan = small_plan(f"run{steps}", train={"steps": steps}, record={"evaluate_every": 1000})
        go(plan)
        sizes.append((plan.folder / run_folder.CHECKPOINT).stat().st_size)
    assert sizes[1] - sizes[0] < 100


def test_readers_see_whole_rows_while_a_run_writes(small_plan, monkeypatch):
    """At every write, what status.json promises can be read, and equals the finished log."""
    plan = small_plan(train={"checkpoint_every": 3})
    seen, original = [], training.RunWriter.commit

    def commit(writer, *args):
        original(writer, *args)
        found = read(plan)
        seen.extend(np.array(log.values[:]) for log in (found.minibatch, found.probe))
        assert np.load(plan.folder / run_folder.MINIBATCH, mmap_mode="r").shape[1:] == (3, 14)

    monkeypatch.setattr(training.RunWriter, "commit", commit)
    go(plan)
    final = read(plan)
    assert len(seen) > 20
    for values in seen:
        assert any(
            np.array_equal(values, log.values[: len(values)])
            for log in (final.minibatch, final.probe)
        )


def test_status_json_describes_the_run_to_other_programs(small_plan):
    """State, step, engine, settings and how many parameters there are, in plain JSON."""
    go(small_plan(), made_with={"command": "bnexp train"})
    content = json.loads((small_plan().folder / STATUS).read_text())
    assert content["state"] == "done"
    assert (content["step"], content["steps"], content["seed"]) == (40, 40, 0)
    assert content["settings"]["model.norm"] == "batch"
    assert content["history"][0]["engine"] == "kernels"
    assert content["made_with"]["command"] == "bnexp train"
    assert content["parameters"] == 64 * 8 + 16 + 8 * 6 + 12 + 6 * 10 + 10
