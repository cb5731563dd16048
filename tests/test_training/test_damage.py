"""Of any damage to any file, none passes as another result: it is named, or makes no difference."""

import json
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers.experiments import contents, go, tensors

from bnexp.analysis import comparison, measuring, results
from bnexp.errors import BnexpError
from bnexp.files import run_folder
from bnexp.files.experiment_folder import CONFIG, runs_of, write_config
from bnexp.files.locks import HOLDER, LOCK
from bnexp.files.status import read_status, write_status
from bnexp.training.growth import check_growth
from bnexp.training.plans import is_done, plans_of

SMALL = {
    "model": {"hidden": (3, 2)},
    "train": {"steps": 10, "checkpoint_every": 6},
    "record": {"probe_size": 20, "probe_every": 4, "evaluate_every": 3},
}
CASES = 120  # scripts/damage.py counts many more


def damaged(content, rng):
    """The content cut short or longer, with a piece missing or empty, or a few bytes changed."""
    kind = rng.choice(["truncate", "extend", "cut", "zero", "change", "change", "change"])
    start = rng.randrange(len(content) or 1)
    end = min(len(content), start + rng.randint(1, 600))
    if kind == "truncate":
        return content[:start]
    if kind == "extend":
        return content + rng.randbytes(rng.randint(1, 40))
    if kind == "cut":
        return content[:start] + content[end:]
    if kind == "zero":
        return content[:start] + bytes(end - start) + content[end:]
    changed = bytearray(content)
    for place in rng.sample(range(len(content)), rng.randint(1, 3)):
        changed[place] = rng.choice([changed[place] ^ (1 << rng.randrange(8)), rng.randrange(256)])
    return bytes(changed)


def reading(folder):
    """Everything that analysis and figures take from an experiment's files."""
    found = results.read_experiment(folder)
    if found.problems:
        raise BnexpError("; ".join(found.problems.values()))
    compared = comparison.compare([(found.path, measuring.measure(found))])
    table = json.dumps(comparison.to_json(compared))
    taken = {"settings": found.settings, "seeds": found.seeds, "table": table}
    for name, each in found.variants.items():
        taken[f"{name}/runs"] = each.runs
        logs = {"minibatch": each.minibatch, "probe": each.probe, "metrics": each.metrics}
        for kind, log in logs.items():
            for key, value in vars(log).items():
                array = np.asarray(value[:] if key == "values" else value)
                taken[f"{name}/{kind}/{key}"] = array.tobytes()
        if each.state == "done":
            for run in each.runs:
                for key, value in tensors(run.path / run_folder.MODEL).items():
                    taken[f"{run.path.name}/{name}/{key}"] = value.numpy().tobytes()
    return taken


def carry_on(experiment, folder):
    """What `bnexp train` does, in this process; then what a reader finds, and other programs."""
    check_growth(experiment, folder)
    write_config(folder, experiment)
    trained = {}
    for plan in plans_of(experiment, folder):
        if not is_done(plan):
            assert go(plan)[0] == "done"
            trained[plan.name] = contents(plan.folder)
    return reading(folder), trained


def lasting(found):
    """What of it is the same when the run is done again."""
    return {key: value for key, value in found.items() if "table" not in key and "runs" not in key}


def attempt(action, *args):
    """What it returns, or None for an error that users can be shown."""
    try:
        return action(*args)
    except BnexpError as error:
        assert len(str(error).splitlines()) <= 2
        return None


@pytest.fixture
def experiments(quick, small_experiment, tmp_path):
    """An experiment, and its folder when it is done, and when it was stopped on the way.

    Then the first run of each variant is done.
    """
    experiment = replace(small_experiment(**SMALL), seeds=(0, 1))
    for folder in ("done", "stopped"):
        (tmp_path / folder).mkdir()
        write_config(tmp_path / folder, experiment)
        for plan in plans_of(experiment, tmp_path / folder):
            go(plan, stop_after=8 if folder == "stopped" and plan.seed == 1 else None)
    return experiment, tmp_path / "done", tmp_path / "stopped"


@pytest.mark.parametrize("number", range(2))
def test_a_damaged_file_is_named_or_makes_no_difference(experiments, tmp_path, number):
    """Random damages to any file, in reading and in continuing.

    Nothing but a damaged log or config is refused: the rest is written anew.
    """
    experiment, done, stopped = experiments
    rng, refused = random.Random(number), 0
    whole = {plan.name: contents(plan.folder) for plan in plans_of(experiment, done)}
    before = {folder: reading(folder) for folder in (done, stopped)}
    paths = {
        folder: sorted(
            p
            for p in folder.rglob("*.*")
            if p.is_file() and p.name not in {LOCK, HOLDER} and p.parent not in finished
        )
        for folder, finished in ((done, []), (stopped, [*stopped.glob("*/seed-0")]))
    }
    for case in range(CASES // 2):
        original = (done, stopped)[case % 2]
        path = rng.choice(paths[original])
        folder = tmp_path / f"case{case}"
        shutil.copytree(original, folder)
        target = folder / path.relative_to(original)
        target.write_bytes(damaged(path.read_bytes(), rng))
        found = attempt(reading, folder)
        if found is not None:
            assert lasting(found) == lasting(before[original]), f"case {case}: {target}"
        if found is not None and original == done:
            shutil.rmtree(folder)
            continue
        ended = attempt(carry_on, experiment, folder)
        if ended is None:
            assert target.name in {CONFIG, *run_folder.LOGS}, target
        else:
            assert lasting(ended[0]) == lasting(before[done]), f"case {case}: {target}"
            assert ended[1].items() <= whole.items(), f"case {case}: {target}"
        refused += found is None
        shutil.rmtree(folder)
    assert refused > CASES / 8


def test_a_run_of_another_variant_or_seed_is_not_taken_for_this_one(experiments):
    """Swapped folders are refused by name, in reading and in continuing."""
    experiment, done, _ = experiments
    one, two = (run_folder.run_folder(done, name, 1) for name in ("baseline", "batchnorm"))
    moved = one.rename(one.with_name("away"))
    two.rename(one)
    moved.rename(two)
    found = results.read_experiment(done)
    assert set(found.problems) == {"baseline", "batchnorm"}
    with pytest.raises(BnexpError, match=r"it is batchnorm, seed 1|model\.norm"):
        carry_on(experiment, done)


def test_one_damaged_run_hides_neither_the_other_seeds_nor_the_other_variants(experiments):
    """It is told by its name, and everything else is read, measured and compared."""
    _, done, _ = experiments
    broken = next(runs_of(done))
    whole = results.read_experiment(done)
    (broken / run_folder.PERCENTILES).write_bytes(b"")
    found = results.read_experiment(done)
    assert list(found.problems) == ["baseline"]
    assert str(broken) in found.problems["baseline"]
    assert {name: each.seeds for name, each in found.variants.items()} == {
        "baseline": (1,),
        "batchnorm": (0, 1),
    }
    numbers = measuring.measure(found)
    was, now = (measuring.measure(each).variants["baseline"].measures for each in (whole, found))
    assert now["test_accuracy"].per_seed == was["test_accuracy"].per_seed[1:]
    baseline, batchnorm = comparison.compare([(done, numbers)]).rows
    assert found.problems["baseline"] in baseline.notes
    assert len(batchnorm.differences["test_accuracy"].over.per_seed) == 1


def test_of_a_variant_without_a_sound_run_nothing_is_taken(experiments):
    """The first run is told, and how many there are."""
    _, done, _ = experiments
    for broken in (done / "baseline").iterdir():
        (broken / run_folder.PERCENTILES).write_bytes(b"")
    found = results.read_experiment(done)
    assert list(found.variants) == ["batchnorm"]
    assert "seed-0" in found.problems["baseline"]
    assert measuring.measure(found).variants["baseline"].state == "damaged"


def test_runs_that_are_sound_and_not_of_one_variant_are_not_stacked(experiments):
    """As where one of them recorded other units; which of them is right is not known."""
    _, done, _ = experiments
    (done / CONFIG).unlink()
    for path in (done / "baseline").iterdir():  # as `bnexp.record` states what a user likes
        write_status(path, replace(read_status(path), settings={"lr": path.name}))
    with pytest.raises(BnexpError, match=r"lr is not that of seed-0"):
        results.read_experiment(done)
