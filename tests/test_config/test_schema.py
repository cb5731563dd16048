"""The keys of the YAML: which values each takes, and its default."""

import json

import pytest
from helpers.configs import BASE, NAMES, load, mistakes, words

from bnexp.config import DataConfig, ModelConfig, RecordConfig, Settings, TrainConfig

RISING = "x.yaml:3:23: record.percentiles: must be in ascending order, each value once"

BAD = {
    "an unknown dataset": (
        BASE + "data: {name: minst}",
        (
            f"x.yaml:3:14: data.name: expected one of {words(DataConfig, 'name')},"
            " got minst; did you mean 'mnist'?"
        ),
    ),
    "an unknown word beside a list": (
        BASE + "record: {layers: first}",
        (
            "x.yaml:3:18: record.layers: expected one of all, last or a list of whole numbers,"
            " got first"
        ),
    ),
    "negative steps": (
        BASE + "train: {steps: -5}",
        "x.yaml:3:16: train.steps: must be 1 to 1000000000, got -5",
    ),
    "no steps": (
        BASE + "train: {steps: 0}",
        "x.yaml:3:16: train.steps: must be 1 to 1000000000, got 0",
    ),
    "an endless number": (
        BASE + "train: {steps: " + "9" * 5000 + "}",
        "x.yaml:3:16: train.steps: must be 1 to 1000000000, got " + "9" * 57 + "...",
    ),
    "an empty minibatch": (
        BASE + "train: {batch_size: 0}",
        "x.yaml:3:21: train.batch_size: must be 1 to 1000000000, got 0",
    ),
    "a learning rate of zero": (
        BASE + "train: {lr: 0}",
        "x.yaml:3:13: train.lr: must be above 0, got 0",
    ),
    "a percentile of 120": (
        BASE + "record: {percentiles: [15, 120]}",
        "x.yaml:3:28: record.percentiles[1]: must be 0 to 100, got 120",
    ),
    "percentiles out of order": (
        BASE + "record: {percentiles: [50, 15]}",
        "x.yaml:3:23: record.percentiles: must be in ascending order, each value once",
    ),
    "a percentile twice": (
        BASE + "record: {percentiles: [15, 15.0]}",
        f"{RISING}; 15 is repeated",
    ),
    "a probe of one example": (
        BASE + "record: {probe_size: 1}",
        "x.yaml:3:22: record.probe_size: must be 2 to 1000000000, got 1",
    ),
    "a seed twice": (
        BASE + "seeds: [1, 1]",
        "x.yaml:3:8: seeds: must hold each value once; 1 is repeated",
    ),
    "a negative seed": (
        BASE + "seeds: [-1]",
        "x.yaml:3:9: seeds[0]: must be 0 to 4294967295, got -1",
    ),
    "a seed beyond 32 bits": (
        BASE + "seeds: [4294967296]",
        "x.yaml:3:9: seeds[0]: must be 0 to 4294967295, got 4294967296",
    ),
    "a number of seeds that is none": (
        BASE + "seeds: 0",
        "x.yaml:3:8: seeds: must be 1 to 10000, got 0",
    ),
    "a word for seeds": (
        BASE + "seeds: five",
        "x.yaml:3:8: seeds: expected a whole number or a list of whole numbers, got five",
    ),
    "no seeds": (BASE + "seeds: []", "x.yaml:3:8: seeds: must hold 1 to 10000 values"),
    "a folder with control characters": (
        BASE + r'data: {root: "a\0b"}',
        r"x.yaml:3:14: data.root: must be printable text, got 'a\x00b'",
    ),
}


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD)
def test_a_value_that_a_key_does_not_take_is_told_with_its_place(text, expected):
    """Each kind gives exactly one line: file, line, column, key, problem, advice."""
    assert mistakes(text) == [expected]


BAD_NAMES = {
    "..": NAMES,
    "../up": NAMES,
    "/etc": NAMES,
    "a/b": NAMES,
    "a\\b": NAMES,
    ".hidden": NAMES,
    "-option": NAMES,
    "dot.": NAMES,
    "a b": NAMES,
    "ä": NAMES,
    "": NAMES,
    "a" * 101: NAMES,
    "con": "must not be a name that Windows keeps for a device",
    "Com1.net": "must not be a name that Windows keeps for a device",
    "figures": "must not be the name of one of the experiment's own files",
    "Config.yaml": "must not be the name of one of the experiment's own files",
    "summary.json": "must not be the name of one of the experiment's own files",
    "report.html": "must not be the name of one of the experiment's own files",
}


@pytest.mark.parametrize(("name", "problem"), BAD_NAMES.items())
def test_a_name_that_cannot_be_a_folder_beside_the_others_is_refused(name, problem):
    """Names of experiments and variants are folders on any system, inside the results."""
    shown = name if len(name) <= 60 else f"{name[:57]}..."
    text = f"name: {json.dumps(name)}\nvariants: {{{json.dumps(name)}: {{}}}}"
    in_path = f"variants.{shown}" if name else "variants."
    assert mistakes(text) == [
        f"x.yaml:1:7: name: {problem}, got '{shown}'",
        f"x.yaml:2:12: {in_path}: {problem}",
    ]


@pytest.mark.parametrize("name", ["fig1", "a=1,b=0.5", "_x", "9-lives", "A+b", "a" * 100, "conn"])
def test_names_of_letters_digits_and_signs_are_allowed(name):
    """What grids and people write is a name, in quotes or not."""
    assert load(f"name: {name}\nvariants: {{'{name}': {{}}}}").variants[0].name == name


def test_every_default_is_that_of_the_dataclasses():
    """A YAML that sets nothing has the documented defaults, and empty sections set nothing."""
    experiment = load(BASE + "model:\ntrain: {}\n")
    assert experiment.seeds == (0, 1, 2, 3, 4)
    assert experiment.base == Settings() == experiment.variants[0].settings
    assert Settings() == Settings(DataConfig(), ModelConfig(), TrainConfig(), RecordConfig())


@pytest.mark.parametrize("engine", ["auto", "kernels", "torch"])
def test_an_engine_can_be_chosen(engine):
    """`train.engine` takes three words, of which auto is the default."""
    assert load(BASE, f"train.engine={engine}").base.train.engine == engine
    assert load(BASE).base.train.engine == "auto"
