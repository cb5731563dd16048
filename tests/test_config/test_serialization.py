"""An experiment as YAML: nothing is lost on the way out and in again."""

import dataclasses
import json

import yaml
from helpers.configs import BASE, assert_round_trip, changes, load, names, nested
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.config import Settings, dump, flatten


def test_the_resolved_yaml_is_complete():
    """Every key of every section is written, in the order of the dataclasses."""
    written = yaml.safe_load(dump(load(BASE, "data.root=mine")))
    for part in dataclasses.fields(Settings):
        assert list(written[part.name]) == [key.name for key in dataclasses.fields(part.type)]
    assert list(written) == ["name", "seeds", "data", "model", "train", "record", "variants"]


@settings(max_examples=80, derandomize=True, deadline=None)
@given(base=changes, variants=st.dictionaries(names, changes, min_size=1, max_size=2))
def test_what_is_dumped_is_what_is_loaded(base, variants):
    """load(dump(e)) == e to the last bit of each float, and dump(load(text)) == text."""
    content = {"name": "a", **nested(base)}
    content["variants"] = {name: nested(values) for name, values in variants.items()}
    experiment = load(json.dumps(content, ensure_ascii=False))
    for variant, values in zip(experiment.variants, variants.values(), strict=True):
        flat = flatten(variant.settings)
        for key, value in {**base, **values}.items():
            assert flat[key] == (tuple(value) if isinstance(value, list) else value)
    assert_round_trip(experiment)
