"""The runs of a variant stand beside each other step by step, however long each of them is."""

import pytest
from helpers import models
from helpers.experiments import go

import bnexp
from bnexp.analysis.variants import read_variant
from bnexp.files.experiment_folder import write_config
from bnexp.training.plans import plans_of


def test_metrics_of_seeds_that_were_evaluated_at_other_steps_are_aligned_by_step(tmp_path):
    """A row is a step at which every seed was evaluated."""
    models.recorded(tmp_path, 20, 2, seed=0)
    models.recorded(tmp_path, 20, 10, seed=1)
    metrics = models.read(tmp_path, seeds=(0, 1)).metrics
    assert metrics.steps.tolist() == [0, 10, 20]
    assert metrics.test_accuracy[1:].tolist() == [[0.5, 0.5], [1.0, 1.0]]


def test_a_comparison_takes_the_accuracy_of_every_seed_at_the_same_steps(tmp_path):
    """The last evaluation of both seeds is the last step, at which both are right."""
    models.recorded(tmp_path, 20, 2, seed=0)
    models.recorded(tmp_path, 20, 10, seed=1)
    measures = bnexp.load(tmp_path).summary["variants"]["model"]["measures"]
    assert measures["test_accuracy"]["per_seed"] == [1.0, 1.0]


def test_seeds_that_were_never_evaluated_at_the_same_step_have_no_accuracy_and_a_note(tmp_path):
    """Nothing is averaged over evaluations at different steps."""
    models.recorded(tmp_path, 9, 3, seed=0)
    models.recorded(tmp_path, 8, 4, seed=1)
    found = bnexp.load(tmp_path).summary["variants"]["model"]
    assert found["measures"] == {}
    assert found["problem"].startswith("its seeds have no row of metrics.csv at a common step")


def test_the_final_row_of_a_seed_that_ended_sooner_does_not_stand_beside_a_later_step(tmp_path):
    """Its last probe is at step 8, where the other seed has a row of step 9."""
    models.recorded(tmp_path, 8, seed=0, probe=models.minibatch(99, 20)[0], probe_every=3)
    models.recorded(tmp_path, 20, seed=1, probe=models.minibatch(99, 20)[0], probe_every=3)
    found = models.read(tmp_path, seeds=(0, 1))
    assert found.probe.steps.tolist() == [0, 3, 6]
    assert found.probe.values.shape[0] == 3


def test_a_recorded_variant_whose_seeds_ended_at_other_steps_is_done(tmp_path):
    """Its user may have stopped each of them early."""
    models.recorded(tmp_path, 8, seed=0)
    models.recorded(tmp_path, 20, seed=1)
    assert models.read(tmp_path, seeds=(0, 1)).state == "done"


@pytest.fixture
def grown(small_experiment, tmp_path, quick):
    """An experiment of 38 steps that was to have 60, after the first of its runs has them."""
    probe = {"probe_size": 20}  # the data set of these tests is small
    short, long = (
        small_experiment(record=probe, train={"steps": steps, "lr": 0.01}) for steps in (38, 60)
    )
    write_config(tmp_path, short)
    for plan in plans_of(short, tmp_path):
        assert go(plan)[0] == "done"
    write_config(tmp_path, long)
    assert go(plans_of(long, tmp_path)[0])[0] == "done"
    return bnexp.load(tmp_path)


def test_a_variant_with_runs_that_are_still_to_be_made_longer_is_not_done(grown):
    """Whether some of its runs have been made longer, or none."""
    numbers = grown.summary["variants"]
    assert {name: each["state"] for name, each in numbers.items()} == {
        "baseline": "interrupted",
        "batchnorm": "interrupted",
    }


def test_variants_that_are_still_to_be_made_longer_are_not_compared(grown):
    """A seed of 60 steps is not set against one of 38."""
    assert set(grown.compare().verdict) == {""}


def test_rows_of_runs_that_are_made_longer_are_those_of_a_common_step(grown):
    """The final rows, of step 38, stand where the longer run has rows of steps 40 and 42."""
    found = grown.results.variants["baseline"]
    assert found.probe.steps.tolist() == [0, 10, 20, 30]
    assert found.metrics.steps.tolist() == [0, 7, 14, 21, 28, 35]


def test_gamma_and_beta_have_the_rows_of_the_probe_while_runs_are_made_longer(
    small_experiment, tmp_path, quick
):
    """The final row of a shorter run is left out of both."""
    probe = {"probe_size": 20}
    for seed, steps in enumerate((38, 60)):
        experiment = small_experiment(record=probe, train={"steps": steps})
        go(plans_of(experiment, tmp_path)[3 + seed])
    folders = [tmp_path / "batchnorm" / f"seed-{seed}" for seed in (0, 1)]
    found = read_variant("batchnorm", folders)
    assert len(found.norm_parameters) == len(found.probe.steps) == 4


def test_all_settings_of_a_variant_are_those_of_the_config_while_it_is_made_longer(grown):
    """The number of steps too, whichever run is read first."""
    assert {each["train.steps"] for each in grown.settings.values()} == {60}
