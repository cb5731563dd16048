"""Results are bound to every key of the settings that made them."""

import shutil
import zlib
from dataclasses import replace

import pytest
from helpers.experiments import go, small_settings

from bnexp.analysis.results import read_experiment
from bnexp.config import Experiment, Variant, dump, flatten, settings_of
from bnexp.errors import ConfigError, DamagedError
from bnexp.files.axes import axes_of
from bnexp.files.experiment_folder import CONFIG, read_config, write_config
from bnexp.files.run_folder import binding_settings, run_folder
from bnexp.files.status import STATUS, read_status, write_status
from bnexp.training.growth import check_growth
from bnexp.training.plans import is_done, plans_of
from bnexp.training.run_writer import RunWriter

SETTINGS = small_settings(record={"probe_size": 20})
OTHER = {  # for each key, another value than that of `SETTINGS`
    "data.name": "mnist",
    "data.binarize": False,
    "model.hidden": (9, 6),
    "model.activation": "tanh",
    "model.norm": "layer",
    "model.bias": True,
    "model.gamma": False,
    "model.beta": False,
    "model.norm_eps": 1e-4,
    "model.norm_momentum": 0.2,
    "model.weight_std": 0.4,
    "model.bias_std": 0.1,
    "train.steps": 20,
    "train.batch_size": 21,
    "train.optimizer": "adam",
    "train.lr": 0.25,
    "train.momentum": 0.9,
    "train.weight_decay": 0.01,
    "train.dtype": "float64",
    "train.device": "auto",
    "train.engine": "torch",
    "train.threads": 2,
    "train.checkpoint_every": 20,
    "record.layers": "last",
    "record.every": 2,
    "record.percentiles": (10, 50, 90),
    "record.probe_size": 21,
    "record.probe_every": 20,
    "record.evaluate_every": 8,
    "record.ics_every": 20,
    "record.statistics_every": 20,
}
KEYS = sorted(binding_settings(SETTINGS))


def changed(key):
    """The small settings with another value of one key."""
    return settings_of({**flatten(SETTINGS), key: OTHER[key]})


def experiment(settings):
    """One variant, one seed."""
    return Experiment("small", (0,), settings, (Variant("one", {}, settings),))


@pytest.fixture
def trained(quick, tmp_path):
    """A finished experiment with the small settings."""
    folder = tmp_path / "trained"
    folder.mkdir()
    write_config(folder, experiment(SETTINGS))
    (plan,) = plans_of(experiment(SETTINGS), folder)
    assert go(plan)[0] == "done"
    return folder


def test_every_key_but_the_place_of_the_data_is_bound():
    """A new key must get a value in the table above."""
    assert {*flatten(SETTINGS)} - {*KEYS} == {"data.root"}
    assert {*KEYS} == {*OTHER}
    assert all(OTHER[key] != value for key, value in binding_settings(SETTINGS).items())


def test_another_value_of_any_key_is_refused_with_the_key(trained):
    """By the config, and where it was deleted, by the status; done is done for its settings."""
    for key in KEYS:
        other = experiment(changed(key))
        with pytest.raises(ConfigError, match=key):
            check_growth(other, trained)
        (plan,) = plans_of(other, trained)
        with pytest.raises(ConfigError, match=key):
            is_done(plan)


def test_another_value_of_any_key_is_refused_by_the_checkpoint_where_the_status_is_lost(trained):
    """Fewer steps are refused as such; more may follow."""
    (trained / "one" / "seed-0" / STATUS).unlink()
    for key in KEYS:
        (plan,) = plans_of(experiment(changed(key)), trained)
        with pytest.raises(DamagedError, match=key):
            RunWriter(plan, {}).newest_checkpoint(lambda _: None)


def test_an_edited_config_is_refused_with_the_key(trained):
    """With its old checksum, without one, and with a right one."""
    for key in KEYS:
        text = dump(experiment(changed(key)))
        seal = (trained / CONFIG).read_text().partition("\n")[0]
        for edited in (f"{seal}\n{text}", text):
            (trained / CONFIG).write_text(edited)
            with pytest.raises(DamagedError, match=key):
                read_config(trained)
            with pytest.raises(DamagedError, match=key):
                check_growth(experiment(SETTINGS), trained)
            with pytest.raises(DamagedError, match=key):
                read_experiment(trained)
        seal = f"{seal.rpartition(' ')[0]} {zlib.crc32(text.encode()):08x}"
        (trained / CONFIG).write_text(f"{seal}\n{text}")
        if key == "train.steps":  # an experiment that is to have other steps, and is not there yet
            continue
        found = read_experiment(trained)
        assert key in found.problems["one"]
        assert not found.variants
        write_config(trained, experiment(SETTINGS))


def test_a_run_that_is_copied_from_an_experiment_with_another_value_is_refused(trained, tmp_path):
    """By every key, in reading and in training."""
    mine = tmp_path / "mine"
    mine.mkdir()
    write_config(mine, experiment(SETTINGS))
    (plan,) = plans_of(experiment(SETTINGS), mine)
    for key in KEYS:
        shutil.copytree(run_folder(trained, "one", 0), plan.folder)
        status = read_status(plan.folder)
        write_status(plan.folder, replace(status, settings=binding_settings(changed(key))))
        if key != "train.steps":
            assert key in read_experiment(mine).problems["one"]
            with pytest.raises(ConfigError, match=key):
                is_done(plan)
        else:  # a run of fewer steps of the same kind is continued
            assert not is_done(plan) or read_status(plan.folder).step == plan.settings.train.steps
        shutil.rmtree(plan.folder)


def test_the_axes_follow_from_the_settings(trained):
    """So a run whose percentiles.json describes other logs is not done."""
    (plan,) = plans_of(experiment(SETTINGS), trained)
    assert is_done(plan)
    (plan.folder / "percentiles.json").unlink()
    assert not is_done(plan)
    assert axes_of(changed("record.every")) != axes_of(SETTINGS)
