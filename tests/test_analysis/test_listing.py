"""The listing of runs tells what each of them still has to do."""

from dataclasses import replace

from helpers.experiments import Listener

from bnexp.analysis.listing import Wanted, count, list_runs
from bnexp.files.experiment_folder import write_config
from bnexp.training.scheduler import train_experiment


def test_a_run_with_fewer_steps_than_the_config_asks_for_is_not_done(small_experiment, tmp_path):
    """As after a Ctrl-C while an experiment was made longer; the steps are those of the config."""
    short = replace(small_experiment(), seeds=(0,))
    assert train_experiment(short, tmp_path, 1, Listener()) == []
    assert count([*list_runs(tmp_path, Wanted())]) == "2 runs: 2 done"
    write_config(tmp_path, replace(small_experiment(train={"steps": 80}), seeds=(0,)))
    assert [run.step for run in list_runs(tmp_path, Wanted())] == ["40/80", "40/80"]
    assert [*list_runs(tmp_path, Wanted("done"))] == []
    assert count([*list_runs(tmp_path, Wanted("interrupted"))]) == "2 runs: 2 interrupted"
