"""Experiments from texts of YAML, and what their errors list."""

from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml
from hypothesis import strategies as st

from bnexp.config import dump, flatten
from bnexp.config import load as load_file
from bnexp.errors import ConfigError

NAME = "name: a\n"
ONE = "variants: {one: {}}\n"
BASE = NAME + ONE  # two lines, so that what is added to it begins in line 3


# What errors say in several places.
NO_TAG = "are not read; write plain values"
NEEDS_TWO = "batch norm in training needs a batch_size of at least 2: one example has variance 0"
NAMES = "must be 1 to 100 letters, digits or _; between them . , = + - are allowed too"


def words(section, key):
    """The words that a key of this class of keys allows, as an error lists them."""
    return ", ".join(get_args(get_type_hints(section)[key]))


# Random values of keys, and names of variants.
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(1e-300, 1e300)
counts = st.integers(1, 10**9)
CHANGES = {
    "data.name": st.sampled_from(["mnist", "digits"]),
    "data.root": st.text(st.characters(codec="utf-8"), min_size=1).filter(str.isprintable),
    "model.hidden": st.lists(st.integers(1, 1000), min_size=3, max_size=5),
    "model.weight_std": st.none() | positive,
    "model.bias": st.booleans(),
    "model.norm_eps": positive,
    "train.steps": counts,
    "train.lr": positive,
    "train.optimizer": st.sampled_from(["sgd", "adam"]),
}
names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.,=+-]{0,20}_", fullmatch=True).map(str.lower)
changes = st.fixed_dictionaries({}, optional=CHANGES)


def load(text, *overrides):
    """The experiment of a text or bytes, in the file x.yaml."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    Path("x.yaml").write_bytes(data)
    return load_file("x.yaml", overrides)


def mistakes(text, *overrides):
    """What the error of a text and overrides lists."""
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides)
    assert caught.value.exit_code == 2
    return caught.value.mistakes


def nested(values):
    """Dotted keys as sections of keys."""
    sections = {}
    for key, value in values.items():
        sections.setdefault(key.split(".")[0], {})[key.split(".")[1]] = value
    return sections


def assert_round_trip(experiment):
    """Written and read, an experiment is the same; PyYAML reads the same values."""
    text = dump(experiment)
    again = load(text)
    assert again == experiment
    assert dump(again) == text
    plain = yaml.safe_load(text)  # other readers of YAML take each value alike
    for key, value in flatten(experiment.base).items():
        section, leaf = key.split(".")
        expected = list(value) if isinstance(value, tuple) else value
        assert plain[section].get(leaf, value if key == "data.root" else None) == expected
