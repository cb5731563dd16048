"""configs/README.md and configs/schema.json: the keys for people, and for editors."""

import json
import re
import runpy
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator

from bnexp.config.schema import HINTS

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "document_keys.py"))
VALIDATOR = Draft7Validator(json.loads((ROOT / "configs" / "schema.json").read_text()))
NAME = "name: a\n"
START = NAME + "variants: {one: {}}\n"


class Editor(yaml.SafeLoader):
    """Reads YAML 1.2, as editors do: `1e-3` is a number there."""


Editor.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"), [*"0123456789"]
)


def problems(text):
    """What an editor would underline."""
    return [*VALIDATOR.iter_errors(yaml.load(text, Editor))]  # noqa: S506  (a safe loader)


def test_the_reference_of_the_keys_is_current():
    """configs/README.md is what scripts/document_keys.py writes, and names every key."""
    text = SCRIPT["text"]()
    assert (ROOT / "configs" / "README.md").read_text() == text
    for key in HINTS:
        assert f"| `{key.split('.')[1]}` |" in text


def test_the_json_schema_is_current_and_a_schema():
    """configs/schema.json is what scripts/document_keys.py writes."""
    assert (ROOT / "configs" / "schema.json").read_text() == SCRIPT["schema_text"]()
    Draft7Validator.check_schema(VALIDATOR.schema)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_names_the_schema_and_is_valid_by_it(path):
    """Editors find the schema by the first line."""
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    assert problems(text) == []


@pytest.mark.parametrize(
    "text",
    [
        START,
        NAME + "seeds: [1, 2]\ngrid: {model.norm: [none, batch], train.lr: [0.1, 1]}\n",
        START + "record: {layers: [1, 2], probe_every: null}\n",
    ],
)
def test_an_editor_underlines_nothing_in_what_bnexp_takes(text):
    """Lists, null and numbers in place of a word are allowed where the key allows them."""
    assert problems(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "variants: {one: {}}\n",
        NAME,
        START + "grid: {train.lr: [1]}\n",
        START + "trian: {lr: 1}\n",
        START + "train: {lrr: 1}\n",
        START + "train: {lr: fast}\n",
        START + "train: {lr: 0}\n",
        START + "train: {steps: -1}\n",
        START + "train: {steps: 1.5}\n",
        START + "train: {momentum: 2}\n",
        START + "model: {norm: bach}\n",
        START + "model: {bias: 1}\n",
        START + "model: {hidden: []}\n",
        START + "seeds: [1, 1]\n",
        NAME + "variants: {one: {record: {every: 2}}}\n",
        NAME + "variants: {one: {model: {nrom: batch}}}\n",
        NAME + "grid: {record.every: [1]}\n",
        NAME + "grid: {train.lr: 0.1}\n",
    ],
)
def test_an_editor_underlines_typical_mistakes(text):
    """Misspelt keys, wrong types, values out of range, missing parts."""
    assert problems(text)
