"""A recording that was cut short goes on, and its files are those of one that was not."""

import os
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from helpers import models, warm

from bnexp.errors import ConfigError, DamagedError
from bnexp.files.logs import AppendedFile
from bnexp.files.status import read_status
from bnexp.recording import journal
from bnexp.recording.percentiles import Percentiles

STEPS = 12
OPTIONS = {"every": 2, "probe_every": 3, "metrics_every": 4}
RUN = Path("model") / "seed-0"


def recorded(folder, end=STEPS, state=None, logged=None, **options):
    """Train from a state of model and optimizer to a step; the state then."""
    model = models.dense()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    if state is not None:
        model.load_state_dict(state[0])
        optimizer.load_state_dict(state[1])
    probe = models.minibatch(99, 20)[0]
    with models.record(model, folder, probe=probe, **OPTIONS, **options) as recorder:
        models.train(model, recorder, end, optimizer)
        if logged is not None:
            recorder.log(test_accuracy=logged)
    return {key: value.clone() for key, value in model.state_dict().items()}, optimizer.state_dict()


def without_metrics(folder):
    """The logs whose bytes do not depend on when the recording was cut."""
    found = models.files(folder / RUN)
    del found["metrics.csv"]
    return found


@pytest.mark.parametrize("end", [1, 5, 6, 11])
def test_a_run_that_ended_goes_on_where_it_ended(tmp_path, end):
    """The percentiles are those of one long recording; the row of the old end is taken back."""
    recorded(tmp_path / "whole")
    state = recorded(tmp_path / "parts", end)
    assert read_status(tmp_path / "parts" / RUN).state == "done"
    recorded(tmp_path / "parts", state=state, resume=True)
    assert without_metrics(tmp_path / "parts") == without_metrics(tmp_path / "whole")


@pytest.mark.parametrize("step", [0, 3, 4, 7])
def test_a_run_goes_on_from_an_earlier_checkpoint(tmp_path, step):
    """What was recorded behind the checkpoint's step is cut off and recorded again."""
    recorded(tmp_path / "whole")
    state = recorded(tmp_path / "other", step) if step else None
    recorded(tmp_path / "parts", 9)
    recorded(tmp_path / "parts", state=state, resume=step)
    assert without_metrics(tmp_path / "parts") == without_metrics(tmp_path / "whole")


def test_metrics_go_on_and_no_step_has_two_rows(tmp_path):
    """Rows up to the step of the checkpoint are kept; after the first measurement, no others come.

    The row of step 4 is one of losses alone, from before anything was measured.
    """
    state = recorded(tmp_path, 5, logged=0.25)
    recorded(tmp_path, 12, state=state, logged=0.5, resume=True)
    metrics = models.read(tmp_path).metrics
    assert metrics.steps.tolist() == [0, 4, 5, 12]
    assert metrics.test_accuracy[2:, 0].tolist() == [0.25, 0.5]


@pytest.mark.parametrize(("end", "passes"), [(1, 0), (5, 0), (7, 0), (7, 1), (9, 0)])
def test_metrics_that_waited_for_their_row_are_in_it_after_a_resume(tmp_path, end, passes):
    """Losses and measurements that were logged before a commit, also a NaN, outlast the process."""

    def logged(recorder, model, start, end):
        for step in range(start, end):
            model(models.minibatch(step)[0])
            recorder.step(train_loss=float(step), test_loss=float("nan") if step == 6 else None)
            if step % 3 == 1:
                recorder.log(test_accuracy=torch.tensor(step / 10))

    def failed(model):
        with models.record(model, tmp_path / "parts", metrics_every=3) as recorder:
            logged(recorder, model, 0, end)
            recorder.commit()
            for _ in range(passes):  # in the middle of the step, which is made again
                model(models.minibatch(end)[0])
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        failed(models.dense())
    for folder, resume in (("parts", True), ("whole", False)):
        model = models.dense()
        options = {"metrics_every": 3, "resume": resume}
        with models.record(model, tmp_path / folder, **options) as recorder:
            logged(recorder, model, recorder.steps, STEPS)
    parts, whole = (models.files(tmp_path / name / RUN) for name in ("parts", "whole"))
    assert parts["metrics.csv"] == whole["metrics.csv"]


def test_resume_begins_where_there_is_nothing_yet(tmp_path):
    """The same program may be started again and again."""
    recorded(tmp_path / "whole")
    recorded(tmp_path / "new", resume=True)
    assert models.files(tmp_path / "new" / RUN) == models.files(tmp_path / "whole" / RUN)


@pytest.mark.parametrize(("resume", "step"), [(5, 5), (True, 8)])
def test_a_killed_process_loses_nothing_that_was_committed(tmp_path, resume, step):
    """It goes on from an earlier checkpoint, or from the last commit, to the rows of one run."""
    process = warm.Process(
        models.record_and_die, tmp_path / "parts", tmp_path / "checkpoint", OPTIONS
    )
    assert process.wait() == -signal.SIGKILL
    status = read_status(tmp_path / "parts" / RUN)
    assert (status.state, status.step) == ("running", 8)
    assert len(models.read(tmp_path / "parts").minibatch.values) == 4
    state = torch.load(tmp_path / f"checkpoint-{step}.pt", weights_only=True)
    recorded(tmp_path / "parts", state=state, resume=resume)
    recorded(tmp_path / "whole")
    assert without_metrics(tmp_path / "parts") == without_metrics(tmp_path / "whole")
    assert read_status(tmp_path / "parts" / RUN).state == "done"


def test_ctrl_c_leaves_an_interrupted_run_that_can_be_read(tmp_path):
    """All steps that were made are committed, and the interrupt goes on to the caller."""

    def stopped(model):
        with models.record(model, tmp_path) as recorder:
            models.train(model, recorder, 5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped(models.dense())
    assert read_status(tmp_path / RUN).state == "interrupted"
    assert len(models.read(tmp_path).minibatch.values) == 5


@contextmanager
def ctrl_c(owner, name, call):
    """Ctrl-C comes as a method is called for the n-th time from here on, and is raised inside."""
    calls, original = [], getattr(owner, name)

    def interrupted(*arguments):
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("owner", "name", "call"), [(Percentiles, "interpolate", 2), (AppendedFile, "append", 1)]
)
def test_ctrl_c_while_rows_are_written_waits_until_they_are(tmp_path, owner, name, call):
    """The run is interrupted with all its rows, and goes on to those of one run."""

    def stopped(model, optimizer):
        probe = models.minibatch(99, 20)[0]
        with models.record(model, tmp_path / "parts", probe=probe, **OPTIONS) as recorder:
            models.train(model, recorder, 8, optimizer)
            with ctrl_c(owner, name, call):
                recorder.commit()
            raise KeyboardInterrupt

    recorded(tmp_path / "whole")
    model = models.dense()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    with pytest.raises(KeyboardInterrupt):
        stopped(model, optimizer)
    status = read_status(tmp_path / "parts" / RUN)
    assert (status.state, status.step) == ("interrupted", 8)
    recorded(tmp_path / "parts", state=(model.state_dict(), optimizer.state_dict()), resume=True)
    assert without_metrics(tmp_path / "parts") == without_metrics(tmp_path / "whole")


def test_ctrl_c_at_the_last_commit_leaves_a_run_that_is_done(tmp_path):
    """All was recorded, so that nothing is left to go on with."""
    recorded(tmp_path / "whole")
    with ctrl_c(AppendedFile, "append", 1):
        recorded(tmp_path / "stopped")
    assert read_status(tmp_path / "stopped" / RUN).state == "done"
    assert models.files(tmp_path / "stopped" / RUN) == models.files(tmp_path / "whole" / RUN)


def test_damage_is_found_before_a_run_goes_on(tmp_path):
    """A flipped bit of a promised row is an error, and the files stay as they are."""
    recorded(tmp_path)
    path = tmp_path / RUN / "batch_percentiles.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"batch_percentiles\.npy: damaged"):
        recorded(tmp_path, resume=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize(("seconds", "numbers"), [(0.0, 1 << 22), (1e9, 1), (1e9, 100)])
def test_the_files_do_not_depend_on_the_blocks(tmp_path, monkeypatch, seconds, numbers):
    """Committed at each step, or appended in blocks of any size, the bytes are the same."""
    recorded(tmp_path / "whole")
    monkeypatch.setattr(journal, "COMMIT_SECONDS", seconds)
    monkeypatch.setattr(journal, "BLOCK_NUMBERS", numbers)
    recorded(tmp_path / "blocks")
    assert models.files(tmp_path / "blocks" / RUN) == models.files(tmp_path / "whole" / RUN)


def everything(folder):
    """The bytes of all files of the run, the lock's aside."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] != "."}


@pytest.mark.parametrize("units", [9, 12])
@pytest.mark.parametrize("step", [True, 4])
def test_a_run_of_another_model_stays_as_it_was(tmp_path, units, step):
    """A model with other numbers of units is refused, and no byte of the run has changed.

    Rows of 12 units would pass for two rows of 6.
    """
    recorded(tmp_path, 10)
    before = everything(tmp_path / RUN)
    model, probe = models.dense(units=units), models.minibatch(99, 20)[0]
    with (
        pytest.raises(ConfigError, match="its layers had other numbers of units"),
        models.record(model, tmp_path, probe=probe, resume=step, **OPTIONS) as recorder,
    ):
        models.train(model, recorder, STEPS)
    assert everything(tmp_path / RUN) == before


def test_a_probe_that_does_not_fit_leaves_the_run_as_it_was(tmp_path):
    """It is run before the first training pass, also where step 4 has no row of the probe."""
    recorded(tmp_path, 10)
    before = everything(tmp_path / RUN)
    model, probe = models.dense(), torch.zeros(20, 7)
    with (
        pytest.raises(RuntimeError, match="shapes cannot be multiplied"),
        models.record(model, tmp_path, probe=probe, resume=4, **OPTIONS) as recorder,
    ):
        models.train(model, recorder, STEPS)
    assert everything(tmp_path / RUN) == before


def test_units_that_change_with_the_inputs_are_refused_and_the_rows_before_are_kept(tmp_path):
    """With `varying`, the number of examples may change, and the number of units may not."""

    def passes(model):
        with models.record(model, tmp_path, "0", varying=True) as recorder:
            for units in (8, 8, 7):
                model(torch.randn(16, units))
                recorder.step()

    with pytest.raises(ConfigError, match="its layers had other numbers of units"):
        passes(torch.nn.Sequential(torch.nn.Identity()))
    assert len(models.read(tmp_path).minibatch.values) == 2


def test_a_run_stays_as_it_was_where_no_pass_is_made(tmp_path):
    """Opened and closed again, a finished run keeps its last row of the probe, of a frozen norm."""

    def frozen():
        model = models.dense()
        model[1].eval()
        return model

    probe, model = models.minibatch(99, 20)[0], frozen()
    with models.record(model, tmp_path, probe=probe) as recorder:
        models.train(model, recorder, 5)
    before = everything(tmp_path / RUN)
    with models.record(frozen(), tmp_path, probe=probe, resume=True) as recorder:
        assert recorder.steps == 5
        recorder.commit()
    assert everything(tmp_path / RUN) == before
