"""What bnexp.record says where it is used wrongly: one clear sentence each."""

import subprocess
import sys

import pytest
import torch
from helpers import disks, models, warm
from torch import nn

import bnexp
from bnexp.errors import ConfigError, LockedError, StorageError
from bnexp.files.experiment_folder import CONFIG
from bnexp.files.status import read_status
from bnexp.recording import journal


class Branch(nn.Module):
    """A model that calls one of its layers, or one of them twice."""

    def __init__(self, *calls):
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.calls = calls

    def forward(self, x):
        for name in self.calls:
            x = getattr(self, name)(x)
        return x


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ("conv", "the model has no layer 'conv'; there are 0, 1, 2, 3"),
        (nn.Conv2d, "the model has no layer of type Conv2d; it has BatchNorm1d, Linear, Sigmoid"),
        (lambda *_: False, "the model has no layer for which the function is true"),
        ([], "no layers were given"),
        ([3], "layers holds 3; give names, types or functions"),
    ],
)
def test_a_layer_that_is_not_there_is_refused(tmp_path, layers, text):
    """The error says which layers there are, and nothing is written."""
    with pytest.raises(ConfigError, match=text):
        models.record(models.dense(), tmp_path / "a", layers)
    assert not (tmp_path / "a").exists()


def test_what_is_no_path_is_no_folder():
    """The error says so before a file is written."""
    with pytest.raises(ConfigError, match="record: out is 5; give a folder"):
        models.record(models.dense(), 5)


def test_a_misspelt_layer_gets_a_suggestion(tmp_path):
    """The name that is nearest is offered."""
    with pytest.raises(ConfigError, match=r"no layer 'frist'; did you mean 'first'\?"):
        models.record(Branch("first"), tmp_path, "frist")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"every": 0}, "every is 0; give 1 or more"),
        ({"probe_every": 2.5}, "probe_every is 2.5"),
        ({"percentiles": (50, 15)}, "ascending order"),
        ({"percentiles": ()}, "ascending order"),
        ({"percentiles": 50}, "percentiles are 50; give numbers from 0 to 100"),
        ({"percentiles": "most"}, "percentiles are 'most'; give numbers from 0 to 100"),
        ({"variant": "a/b"}, "variant 'a/b' must be"),
        ({"variant": 3}, "variant is 3; give a text"),
        ({"seed": -1}, "seed is -1; give 0 to 4294967295"),
        ({"of": "gradients"}, "of is 'gradients'; give outputs or inputs"),
        ({"unit_axis": "middle"}, "give auto, first or last"),
        ({"counted_by": "hand"}, "counted_by is 'hand'"),
        ({"counted_by": [None]}, "counted_by is list; give 'step', 'forward' or an optimizer"),
        ({"metrics_every": "often"}, "metrics_every is 'often'; give 1 or more"),
        ({"resume": 3}, "no run to continue at step 3"),
        ({"resume": -1}, "resume is -1; give True, False, or the step to continue at"),
        ({"resume": "yes"}, "resume is 'yes'; give True, False, or the step to continue at"),
        ({"settings": {"clip": float("inf")}}, r"settings\['clip'\] is inf; give finite numbers"),
        (
            {"settings": {"lr": (0.1, float("nan"))}},
            r"settings\['lr'\] is \(0.1, nan\); give finite",
        ),
        ({"settings": {1: "x"}}, "settings has the key 1; give a text"),
        (
            {"settings": {"lr": [1]}},
            r"settings\['lr'\] is \[1\]; give a number, a text, or a tuple",
        ),
    ],
)
def test_an_argument_out_of_range_is_refused(tmp_path, options, text):
    """The error names the argument, its value, and what it may be."""
    with pytest.raises(ConfigError, match=text):
        models.record(models.dense(), tmp_path / "a", **options).__enter__()


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (nn.DataParallel(nn.Sequential(nn.Linear(2, 2))), "nn.DataParallel divides each minibatch"),
        (nn.Sequential(nn.DataParallel(nn.Linear(2, 2))), "nn.DataParallel divides each minibatch"),
        ("a model", "the model is str, not a torch.nn.Module"),
    ],
    ids=["parallel", "parallel part", "no module"],
)
def test_a_model_that_cannot_be_recorded_is_refused(tmp_path, model, text):
    """Where no layer sees the whole minibatch, there is nothing to record."""
    with pytest.raises(ConfigError, match=text):
        models.record(model, tmp_path)


def passes(model, folder, inputs, layers=nn.Linear, **options):
    """Call the model on each input, with a step after each."""
    with bnexp.record(model, folder, layers, **options) as recorder:
        for x in inputs:
            model(x)
            recorder.step()


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        (["first"], "layer 'second' was not called in the forward pass at step 0"),
        (
            ["first", "first", "second"],
            "layer 'first' is called more than once in the forward pass",
        ),
    ],
)
def test_a_layer_must_be_called_once_in_each_pass(tmp_path, calls, text):
    """Neither a layer without values nor one with two sets of them has percentiles."""
    with pytest.raises(ConfigError, match=text):
        passes(Branch(*calls), tmp_path / "a", [torch.randn(4, 8)])


def test_a_shape_that_changes_is_refused_or_allowed(tmp_path):
    """The last, smaller minibatch of an epoch stops the recording, unless it is meant."""
    inputs = [torch.randn(16, 8), torch.randn(16, 8), torch.randn(7, 8)]
    text = r"layer 'first' has shape \(7, 8\) at step 2, and had \(16, 8\) before"
    with pytest.raises(ConfigError, match=text):
        passes(Branch("first", "second"), tmp_path / "a", inputs)
    assert len(models.read(tmp_path / "a").minibatch.values) == 2  # what came before is kept
    model = Branch("first", "second")
    passes(model, tmp_path / "b", inputs, varying=True)
    found = models.rows(models.read(tmp_path / "b").minibatch)
    expected = models.expected(model.first(inputs[2]))
    assert found[2, :, :8] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("text", "layer '0' passes str, not a tensor"),
        (torch.arange(6).reshape(2, 3), "passes torch.int64 of shape"),
        (torch.randn(6), r"of shape \(6,\); percentiles need"),
    ],
)
def test_a_layer_without_real_numbers_of_units_is_refused(tmp_path, output, text):
    """The error says what the layer passes and what is needed."""

    class Odd(nn.Module):
        def forward(self, _):
            return output

    with pytest.raises(ConfigError, match=text):
        passes(nn.Sequential(Odd()), tmp_path / "a", [torch.randn(4, 8)], "0")


def test_two_steps_without_a_forward_pass_are_refused(tmp_path):
    """A row would be missing; evaluations and calls of the model's parts do not count."""

    def recorded(model, x):
        with models.record(model, tmp_path / "a") as recorder:
            model(x)
            recorder.step()
            with torch.no_grad():
                model(x)
            model[0](x)
            recorder.step()

    with pytest.raises(ConfigError, match="step 1 had no forward pass to record"):
        recorded(models.dense(), models.minibatch(0)[0])
    status = read_status(tmp_path / "a" / "model" / "seed-0")
    assert (status.state, status.step) == ("failed", 1)
    assert status.error.startswith("record: step 1 had no forward pass")


@pytest.mark.parametrize(
    ("error", "state"), [(TypeError, "failed"), (KeyboardInterrupt, "interrupted")]
)
def test_a_final_probe_that_fails_loses_no_rows(tmp_path, error, state):
    """The error is raised at the end of `with`, and the run says what became of it."""

    def fail(*_):
        raise error

    def recorded(model):
        probe = models.minibatch(99)[0]
        with models.record(model, tmp_path, probe=probe, probe_every=2) as recorder:
            models.train(model, recorder, 3)
            model[0].register_forward_pre_hook(fail)

    with pytest.raises(error):
        recorded(models.dense())
    status = read_status(tmp_path / "model" / "seed-0")
    assert (status.state, status.step) == (state, 3)
    found = models.read(tmp_path)
    assert len(found.minibatch.values) == 3
    assert len(found.probe.values) == 2


def test_a_module_that_is_added_inside_is_no_harm_to_the_final_probe(tmp_path):
    """Nobody knows how the training would run it; it trains, as a new module does."""
    model = models.dense()
    with models.record(model, tmp_path, probe=models.minibatch(99)[0]) as recorder:
        models.train(model, recorder, 2)
        model.add_module("new", nn.Identity())
    assert len(models.read(tmp_path).probe.values) == 2


def test_a_folder_of_an_unknown_user_is_made_as_it_is_named(tmp_path, monkeypatch):
    """As elsewhere in bnexp, where the system knows no such home."""
    monkeypatch.chdir(tmp_path)
    model = models.dense()
    with models.record(model, "~nosuchuser/mine") as recorder:
        models.train(model, recorder, 1)
    assert len(models.read(tmp_path / "~nosuchuser" / "mine").minibatch.values) == 1


def test_a_step_outside_of_the_recording_is_refused(tmp_path):
    """Before it began, and after its end; what it recorded stays."""
    text = "a step was counted outside of the recording; put the training loop into `with"
    model = models.dense()
    recorder = models.record(model, tmp_path / "a")
    with pytest.raises(ConfigError, match=text):
        recorder.step()
    with recorder:
        models.train(model, recorder, 2)
    with pytest.raises(ConfigError, match=text):
        models.train(model, recorder, 3)
    assert read_status(tmp_path / "a" / "model" / "seed-0").step == 2


def test_a_recording_of_nothing_is_refused(tmp_path):
    """A loop that never calls the model leaves no run behind."""
    with pytest.raises(ConfigError, match="nothing was recorded"):
        passes(models.dense(), tmp_path / "a", [])
    assert not (tmp_path / "a" / "model" / "seed-0" / "status.json").exists()


def test_step_is_refused_where_something_else_counts(tmp_path):
    """Two counters would disagree."""
    model = models.dense()
    with models.record(model, tmp_path / "a", counted_by="forward") as recorder:
        model(models.minibatch(0)[0])
        with pytest.raises(ConfigError, match=r"pass numbers to recorder.log"):
            recorder.step()


@pytest.mark.parametrize("value", [torch.randn(3), "much"])
def test_a_metric_is_one_number(tmp_path, value):
    """A loss without reduction is a mistake that a mean would hide."""
    model = models.dense()
    with models.record(model, tmp_path / "a") as recorder:
        model(models.minibatch(0)[0])
        with pytest.raises(ConfigError, match="train_loss"):
            recorder.step(train_loss=value)


def test_a_run_that_is_there_is_not_overwritten(tmp_path):
    """Only resume=True goes on with it, and only with the same settings and layers."""
    model = models.dense()
    with models.record(model, tmp_path) as recorder:
        models.train(model, recorder, 3)
    before = models.files(tmp_path / "model" / "seed-0")
    for options, text in (
        ({}, r"holds a run already; record\(..., resume=True\) continues it"),
        ({"resume": True, "settings": {"a.b": 1}}, "holds a run with other settings"),
        ({"resume": True, "layers": "2"}, "minibatch percentiles are of other layers"),
        ({"resume": True, "every": 2}, "minibatch percentiles are of other layers, percentiles or"),
        ({"resume": True, "probe": torch.randn(4, 8)}, "probe percentiles are of other layers"),
        ({"resume": 4}, "cannot continue at step 4, since 3 steps were committed"),
    ):
        with pytest.raises(ConfigError, match=text):
            models.record(model, tmp_path, **options).__enter__()
    assert models.files(tmp_path / "model" / "seed-0") == before


def test_files_of_somebody_else_are_left_alone(tmp_path):
    """A folder that bnexp did not make is refused."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match=r"did not write, such as 'notes\.txt'"):
        models.record(models.dense(), tmp_path).__enter__()


def test_a_second_process_is_refused(tmp_path):
    """It is told who is at work, and may record another seed at the same time."""
    ready, done = warm.CONTEXT.Event(), warm.CONTEXT.Event()
    process = warm.Process(models.held, tmp_path, ready, done)
    try:
        assert ready.wait(60)
        text = rf"in use by process {process.pid} on .*give another folder, variant or seed"
        with pytest.raises(LockedError, match=text):
            models.record(models.dense(), tmp_path).__enter__()
        model = models.dense()
        with models.record(model, tmp_path, seed=1) as recorder:
            models.train(model, recorder, 1)
    finally:
        done.set()
        process.wait()


def test_a_full_disk_ends_the_recording_and_keeps_what_was_committed(tmp_path, monkeypatch):
    """The error says what to do, and comes again if it was ignored; committed rows are read."""
    model, folder, promised = models.dense(), tmp_path / "model" / "seed-0", []

    def recorded(patch):
        with models.record(model, tmp_path) as recorder:
            models.train(model, recorder, 4)
            recorder.commit()
            promised.append(read_status(folder).files)
            patch.setattr(journal, "COMMIT_SECONDS", 0.0)
            disks.Disk(patch, 0, disks.no_room)
            for _ in range(2):
                with pytest.raises(StorageError, match="Make room"):
                    models.train(model, recorder, 9)

    with monkeypatch.context() as patch, pytest.raises(StorageError, match="No space left"):
        recorded(patch)
    assert read_status(folder).files == promised[0]
    assert len(models.read(tmp_path).minibatch.values) == 4
    with models.record(model, tmp_path, resume=True) as recorder:
        assert recorder.steps == 4
        models.train(model, recorder, 6)
    assert len(models.read(tmp_path).minibatch.values) == 6


def test_a_recorded_model_is_not_taken_for_bnexps_own_by_its_settings(tmp_path, bnexp):
    """Settings are the user's, whatever their keys; verify says that it cannot judge the model."""
    model = models.dense()
    with models.record(model, tmp_path, settings={"model.hidden": (6,)}) as recorder:
        models.train(model, recorder, 3)
    assert models.read(tmp_path).is_recorded
    code, _, err = bnexp("verify", tmp_path)
    assert code == 2
    assert "was recorded of a model of your own" in err


def test_the_callback_says_that_lightning_is_missing():
    """In the import's own error, with the remedy."""
    code = "import sys; sys.modules['lightning'] = None; import bnexp; bnexp.LightningCallback"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: bnexp.LightningCallback needs Lightning, which is not installed; "
        "pip install lightning"
    )


def test_a_folder_of_a_trained_experiment_is_refused(tmp_path):
    """The results of both would stand under one name."""
    (tmp_path / CONFIG).write_text("of an experiment")
    with pytest.raises(ConfigError, match="holds an experiment of `bnexp train`; give another"):
        models.record(models.dense(), tmp_path)


def test_a_loop_that_counts_no_step_is_told_how_to_count(tmp_path):
    """Else all its passes would be one step, and the run would be done with none."""
    model = models.dense()
    recorder = models.record(model, tmp_path / "a").__enter__()
    for step in range(5):
        model(models.minibatch(step)[0])
    with pytest.raises(ConfigError, match=r"many forward passes, but no step; call recorder\.step"):
        recorder.__exit__(None, None, None)
    assert read_status(tmp_path / "a" / "model" / "seed-0").state == "failed"
