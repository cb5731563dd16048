"""bnexp.record against what PyTorch itself gives, and against a run of bnexp."""

import json
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest
import torch
import torchvision
from helpers import cases, experiments, models
from torch import nn
from torch.nn import functional as F

import bnexp
from bnexp.config import Experiment, Variant
from bnexp.files.experiment_folder import write_config
from bnexp.files.run_folder import RunPlan
from bnexp.report.page import write_report


def test_importing_bnexp_loads_neither_torch_nor_matplotlib():
    """The names of the API are loaded when they are used."""
    code = (
        "import sys, bnexp; 'record' in dir(bnexp); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'recrod'"):
        bnexp.recrod


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A run of bnexp, and a plain PyTorch loop with its weights and minibatches, recorded."""
    folder = tmp_path_factory.mktemp("copy")
    made = experiments.small_settings(
        model={"hidden": (50, 50, 50), "weight_std": 0.1},
        train={"steps": 60, "engine": "torch", "batch_size": 60},
        record={"probe_every": 10, "evaluate_every": 20},
    )
    plan = RunPlan("batchnorm", 0, made, folder / "run" / "batchnorm" / "seed-0")
    (folder / "run").mkdir()
    variant = Variant("batchnorm", {}, made)
    write_config(folder / "run", Experiment("run", (0,), made, (variant,)))
    experiments.go(plan)
    digits = cases.digits()
    network, probe = cases.plain(made), torch.from_numpy(digits.test_x[:50])
    test_x, test_y = torch.from_numpy(digits.test_x), torch.from_numpy(digits.test_y)
    optimizer = torch.optim.SGD(network.parameters(), made.train.lr)

    def evaluated():
        network.eval()
        with torch.no_grad():
            accuracy = (network(test_x).argmax(1) == test_y).float().mean()
            loss = F.cross_entropy(network(test_x), test_y)
        network.train()
        return {"test_accuracy": accuracy, "test_loss": loss}

    names = ["norm1", "norm2", "norm3"]
    options = {"variant": "batchnorm", "probe": probe, "probe_every": 10}
    with bnexp.record(network, folder / "copy", names, **options) as recorder:
        recorder.log(**evaluated())
        while recorder.steps < 60:
            x, y = cases.minibatch(made, recorder.steps)
            loss = F.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.step(train_loss=loss)
            if recorder.steps % 20 == 0:
                recorder.log(**evaluated())
    return folder, experiments.read(plan), models.read(folder / "copy", "batchnorm")


@pytest.mark.parametrize("log", ["minibatch", "probe"])
def test_a_plain_copy_of_a_run_gives_the_percentiles_of_the_run(copied, log):
    """The same steps, layers and units; the values differ by rounding alone."""
    _, run, copy = copied
    ours, theirs = getattr(copy, log), getattr(run, log)
    for name in ("steps", "layer", "unit", "percentiles"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert len(ours.values) == {"minibatch": 60, "probe": 7}[log]
    np.testing.assert_allclose(models.rows(ours), models.rows(theirs), atol=2e-4)


def test_a_plain_copy_of_a_run_gives_the_metrics_of_the_run(copied):
    """Mean training loss between evaluations, test accuracy and test loss, at the same steps."""
    _, run, copy = copied
    np.testing.assert_array_equal(copy.metrics.steps, run.metrics.steps)
    for name in ("train_loss", "test_accuracy", "test_loss"):
        np.testing.assert_allclose(
            getattr(copy.metrics, name), getattr(run.metrics, name), rtol=1e-4, equal_nan=True
        )


def test_compare_and_plot_put_a_run_and_its_copy_side_by_side(copied, bnexp):
    """Both appear in one table, with equal accuracies, and the copy is drawn as the run is."""
    folder, run, _ = copied
    both = folder / "run", folder / "copy"
    code, out, _ = bnexp("compare", *both, "--json")
    assert code == 0
    first, second = json.loads(out)
    assert (first["label"], second["label"]) == ("run/batchnorm", "copy/batchnorm")
    accuracy = run.metrics.test_accuracy[-1, 0]
    for row in (first, second):
        assert row["measures"]["test_accuracy"]["mean"] == pytest.approx(accuracy)
    code, _, err = bnexp("plot", both[1], "--source", "batch", "--layer", "2")
    assert code == 0
    assert "norm2" in err
    assert (folder / "copy" / "figures" / "fig1_batch_layer2.png").is_file()
    code, out, _ = bnexp("runs", both[1])
    assert code == 0
    assert "60/60" in out


def test_every_batch_norm_of_resnet18_gives_the_percentiles_of_numpy(tmp_path):
    """They equal numpy.percentile over batch and space of activations captured by other hooks."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10)
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    captured = {name: [] for name in norms}
    for name, module in norms.items():
        module.register_forward_hook(lambda *v, n=name: captured[n].append(v[2].detach().clone()))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with bnexp.record(model, tmp_path / "cnn", nn.BatchNorm2d) as recorder:
        for _ in range(2):
            loss = model(torch.randn(4, 3, 32, 32)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.step(train_loss=loss)
    log = models.read(tmp_path / "cnn").minibatch
    assert log.names == tuple(norms)
    assert log.population == "the step's minibatch, at every position"
    for step in range(2):
        theirs = [models.expected(captured[name][step]) for name in norms]
        np.testing.assert_array_equal(models.rows(log)[step], np.concatenate(theirs, axis=1))


@pytest.mark.parametrize(
    ("module", "shape", "axis"),
    [
        (nn.Linear(5, 4), (6, 5), 1),
        (nn.Linear(5, 4), (6, 3, 5), 2),
        (nn.LayerNorm(5), (6, 3, 2, 5), 3),
        (nn.Conv1d(5, 4, 1), (6, 5, 3), 1),
        (nn.Conv3d(5, 4, 1), (6, 5, 3, 2, 2), 1),
        (nn.ReLU(), (6, 5, 3), 2),
        (nn.ReLU(inplace=True), (6, 5, 3, 3), 1),
        (nn.LSTM(5, 4, batch_first=True), (6, 3, 5), 2),
    ],
    ids=repr,
)
def test_a_unit_is_an_output_a_channel_or_a_feature(tmp_path, module, shape, axis):
    """Which axis holds the units follows from the module, and all others are pooled."""
    model, x = nn.Sequential(nn.Identity(), module), torch.randn(shape)
    given = module(x.clone())
    given = given[0] if isinstance(given, tuple) else given
    with models.record(model, tmp_path / "a") as recorder:
        model(x)
        recorder.step()
    log = models.read(tmp_path / "a").minibatch
    np.testing.assert_allclose(models.rows(log)[0], models.expected(given, axis), atol=1e-6)


def test_inputs_are_recorded_before_the_module_changes_them(tmp_path):
    """An activation that works in place does not hide its own input."""
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU(inplace=True))
    x, _ = models.minibatch(0)
    with models.record(model, tmp_path / "a", nn.ReLU, of="inputs") as recorder:
        model(x)
        recorder.step()
    log = models.read(tmp_path / "a").minibatch
    np.testing.assert_array_equal(models.rows(log)[0], models.expected(model[0](x)))


def test_recording_changes_nothing_of_the_training(tmp_path):
    """With a probe, dropout and batch norm, weights and buffers are those of a bare loop."""

    def trained(folder):
        torch.manual_seed(3)
        model = nn.Sequential(*models.dense()[:3], nn.Dropout(0.5), nn.Linear(6, 3))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        options = {"probe": models.minibatch(99, 40)[0], "probe_every": 2}
        recorder = None if folder is None else models.record(model, folder, **options)
        if recorder is not None:
            recorder.__enter__()
        for step in range(7):
            x, y = models.minibatch(step)
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if recorder is not None:
                recorder.step(train_loss=loss)
        if recorder is not None:
            recorder.__exit__(None, None, None)
        return model.state_dict(), torch.rand(1)

    (bare, after), (recorded, also_after) = trained(None), trained(tmp_path / "a")
    assert after == also_after  # the random state went on alike
    for key, value in bare.items():
        assert torch.equal(value, recorded[key]), key


def test_the_probe_is_over_fixed_examples_in_training_mode(tmp_path):
    """A row every so many steps and one for the final network, by the probe's own statistics."""
    model, (x, _) = models.dense(), models.minibatch(99, 40)
    seen = []
    with models.record(model, tmp_path / "a", probe=x, probe_every=3) as recorder:
        seen += [models.expected(self_normalized(model, x))]
        models.train(model, recorder, 3)
        seen += [models.expected(self_normalized(model, x))]
        models.train(model, recorder, 4)
        model.eval()
    seen += [models.expected(self_normalized(model, x))]
    log = models.read(tmp_path / "a").probe
    assert log.steps.tolist() == [0, 3, 4]
    assert log.population == "a probe of 40 fixed examples"
    np.testing.assert_allclose(models.rows(log), np.stack(seen), atol=1e-6)


def self_normalized(model, x):
    """The output of the batch norm by the statistics of x alone."""
    z = model[0](x)
    return F.batch_norm(z, None, None, model[1].weight, model[1].bias, training=True)


def test_every_nth_step_is_recorded(tmp_path):
    """Rows of the other steps are not there, and the steps say which are."""
    for name, every in (("all", 1), ("third", 3)):
        model = models.dense()
        with models.record(model, tmp_path / name, every=every) as recorder:
            models.train(model, recorder, 8)
    whole, third = (models.read(tmp_path / name).minibatch for name in ("all", "third"))
    assert third.steps.tolist() == [0, 3, 6]
    np.testing.assert_array_equal(models.rows(third), models.rows(whole)[::3])


@pytest.mark.parametrize("counted_by", ["optimizer", "forward"])
def test_steps_are_counted_without_a_change_of_the_loop(tmp_path, counted_by):
    """By the optimizer, or by the forward passes, the rows are those of recorder.step."""
    model = models.dense()
    with models.record(model, tmp_path / "told", probe=models.minibatch(99)[0]) as recorder:
        models.train(model, recorder, 6)
    model = models.dense()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    options = {"counted_by": optimizer if counted_by == "optimizer" else "forward"}
    probe = models.minibatch(99)[0]
    with models.record(model, tmp_path / "seen", probe=probe, **options) as recorder:
        for step in range(6):
            x, y = models.minibatch(step)
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.log(train_loss=loss)
            model.eval()
            model(x)  # an evaluation counts for nothing
            model.train()
    told, seen = (models.files(tmp_path / name / "model" / "seed-0") for name in ("told", "seen"))
    assert told == seen


def test_of_several_passes_in_one_step_the_first_is_recorded(tmp_path):
    """As in gradient accumulation: the first minibatch stands for the step."""
    model = models.dense()
    with models.record(model, tmp_path / "a") as recorder:
        model(models.minibatch(0)[0])
        model(models.minibatch(1)[0])
        recorder.step()
    values = self_normalized(model, models.minibatch(0)[0])
    rows = models.rows(models.read(tmp_path / "a").minibatch)
    np.testing.assert_allclose(rows, models.expected(values)[np.newaxis], atol=1e-6)


@pytest.mark.parametrize("fails", [(0,), (2, 4, 4)])
def test_a_pass_that_failed_and_is_made_again_leaves_no_rows(tmp_path, fails):
    """The rows of the probe and the metrics stand at their steps, as if nothing had failed."""

    def recorded(folder, fails):
        model, probe = models.dense(), models.minibatch(99)[0]
        options = {"probe_every": 2, "metrics_every": 2}
        with models.record(model, folder, probe=probe, **options) as recorder:
            for step in range(6):
                models.train(model, recorder, step)
                for _ in range(fails.count(step)):
                    with pytest.raises(TypeError):
                        model(None)
            models.train(model, recorder, 6)
        return models.files(folder / "model" / "seed-0")

    assert recorded(tmp_path / "a", fails) == recorded(tmp_path / "b", ())


def test_a_pass_that_failed_midway_leaves_nothing_behind(tmp_path):
    """Neither its shapes nor its values meet those of an evaluation or of the next minibatch."""
    model = nn.Sequential(nn.Linear(8, 6), nn.Sigmoid(), nn.Unflatten(1, (2, -1)), nn.Linear(3, 2))
    with models.record(model, tmp_path, ["0", "3"]) as recorder:
        model[2].unflattened_size = (4, -1)
        with pytest.raises(RuntimeError):
            model(torch.randn(5, 8))
        model[2].unflattened_size = (2, -1)
        model.eval()
        model(torch.randn(4, 8))
        model.train()
        model(torch.randn(16, 8))
        recorder.step()
    assert len(models.read(tmp_path).minibatch.values) == 1


def test_a_last_pass_without_a_step_gives_no_second_row_of_the_same_step(tmp_path):
    """The rows of probe and metrics at the final step are there once, with what was logged last."""
    model = models.dense()
    options = {"probe": models.minibatch(99)[0], "probe_every": 2, "metrics_every": 2}
    with models.record(model, tmp_path, **options) as recorder:
        models.train(model, recorder, 4)
        model(models.minibatch(4)[0])  # looks at the loss, and stops
        recorder.log(test_accuracy=0.5)
    found = models.read(tmp_path)
    assert found.probe.steps.tolist() == [0, 2, 4]
    assert found.metrics.steps.tolist() == [0, 2, 4]
    assert found.metrics.test_accuracy[-1, 0] == 0.5


@pytest.mark.parametrize("first", ["outer", "inner"])
def test_two_recorders_of_one_model_do_not_meet(tmp_path, first):
    """One does not look at the probe of the other, whichever begins first; their rows are whole."""
    options = {
        "outer": {"layers": "1", "probe": models.minibatch(99, 40)[0], "probe_every": 2},
        "inner": {"layers": "2", "of": "inputs", "probe": models.minibatch(98)[0]},
    }
    for folder, names in (
        ("both", sorted(options, reverse=first == "outer")),
        ("alone", ["outer"]),
    ):
        model = models.dense()
        with ExitStack() as stack:
            made = [
                stack.enter_context(
                    models.record(model, tmp_path / folder, variant=name, **options[name])
                )
                for name in names
            ]
            for step in range(3):
                x, y = models.minibatch(step)
                F.cross_entropy(model(x), y).backward()
                for recorder in made:
                    recorder.step()
    both, alone = (models.read(tmp_path / name, "outer") for name in ("both", "alone"))
    np.testing.assert_array_equal(models.rows(both.minibatch), models.rows(alone.minibatch))
    np.testing.assert_array_equal(models.rows(both.probe), models.rows(alone.probe))
    inner = models.read(tmp_path / "both", "inner")
    np.testing.assert_array_equal(models.rows(inner.minibatch), models.rows(both.minibatch))


def test_layers_are_chosen_by_name_by_type_and_by_a_function(tmp_path):
    """Names keep their order; several choices are joined, and none is recorded twice."""
    chosen = {
        "names": (["3", "1"], ("3", "1")),
        "type": (nn.Linear, ("0", "3")),
        "function": (lambda name, module: name > "1" and hasattr(module, "weight"), ("3",)),
        "joined": (["1", nn.BatchNorm1d, nn.Sigmoid], ("1", "2")),
    }
    for variant, (layers, names) in chosen.items():
        model = models.dense()
        with models.record(model, tmp_path, layers, variant=variant) as recorder:
            models.train(model, recorder, 2)
        log = models.read(tmp_path, variant).minibatch
        assert log.names == names
        assert len(np.unique(log.layer)) == len(names)


def test_variants_and_seeds_make_one_experiment(tmp_path, bnexp):
    """Each call writes a run of its own, and they are compared in pairs by seed."""
    for variant in ("plain", "wide"):
        for seed in (0, 1):
            model, settings = models.dense(seed), {"model.width": variant}
            options = {"variant": variant, "seed": seed, "settings": settings}
            with models.record(model, tmp_path, **options) as recorder:
                models.train(model, recorder, 3)
                recorder.log(test_accuracy=0.5 + seed / 10 + (variant == "wide") / 5)
    code, out, _ = bnexp("compare", tmp_path, "--json")
    assert code == 0
    plain, wide = json.loads(out)
    assert (plain["seeds"], wide["settings"]) == ([0, 1], {"model.width": "wide"})
    assert wide["differences"]["test_accuracy"]["per_seed"] == pytest.approx([0.2, 0.2])


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch's, of its own work
@pytest.mark.parametrize("when", ["inside", "before", "after a call", "in place"])
def test_a_compiled_model_gives_the_same_rows(tmp_path, when):
    """Compiled before the recording, after it, or run before, each layer is recorded."""
    model = models.dense()
    with models.record(model, tmp_path / "plain") as recorder:
        models.train(model, recorder, 3)
    torch._dynamo.reset()
    model, compiled = models.dense(), None
    if when == "in place":
        model.compile(backend="eager")
    elif when != "inside":
        compiled = torch.compile(model, backend="eager")
    if when == "after a call":
        compiled(models.minibatch(0)[0])
        model[1].reset_running_stats()
    watched = compiled or model
    probe = models.minibatch(99)[0]
    with models.record(watched, tmp_path / "compiled", probe=probe, probe_every=2) as recorder:
        call = torch.compile(model, backend="eager") if when == "inside" else watched
        models.train(model, recorder, 3, call=call)
    plain, found = (models.read(tmp_path / name) for name in ("plain", "compiled"))
    np.testing.assert_allclose(
        models.rows(found.minibatch), models.rows(plain.minibatch), atol=1e-6
    )
    assert found.probe.steps.tolist() == [0, 2, 3]
    call(models.minibatch(0)[0])  # the end of the recording leaves a model that works
    assert len(models.read(tmp_path / "compiled").minibatch.values) == 3


def test_under_autocast_the_values_are_those_of_the_layer(tmp_path):
    """A bfloat16 activation is recorded exactly, and the probe runs under the same autocast."""
    model, (x, y) = models.dense(), models.minibatch(0)
    captured = []
    handle = model[0].register_forward_hook(lambda *v: captured.append(v[2].detach().clone()))
    with models.record(model, tmp_path / "a", "0", probe=x) as recorder:
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        recorder.step(loss)
    handle.remove()
    assert [each.dtype for each in captured] == [torch.bfloat16] * 3  # probe, minibatch, probe
    assert model[0].weight.grad is not None
    found = models.read(tmp_path / "a")
    theirs = [models.expected(each.float()) for each in captured]
    np.testing.assert_array_equal(models.rows(found.minibatch), np.stack(theirs[1:2]))
    np.testing.assert_array_equal(models.rows(found.probe), np.stack([theirs[0], theirs[2]]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_no_step_waits_for_the_host(tmp_path):
    """Between two blocks there is no synchronization, and the rows are those of the CPU."""
    rows = []
    for device in ("cpu", "cuda"):
        model = models.dense().to(device)
        batches = [tuple(each.to(device) for each in models.minibatch(t)) for t in range(6)]
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        probe = models.minibatch(99)[0].to(device)
        with models.record(model, tmp_path / device, probe=probe, probe_every=2) as recorder:
            for step, (x, y) in enumerate(batches):
                # The first step opens the files, and makes what is kept on the device.
                torch.cuda.set_sync_debug_mode("error" if step > 1 else "default")
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                recorder.step(train_loss=loss)
            torch.cuda.set_sync_debug_mode("default")
        rows.append(models.rows(models.read(tmp_path / device).minibatch))
    np.testing.assert_allclose(rows[1], rows[0], atol=1e-4)


@pytest.mark.parametrize(
    "stated",
    [
        [{"model.gamma": True}, {"model.gamma": False}],
        [{"model.bias": True}, {"model.bias": False}],
        [{"model.norm": "none"}, {"model.norm": "batch"}],
    ],
)
def test_models_that_state_a_setting_of_bnexps_networks_have_a_page(tmp_path, stated):
    """They state no more than their user likes, and may have no accuracy."""
    for name, settings in zip(("a", "b"), stated, strict=True):
        model = models.dense()
        with models.record(model, tmp_path / "out", variant=name, settings=settings) as recorder:
            models.train(model, recorder, 20)
    page = tmp_path / "page.html"
    write_report([tmp_path / "out"], page)
    assert "<svg" in page.read_text()
