"""Wrong uses of the Python API: an error of bnexp's own, which says what, where and what to do."""

from pathlib import Path

import pytest

import bnexp
from bnexp.api.arguments import arguments_named, as_python
from bnexp.errors import ConfigError, LockedError, StorageError

PUBLISHED = Path(__file__).parents[2] / "results" / "published" / "fig1"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"config": None}, "config is None; give a YAML file, or the name of a packaged config"),
        ({"config": {"name": "x"}}, "config is {'name': 'x'}; give a YAML file"),
        ({"jobs": "2"}, "jobs is '2'; give a whole number of 1 or more, or None"),
        ({"jobs": 0}, "jobs is 0; give a whole number"),
        ({"jobs": True}, "jobs is True; give"),
        ({"out": 5}, "out is 5; give a folder"),
        ({"overrides": 5}, "overrides is 5; give texts such as"),
        ({"overrides": ["train.steps=20", 5]}, "overrides[1] is 5; give texts such as"),
        (
            {"overrides": "train.lr=0.2 train.steps=20"},
            "overrides[0] is 'train.lr=0.2 train.steps=20', which holds several; give a list",
        ),
    ],
    ids=str,
)
def test_training_refuses_arguments_that_it_cannot_use(tmp_path, monkeypatch, arguments, text):
    """Before it writes a file."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        bnexp.train(**({"config": "quickstart"} | arguments))
    assert text in str(caught.value)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("path", [None, 3, ["results/fig1"]], ids=str)
def test_what_is_no_path_is_not_loaded(path):
    """An example says what a path is."""
    with pytest.raises(ConfigError, match=r"path is .*; give the folder of an experiment, such as"):
        bnexp.load(path)


def test_the_name_of_an_experiment_leads_to_its_folder(tmp_path, monkeypatch):
    """It lies in results/, where training put it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "quickstart").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"no such folder; did you mean 'results/quickstart'\?"):
        bnexp.load("quickstart")
    with pytest.raises(StorageError, match="no such folder; `bnexp runs` lists"):
        bnexp.load("of another name")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"layer": "3"}, "layer is '3'; give a hidden layer, counted from 1, or None"),
        ({"layer": 0}, "layer is 0; give"),
        ({"unit": 1.5}, "unit is 1.5; give 'typical', 'all', or a unit"),
        ({"seed": "0"}, "seed is '0'; give the seed of a run"),
        ({"width": "3"}, "width is '3'; give inches, 2 to 20"),
        ({"width": float("nan")}, "width is nan; give inches, 2 to 20"),
        ({"width": float("inf")}, "width is inf; give inches, 2 to 20"),
    ],
    ids=str,
)
def test_a_plot_refuses_arguments_that_it_cannot_use(arguments, text):
    """As early as that it needs no logs."""
    with pytest.raises(ConfigError) as caught:
        bnexp.load(PUBLISHED).plot(**arguments)
    assert text in str(caught.value)


def test_the_other_methods_refuse_arguments_that_they_cannot_use():
    """A seed that is a text was never said to be untrained, and a number is no variant."""
    experiment = bnexp.load(PUBLISHED)
    with pytest.raises(ConfigError, match="seed is '0'; give a whole number"):
        experiment.network("batchnorm", seed="0")
    for wrong in (lambda: experiment.network(3), lambda: experiment.sel(3)):
        with pytest.raises(ConfigError, match="variant is 3; give the name of one: baseline, batc"):
            wrong()
    with pytest.raises(ConfigError, match=r"margin is '0\.1'; give a number of 0 or more"):
        experiment.compare(margin="0.1")
    with pytest.raises(ConfigError, match="baseline is 3; give a variant, or"):
        experiment.compare(baseline=3)
    with pytest.raises(ConfigError, match=r"^baseline=x: no such variant"):
        experiment.compare(baseline="x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--unit 99: no such unit; give all", "unit=99: no such unit; give all"),
        (
            "out of memory; use fewer --jobs, fewer units",
            "out of memory; use fewer jobs, fewer units",
        ),
        (
            "Use --out DIR for another folder, or --restart to discard the results.",
            "Use out=DIR for another folder, or `bnexp train --restart` to discard the results.",
        ),
        ("choose another --out, then run it again", "choose another out, then run it again"),
        ("`bnexp train --config a/config.yaml` makes them",) * 2,
        ("Make them again: bnexp train --config a/config.yaml --out DIR",) * 2,
    ],
)
def test_an_error_speaks_of_arguments_where_a_command_speaks_of_options(text, said):
    """What stands there as a command stays one."""
    assert as_python(text) == said


def test_an_error_keeps_its_class_and_its_mistakes():
    """So that a program can tell one from another."""
    with pytest.raises(LockedError, match=r"^busy; use out=DIR$"), arguments_named():
        raise LockedError("busy; use --out DIR")
    with pytest.raises(ConfigError) as caught, arguments_named():
        raise ConfigError(["--seed 3: not trained", "--layer 4: not recorded"])
    assert caught.value.mistakes == ["seed=3: not trained", "layer=4: not recorded"]
    assert str(caught.value) == "seed=3: not trained\nlayer=4: not recorded"


def test_another_experiment_in_the_folder_is_told_in_the_words_of_python(tmp_path):
    """Whose keys differ, and what to do about it."""
    out = tmp_path / "mine"
    bnexp.train("quickstart", ["train.steps=2", "seeds=1", "model.hidden=[2]"], out=out, jobs=1)
    with pytest.raises(ConfigError, match="Use out=DIR for another folder, or `bnexp train --res"):
        bnexp.train("quickstart", ["train.lr=0.7", "seeds=1", "model.hidden=[2]"], out=out)
