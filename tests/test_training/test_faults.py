"""A fault at every single call that changes the disk costs nothing that was promised."""

import itertools
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers.disks import Disk, Killed, PowerCut, no_room
from helpers.experiments import contents, go, read

from bnexp.errors import BnexpError, ConfigError, RunError, StorageError
from bnexp.files import run_folder
from bnexp.files.locks import HOLDER, LOCK
from bnexp.files.status import STATUS, read_status

SMALL = {
    "model": {"hidden": (3, 2)},
    "train": {"steps": 7, "checkpoint_every": 4},
    "record": {"probe_size": 20, "probe_every": 4, "evaluate_every": 2},
}


def rows(plan):
    """The rows a reader finds in each log, as bytes; nothing where the run is not begun."""
    if not (plan.folder / STATUS).exists():
        return b"", b"", b"", b""
    run = read(plan)
    metrics = np.column_stack([run.metrics.steps, run.metrics.test_loss, run.metrics.train_loss])
    logs = run.minibatch.values, run.probe.values, run.norm_parameters
    return (*(np.array(log[:]).tobytes() for log in logs), metrics.tobytes())


def fresh(plan):
    """Nothing is there yet."""


def extended(plan):
    """A shorter run is done."""
    settings = plan.settings
    shorter = replace(settings, train=replace(settings.train, steps=3))
    assert go(replace(plan, settings=shorter))[0] == "done"


def without_checkpoints(plan):
    """The run was stopped late, and no checkpoint is whole: it must start again."""
    go(plan, stop_after=6)
    for name in (run_folder.CHECKPOINT, run_folder.PREVIOUS):
        (plan.folder / name).write_bytes(b"damaged")


def says_it_is_done(plan):
    """Whether the status says that all steps are made."""
    if not (plan.folder / STATUS).exists():
        return False
    status = read_status(plan.folder)
    return (status.state, status.steps) == ("done", plan.settings.train.steps)


def attempt(plan, start, fatal, monkeypatch, **disk):
    """Go on from what `start` left, on a disk on which a call may fail; returns the disk."""
    if start.folder.exists():
        shutil.copytree(start.folder, plan.folder)
    with monkeypatch.context() as patch:
        disk = Disk(patch, fatal, **disk)
        for path in plan.folder.glob("*"):
            disk.synced[path.stat().st_ino] = path.read_bytes()
        try:
            go(plan)
        except StorageError as told:
            assert fatal is not None
            assert "No space left on device" in str(told)
            assert str(told).count("\n") == 1
    return disk


TIMES = re.compile(rb'^ "(crc32|heartbeat|seconds_per_step)": .*$', re.MULTILINE)


def without_times(folder):
    """The content of each file, of a status without what the clock made of it."""
    found = {path.name: path.read_bytes() for path in folder.glob("*")}
    return {name: TIMES.sub(b"", x) if STATUS in name else x for name, x in found.items()}


def full_disks(make, start, monkeypatch):
    """What is left of a run for which there was no room, at each call in turn: as a plan.

    The last one is that of an undisturbed run. Of equal ones, one stands for all.
    """
    seen = []
    for fatal in itertools.count():
        disk = attempt(plan := make(), start, fatal, monkeypatch, error=no_room)
        if undisturbed := disk.calls <= fatal:
            assert says_it_is_done(plan)
        if (left := without_times(plan.folder)) not in seen:
            seen.append(left)
            yield plan
        if undisturbed:
            assert fatal > 60
            assert len(seen) > 30
            return


def ends(make, start, monkeypatch, error):
    """What is left of a run that was ended, at each call in turn: as a plan.

    A process that is ended leaves what there is before the call. So one run that is looked at
    before each call shows what all of these leave. Of equal ones, one stands for all. The first
    one is that of the undisturbed run.
    """
    found, plan = [], make()

    def look(disk):
        if not disk.calls or disk.changes[-1]:
            found.append(disk.left(plan.folder))

    disk = attempt(plan, start, None, monkeypatch, error=error, look=look)
    assert says_it_is_done(plan)
    assert disk.calls > 60
    assert len(found) > 30
    yield plan
    for number, left in enumerate(found):
        if left not in found[:number]:
            plan = make()
            if left is not None:
                plan.folder.mkdir()
                for name, content in left.items():
                    (plan.folder / name).write_bytes(content)
            yield plan


@pytest.mark.parametrize(
    ("before", "error"),
    [
        (fresh, Killed),
        (fresh, PowerCut),
        (fresh, no_room),
        (extended, Killed),
        (extended, PowerCut),
        (extended, no_room),
        (without_checkpoints, Killed),
    ],
)
@pytest.mark.usefixtures("quick")
def test_a_fault_at_any_write_costs_nothing(small_plan, monkeypatch, before, error):
    """Killed, without power or out of room at each call in turn: readable, and the same end.

    Of kills and power cuts at calls between which nothing changes, one stands for all.
    """
    whole, start = small_plan("whole", **SMALL), small_plan("start", **SMALL)
    go(whole)
    before(start)
    expected, allowed = contents(whole.folder), list(zip(rows(whole), rows(start), strict=True))
    numbers = itertools.count()

    def make():
        return small_plan(f"run{next(numbers)}", **SMALL)

    made = (start, monkeypatch) if error is no_room else (start, monkeypatch, error)
    for plan in (full_disks if error is no_room else ends)(make, *made):
        if says_it_is_done(plan):
            assert contents(plan.folder) == expected, plan.folder
        for found, logs in zip(rows(plan), allowed, strict=True):
            assert any(log.startswith(found) for log in logs), plan.folder
        go(plan)
        assert contents(plan.folder) == expected, plan.folder
        shutil.rmtree(plan.folder)


@pytest.mark.usefixtures("quick")
def test_a_full_disk_does_not_hide_why_a_run_failed(small_plan, monkeypatch):
    """Whatever cannot be written after a run has diverged, that it diverged is what is told."""
    changes = {**SMALL, "model": {"hidden": (3, 2), "norm": "none", "activation": "identity"}}
    changes["train"] = {"steps": 300, "lr": 1e30, "checkpoint_every": 1000}
    told = []
    for fatal in itertools.count():
        plan = small_plan(f"run{fatal}", **changes)
        with monkeypatch.context() as patch:
            disk = Disk(patch, fatal, no_room)
            with pytest.raises(BnexpError) as caught:
                go(plan)
        if disk.calls <= fatal:
            break
        told.append(caught.type)
        if (plan.folder / STATUS).exists():
            read(plan)  # what is promised can be read
    changed = told.index(RunError)
    assert set(told[:changed]) == {StorageError}
    assert set(told[changed:]) == {RunError}
    assert len(told) - changed > 5


# What a run continues from


@pytest.mark.usefixtures("quick")
def test_a_log_damaged_at_its_end_costs_one_checkpoint(small_plan):
    """The checkpoint before does not count on that end; which file it was is said."""
    whole, plan = small_plan("whole", **SMALL), small_plan("damaged", **SMALL)
    go(whole)
    go(plan, stop_after=6)
    for name in (run_folder.MINIBATCH, run_folder.METRICS):
        path = plan.folder / name
        path.write_bytes(path.read_bytes()[:-1])
    outcome, said = go(plan)
    assert outcome == "done"
    minibatch = plan.folder / run_folder.MINIBATCH
    assert said == [
        f"{minibatch}: damaged (1 bytes short); using the checkpoint before",
        "variant, seed 0: continuing at step 4",
    ]
    assert contents(plan.folder) == contents(whole.folder)


@pytest.mark.usefixtures("quick")
def test_a_run_whose_data_moved_continues(small_plan):
    """Where the data lies is no part of the run."""
    moved = {**SMALL, "data": {"root": "elsewhere"}}
    go(small_plan("whole", **SMALL))
    go(small_plan("moved", **SMALL), stop_after=6)
    go(small_plan("moved", **moved))
    assert contents(small_plan("moved").folder) == contents(small_plan("whole").folder)


@pytest.mark.usefixtures("quick")
def test_a_run_is_not_continued_with_fewer_steps_than_it_made(small_plan):
    """Its rows would be those of another run; the text says what to do."""
    go(small_plan(**SMALL), stop_after=6)
    fewer = {**SMALL, "train": {"steps": 5}}
    with pytest.raises(ConfigError, match=r"train\.steps: 7, now 5.*\n.*--restart"):
        go(small_plan(**fewer))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "name",
    [*run_folder.RUN_FILES, HOLDER, "status.json.tmp", "checkpoint.pt.new"],
)
def test_a_folder_in_a_files_place_is_told_by_its_name(small_plan, name):
    """In two lines; without it the run ends as it should."""
    plan = small_plan(
        **{**SMALL, "record": {**SMALL["record"], "ics_every": 5, "statistics_every": 5}}
    )
    (plan.folder / name).mkdir(parents=True)
    (plan.folder / LOCK).touch()  # bnexp's mark: the folder is its own
    with pytest.raises(StorageError, match=re.escape(name)) as caught:
        go(plan)
    assert len(str(caught.value).splitlines()) <= 2
    (plan.folder / name).rmdir()
    assert go(plan)[0] == "done"
