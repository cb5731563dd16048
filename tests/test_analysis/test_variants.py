"""The runs of a variant stand beside each other step by step, however long each of them is."""

from helpers import models

import bnexp


def recorded(folder, seed, steps, every=5, **options):
    """Record a seed for so many steps, with an accuracy of t / steps after every so many."""
    model = models.dense(seed)
    with models.record(model, folder, seed=seed, **options) as recorder:
        for end in range(every, steps + 1, every):
            models.train(model, recorder, end)
            recorder.log(test_accuracy=end / steps)
        models.train(model, recorder, steps)


def test_metrics_of_seeds_that_were_evaluated_at_other_steps_are_aligned_by_step(tmp_path):
    """A row is a step at which every seed was evaluated."""
    recorded(tmp_path, 0, 20, every=2)
    recorded(tmp_path, 1, 20, every=10)
    metrics = models.read(tmp_path, seeds=(0, 1)).metrics
    assert metrics.steps.tolist() == [0, 10, 20]
    assert metrics.test_accuracy[1:].tolist() == [[0.5, 0.5], [1.0, 1.0]]


def test_a_comparison_takes_the_accuracy_of_every_seed_at_the_same_steps(tmp_path):
    """The last evaluation of both seeds is the last step, at which both are right."""
    recorded(tmp_path, 0, 20, every=2)
    recorded(tmp_path, 1, 20, every=10)
    measures = bnexp.load(tmp_path).summary["variants"]["model"]["measures"]
    assert measures["test_accuracy"]["per_seed"] == [1.0, 1.0]


def test_seeds_that_were_never_evaluated_at_the_same_step_have_no_accuracy_and_a_note(tmp_path):
    """Nothing is averaged over evaluations at different steps."""
    recorded(tmp_path, 0, 9, every=3)
    recorded(tmp_path, 1, 8, every=4)
    found = bnexp.load(tmp_path).summary["variants"]["model"]
    assert found["measures"] == {}
    assert found["problem"].startswith("its seeds have no row of metrics.csv at a common step")
