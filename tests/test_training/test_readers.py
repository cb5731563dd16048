"""No reader gives anything else of damaged files than of whole ones: it refuses them by name.

scripts/damage.py makes all of these cases; its counts are in results/published/reliability.
"""

import os
import random
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import damage

# One of these tests makes the experiments for all of them.
pytestmark = pytest.mark.xdist_group("readers")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Two small experiments in a folder."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", damage.no_sync)
        damage.build(folder)
    return folder


@pytest.fixture
def cases(quick, built, tmp_path):
    """Copies these experiments, and takes what some readers give of them undamaged."""

    def make(*names):
        shutil.copytree(built, tmp_path, dirs_exist_ok=True)
        return damage.Cases(tmp_path, {name: damage.READERS[name] for name in names})

    return make


def wrong(cases, damages):
    """What a reader did with a damage where it neither refused nor gave the same; and how many."""
    count, found = 0, []
    for each in damages:
        for reader, did, (code, _, said) in cases.attempt(each):
            count += 1
            if did is None:
                found.append((reader, each.kind, each.path, each.swapped, code, said))
    return count, found


def flips_and_cuts(folder, draw):
    """Flips of headers, flips of the rest, truncations and missing files, as a list."""
    places = [p for name in (damage.EXPERIMENT, damage.PUBLISHED)
              for p in damage.files_of(folder / name)]  # fmt: skip
    bits = [(path, bit) for path in places for bit in range(8 * damage.header_bytes(path))]
    headers = [
        damage.Damage("flip in a header", path, damage.flip(path.read_bytes(), bit))
        for path, bit in draw.sample(bits, 30)
    ]
    rest = [each for path in places for each in damage.sampled(path, draw, 2)]
    return headers + draw.sample(rest, 50)


@pytest.mark.parametrize("names", [("compare", "runs"), ("API",)])
def test_flipped_bits_truncations_and_missing_files_are_refused_by_name(cases, tmp_path, names):
    """80 of them, in any file: refused with exit 3 or 4, or the same bytes come out."""
    made = cases(*names)
    count, found = wrong(made, flips_and_cuts(tmp_path, random.Random(0)))
    assert found == []
    assert count >= 80


@pytest.mark.parametrize("names", [("compare", "runs"), ("API",)])
def test_swapped_files_and_runs_are_refused_by_name(cases, tmp_path, names):
    """Between two seeds, two variants, and two experiments that differ in the learning rate."""
    made = cases(*names)
    swaps = list(damage.swaps(tmp_path))
    count, found = wrong(made, random.Random(0).sample(swaps, 40))
    assert found == []
    assert count >= 40
    assert len(swaps) > 60


@pytest.mark.parametrize(("name", "count"), [("plot", 5), ("verify", 8), ("train", 8)])
def test_what_takes_longer_refuses_the_same_damages(cases, tmp_path, name, count):
    """A few of each kind: these commands read by the same doors."""
    made, draw = cases(name), random.Random(1)
    damages = draw.sample(flips_and_cuts(tmp_path, draw), count)
    damages += draw.sample(list(damage.swaps(tmp_path)), count // 2)
    assert wrong(made, damages)[1] == []


def test_a_reader_that_is_fooled_would_be_found(cases, tmp_path):
    """A reader that looks at the lengths of the files alone does not pass."""

    def careless(folder):
        return 0, b"".join(path.read_bytes() for path in damage.files_of(folder)), ""

    made = cases("runs")
    made.readers = {"careless": careless}
    made.undamaged[damage.EXPERIMENT, "careless"] = careless(tmp_path / damage.EXPERIMENT)
    path = next((tmp_path / damage.EXPERIMENT).glob("*/*/batch_percentiles.npy"))
    content = path.read_bytes()
    each = damage.Damage("flip", path, damage.flip(content, 8 * len(content) - 8))
    assert [did for _, did, _ in made.attempt(each)] == [None]
