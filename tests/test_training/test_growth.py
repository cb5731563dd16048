"""An experiment grows by seeds, variants and steps; what is there is left alone, byte for byte."""

import shutil
from dataclasses import replace

import pytest
import torch
from helpers.experiments import Listener, contents, go

from bnexp.errors import ConfigError, DamagedError, StorageError
from bnexp.files.experiment_folder import CONFIG, TRAIN_LOG, write_config
from bnexp.files.locks import HOLDER, LOCK
from bnexp.files.run_folder import RUN_FILES, run_folder
from bnexp.recording.record import record
from bnexp.training.growth import check_growth, restart
from bnexp.training.plans import is_done, plans_of
from bnexp.training.scheduler import train_experiment


def snapshot(folder):
    """Every file that a command may not change: its bytes and its time of change."""
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {LOCK, HOLDER, CONFIG, TRAIN_LOG}
    }


def test_more_seeds_and_variants_leave_what_is_there_alone(small_experiment, tmp_path):
    """Only the new runs are trained, and they equal those of an experiment made at once."""
    whole, out = small_experiment(), tmp_path / "out"
    part = replace(whole, seeds=(2,), variants=whole.variants[:1])
    assert train_experiment(part, out, 1, Listener()) == []
    before = snapshot(out)
    listener = Listener()
    assert train_experiment(whole, out, 1, listener) == []
    assert listener.said == ["1 of 6 runs done already"]
    after = snapshot(out)
    assert {path: after[path] for path in before} == before
    assert train_experiment(whole, tmp_path / "at once", 2, Listener()) == []
    for path, (content, _) in snapshot(tmp_path / "at once").items():
        if path.suffix in {".npy", ".csv"}:
            assert after[path][0] == content, path


def test_a_changed_config_is_refused_with_the_keys_that_differ(small_experiment, tmp_path):
    """All keys in one error; more of seeds, variants and steps are allowed, and another root."""
    write_config(tmp_path, small_experiment())
    check_growth(small_experiment(), tmp_path)
    check_growth(small_experiment(train={"steps": 41}, data={"root": "there"}), tmp_path)
    check_growth(replace(small_experiment(), seeds=(5, 2, 1, 0)), tmp_path)
    with pytest.raises(ConfigError) as caught:
        check_growth(small_experiment(train={"steps": 39, "lr": 0.1}), tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: holds results of another config "
        "(train.steps: 40, now 39; train.lr: 0.5, now 0.1).\n"
        "Use --out DIR for another folder, or --restart to discard the results there."
    )
    with pytest.raises(ConfigError, match="seeds: without 1, 2"):
        check_growth(replace(small_experiment(), seeds=(0,)), tmp_path)
    fewer = replace(small_experiment(), variants=small_experiment().variants[1:])
    with pytest.raises(ConfigError, match="variants: without baseline"):
        check_growth(fewer, tmp_path)


def test_restart_deletes_what_training_wrote_and_nothing_else(small_experiment, tmp_path):
    """The user's files stay, and so does what a link leads to."""
    experiment, out = small_experiment(), tmp_path / "out"
    assert train_experiment(experiment, out, 1, Listener()) == []
    folder = run_folder(out, "baseline", 0)
    (folder / "notes.txt").write_text("mine")
    (out / "notes.txt").write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    (out / "batchnorm").rename(elsewhere)
    (out / "batchnorm").symlink_to(elsewhere)
    said = []
    restart(out, said.append)
    assert said == [f"{out}: removed its config, its summary and 3 runs"]
    left = {path.name for path in out.rglob("*") if path.is_file()} - {LOCK, HOLDER}
    assert left == {"notes.txt"}
    assert {path.name for path in (elsewhere / "seed-0").iterdir()} > {"model.pt", "status.json"}
    assert not {path.name for path in folder.iterdir()} & {*RUN_FILES}


def test_restart_refuses_a_folder_that_bnexp_did_not_write(tmp_path):
    """Somebody else's config.yaml, or files without any, are left as they are."""
    restart(tmp_path / "nothing there", lambda _: None)
    (tmp_path / "model.pt").write_text("somebody's")
    with pytest.raises(StorageError, match="no experiment of bnexp is there"):
        restart(tmp_path, lambda _: None)
    (tmp_path / CONFIG).write_text("tool: another\n")
    with pytest.raises(DamagedError, match="not written by bnexp"):
        restart(tmp_path, lambda _: None)
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt", CONFIG}


def test_a_folder_of_the_first_edition_is_refused_with_the_way_to_make_it_again(
    small_experiment, tmp_path
):
    """Its runs kept all seeds in one folder."""
    write_config(tmp_path, small_experiment())
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / "status.json").write_text("{}")
    with pytest.raises(StorageError, match=r"made by bnexp 0\.1.*\nMake them again: bnexp train"):
        train_experiment(small_experiment(), tmp_path, 1, Listener())


@pytest.mark.usefixtures("quick")
def test_a_mistaken_number_of_steps_is_taken_back_where_nothing_is_lost_by_it(
    small_experiment, tmp_path
):
    """The command of before is accepted until a run has made more steps than it asks for."""
    probe = {"probe_size": 20}  # the data set of these tests is small
    experiment = small_experiment(record=probe)
    mistaken = small_experiment(record=probe, train={"steps": 2_000_000})
    write_config(tmp_path, experiment)
    plans, longer = (plans_of(each, tmp_path) for each in (experiment, mistaken))
    go(plans[0])
    go(plans[1], stop_after=20)
    check_growth(mistaken, tmp_path)
    write_config(tmp_path, mistaken)
    go(longer[1], stop_after=5)
    check_growth(experiment, tmp_path)
    write_config(tmp_path, experiment)
    for plan in plans[:2]:
        assert is_done(plan) or go(plan)[0] == "done"
    whole = replace(plans[1], folder=tmp_path / "whole")
    go(whole)
    assert contents(plans[1].folder) == contents(whole.folder)
    write_config(tmp_path, mistaken)
    go(longer[0], stop_after=20)
    with pytest.raises(ConfigError) as caught:
        check_growth(experiment, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: holds results of another config (train.steps: 2000000, now 40, where a run "
        "has made 60 steps).\nUse --out DIR for another folder, or --restart to discard the "
        "results there, or train.steps=60 or more to keep them."
    )


def test_recordings_of_a_users_own_model_are_never_deleted_or_mixed_with(
    small_experiment, tmp_path
):
    """`train` refuses their folder, and a restart leaves them where they lie among trained runs."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
    with record(model, tmp_path / "mine", "0", variant="plain") as recorder:
        model(torch.zeros(5, 4))
        recorder.step()
    before = snapshot(tmp_path / "mine")
    with pytest.raises(ConfigError, match=r"plain/seed-0: was recorded of a model of your own"):
        train_experiment(small_experiment(), tmp_path / "mine", 1, Listener())
    assert snapshot(tmp_path / "mine") == before
    trained, listener = tmp_path / "trained", Listener()
    train_experiment(replace(small_experiment(), seeds=(0,)), trained, 1, Listener())
    shutil.copytree(tmp_path / "mine" / "plain", trained / "plain")
    kept = snapshot(trained / "plain")
    restart(trained, listener.say)
    assert listener.said == [f"{trained}: removed its config, its summary and 2 runs"]
    assert snapshot(trained / "plain") == kept
