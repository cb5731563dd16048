"""The YAML of an experiment: every mistake located, all at once, and nothing lost in between."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.config import experiment as config
from bnexp.config import probe_examples
from bnexp.config.experiment import DataConfig, ModelConfig, RecordConfig, Settings, TrainConfig
from bnexp.errors import ConfigError

EXAMPLES = settings(max_examples=2000, derandomize=True, deadline=None)
NAME = "name: a\n"
ONE = "variants: {one: {}}\n"
BASE = NAME + ONE  # two lines: what is added begins in line 3


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BNEXP_DATA", raising=False)


def load(text, *overrides):
    """The experiment of a text or bytes, in the file x.yaml."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    Path("x.yaml").write_bytes(data)
    return config.load("x.yaml", overrides)


def mistakes(text, *overrides):
    """What the error of a text and overrides lists."""
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides)
    assert caught.value.exit_code == 2
    return caught.value.mistakes


NO_TAG = "are not read; write plain values"
NEEDS_TWO = "batch norm in training needs a batch_size of at least 2: one example has variance 0"
NAMES = "must be 1 to 100 letters, digits or _, and inside it also . , = + -"
BAD = {
    # Keys
    "a mistyped key": (
        BASE + "model:\n  bais: true",
        "x.yaml:4:3: model.bais: unknown key; did you mean 'bias'?",
    ),
    "a mistyped section": (
        BASE + "modle: {}",
        "x.yaml:3:1: modle: unknown key; did you mean 'model'?",
    ),
    "a key without its section": (
        BASE + "lr: 0.1",
        "x.yaml:3:1: lr: unknown key; did you mean 'train.lr'?",
    ),
    "a key in another section": (
        BASE + "model: {lr: 0.1}",
        "x.yaml:3:9: model.lr: unknown key; did you mean 'train.lr'?",
    ),
    "a key like no other": (
        BASE + "data: {zzz: 1}",
        "x.yaml:3:8: data.zzz: unknown key; expected one of name, root, binarize",
    ),
    "a duplicate key": (
        BASE + "train:\n  lr: 0.1\n  lr: 0.2",
        "x.yaml:5:3: train.lr: duplicate key; first given at x.yaml:4:3",
    ),
    "a duplicate section": (
        BASE + "data: {}\ndata: {}",
        "x.yaml:4:1: data: duplicate key; first given at x.yaml:3:1",
    ),
    "a list as a key": (BASE + "? [a]\n: 1", "x.yaml:3:3: expected a key, got a list"),
    # Types
    "text for a number": (
        BASE + "train: {lr: fast}",
        "x.yaml:3:13: train.lr: expected a finite number, got fast",
    ),
    "a quoted number": (
        BASE + "train: {lr: '0.1'}",
        "x.yaml:3:13: train.lr: expected a finite number, got '0.1'",
    ),
    "a fraction for a whole number": (
        BASE + "train: {steps: 1.5}",
        "x.yaml:3:16: train.steps: expected a whole number, got 1.5",
    ),
    "a float that is whole": (
        BASE + "train: {steps: 1e4}",
        "x.yaml:3:16: train.steps: expected a whole number, got 1e4; write 10000",
    ),
    "true for a number": (
        BASE + "train: {lr: true}",
        "x.yaml:3:13: train.lr: expected a finite number, got true",
    ),
    "1 for true": (
        BASE + "model: {bias: 1}",
        "x.yaml:3:15: model.bias: expected true or false, got 1",
    ),
    "yes for true": (
        BASE + "model: {bias: yes}",
        "x.yaml:3:15: model.bias: expected true or false, got yes",
    ),
    "NaN": (
        BASE + "train: {lr: .nan}",
        "x.yaml:3:13: train.lr: expected a finite number, got .nan",
    ),
    "infinity": (
        BASE + "train: {lr: -.inf}",
        "x.yaml:3:13: train.lr: expected a finite number, got -.inf",
    ),
    "a number beyond float64": (
        BASE + "train: {lr: 1e999}",
        "x.yaml:3:13: train.lr: expected a finite number, got 1e999",
    ),
    "nothing for a value": (
        BASE + "train: {lr: }",
        "x.yaml:3:12: train.lr: expected a finite number, got nothing",
    ),
    "a list for a number": (
        BASE + "train: {lr: [0.1]}",
        "x.yaml:3:13: train.lr: expected a finite number, got a list",
    ),
    "a number for a list": (
        BASE + "model: {hidden: 100}",
        "x.yaml:3:17: model.hidden: expected a list of whole numbers, got 100",
    ),
    "a list for a map": (
        BASE + "model: [1]",
        "x.yaml:3:8: model: expected a map (key: value), got a list",
    ),
    "a list for an experiment": ("- 1", "x.yaml:1:1: expected a map (key: value), got a list"),
    "a map in a list": (
        BASE + "seeds: [{a: 1}]",
        "x.yaml:3:9: seeds[0]: expected a whole number, got a map",
    ),
    "no as a name": (ONE + "name: no", "x.yaml:2:7: name: expected text, got no; put it in quotes"),
    "1e-3 as a name": (
        ONE + "name: 1e-3",
        "x.yaml:2:7: name: expected text, got 1e-3; put it in quotes",
    ),
    # Values
    "an unknown dataset": (
        BASE + "data: {name: minst}",
        (
            "x.yaml:3:14: data.name: expected one of mnist, fashion_mnist, kmnist, digits,"
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
        "x.yaml:3:23: record.percentiles: must be in ascending order, each value once",
    ),
    "a probe of one example": (
        BASE + "record: {probe_size: 1}",
        "x.yaml:3:22: record.probe_size: must be 2 to 1000000000, got 1",
    ),
    "a seed twice": (
        BASE + "seeds: [1, 1]",
        "x.yaml:3:8: seeds: must hold each value once",
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
        "x.yaml:3:8: seeds: must be 1 to 1000, got 0",
    ),
    "a word for seeds": (
        BASE + "seeds: five",
        "x.yaml:3:8: seeds: expected a whole number or a list of whole numbers, got five",
    ),
    "no seeds": (BASE + "seeds: []", "x.yaml:3:8: seeds: must hold 1 to 1000 values"),
    "a folder with control characters": (
        BASE + r'data: {root: "a\0b"}',
        r"x.yaml:3:14: data.root: must be printable text, got 'a\x00b'",
    ),
    # What no key forbids alone
    "batch norm of one example": (
        NAME + "train: {batch_size: 1}\nvariants:\n  one: {model: {norm: batch}}",
        f"x.yaml:4:23: variants.one.model.norm: {NEEDS_TWO}",
    ),
    "one example for batch norm": (
        BASE + "model: {norm: batch}\ntrain: {batch_size: 1}",
        f"x.yaml:4:21: train.batch_size: {NEEDS_TWO}",
    ),
    "a layer that is not there": (
        BASE + "record: {layers: [1, 4]}",
        "x.yaml:3:18: record.layers: there is no hidden layer 4 to record",
    ),
    "a variant without the recorded layer": (
        NAME + "record: {layers: [3]}\nvariants: {one: {model: {hidden: [9]}}}",
        "x.yaml:3:34: variants.one.model.hidden: there is no hidden layer 3 to record",
    ),
    "a minibatch larger than the training set": (
        BASE + "data: {name: digits}\ntrain: {batch_size: 1438}",
        (
            "x.yaml:4:21: train.batch_size: digits has 1437 training examples; choose at most that"
            " many"
        ),
    ),
    "a probe larger than the test set": (
        BASE + "data: {name: digits}\nrecord: {probe_size: 361}",
        "x.yaml:4:22: record.probe_size: digits has 360 test examples; choose at most that many",
    ),
    "a variant whose data set is smaller than the probe": (
        NAME + "record: {probe_size: 500}\nvariants: {one: {data: {name: digits}}}",
        (
            "x.yaml:3:31: variants.one.data.name: digits has 360 test examples; choose at most that"
            " many"
        ),
    ),
    "a grid with a minibatch larger than the training set": (
        NAME + "data: {name: digits}\ngrid: {train.batch_size: [60, 2000]}",
        (
            "x.yaml:3:26: grid.train.batch_size: digits has 1437 training examples; choose at most"
            " that many"
        ),
    ),
    "kernels on a GPU": (
        BASE + "train: {device: cuda, engine: kernels}",
        "x.yaml:3:31: train.engine: the kernels run on the CPU; cuda needs engine torch or auto",
    ),
    # Variants and grids
    "no name": (ONE, "x.yaml:1:1: name: missing; it names the folder of the results"),
    "no variants": (
        NAME,
        "x.yaml:1:1: variants: missing; give at least one, as 'baseline: {}', or a grid",
    ),
    "empty variants": (
        NAME + "variants: {}",
        "x.yaml:2:11: variants: give at least one, as 'baseline: {}'",
    ),
    "two variants of one name": (
        NAME + "variants:\n  one: {}\n  one: {}",
        "x.yaml:4:3: variants.one: duplicate key; first given at x.yaml:3:3",
    ),
    "two variants that differ by case": (
        NAME + "variants:\n  one: {}\n  One: {}",
        "x.yaml:4:3: variants.One: differs from 'one' in case alone; give it another name",
    ),
    "a variant named no": (
        NAME + "variants: {no: {}}",
        "x.yaml:2:12: variants.no: expected text, got no; put it in quotes",
    ),
    "a variant that records otherwise": (
        NAME + "variants: {one: {record: {every: 2}}}",
        "x.yaml:2:18: variants.one.record: all variants record alike; set it at the top",
    ),
    "a mistyped key of a variant": (
        NAME + "variants: {one: {model: {gama: 1}}}",
        "x.yaml:2:26: variants.one.model.gama: unknown key; did you mean 'gamma'?",
    ),
    "variants and a grid": (
        BASE + "grid: {model.bias: [true]}",
        "x.yaml:3:1: grid: give variants or a grid, not both",
    ),
    "a grid without values": (
        NAME + "grid: {model.bias: []}",
        "x.yaml:2:20: grid.model.bias: must be a list of at least one value",
    ),
    "a value for a grid's list": (
        NAME + "grid: {model.norm: batch}",
        "x.yaml:2:20: grid.model.norm: expected a list of values, got batch",
    ),
    "a grid of nothing": (
        NAME + "grid: {}",
        "x.yaml:2:7: grid: give at least one, as 'model.norm: [none, batch]'",
    ),
    "a grid with a value twice": (
        NAME + "grid: {train.lr: [1, 1.0]}",
        "x.yaml:2:18: grid.train.lr: must hold each value once",
    ),
    "a bad value in a grid": (
        NAME + "grid: {train.lr: [1, x]}",
        "x.yaml:2:22: grid.train.lr[1]: expected a finite number, got x",
    ),
    "a mistyped key in a grid": (
        NAME + "grid: {model.activaton: [relu]}",
        "x.yaml:2:8: grid.model.activaton: unknown key; did you mean 'model.activation'?",
    ),
    "a grid too large": (
        NAME + f"grid: {{train.steps: {[*range(1, 21)]}, train.lr: {[*range(1, 12)]}}}",
        "x.yaml:2:7: grid: makes 220 variants, above 200",
    ),
    "a grid whose names are no folders": (
        NAME + "grid: {data.root: [a/b]}",
        f"x.yaml:2:1: variants.root=a/b: {NAMES}",
    ),
    # YAML itself
    "an empty file": ("", "x.yaml:1:1: empty; nothing is set here"),
    "only comments": ("# nothing\n", "x.yaml:1:1: empty; nothing is set here"),
    "a tab": (
        BASE + "model:\n\tbias: true",
        (
            r"x.yaml:4:1: while scanning for the next token, found character '\t' that cannot start"
            " any token; YAML is indented with spaces, not tabs"
        ),
    ),
    "an open bracket": (
        BASE + "seeds: [1, 2\n",
        "x.yaml:4:1: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
    ),
    "a colon too many": (
        "name: a: b",
        "x.yaml:1:8: mapping values are not allowed here",
    ),
    "a python object": (
        BASE + "seeds: !!python/object/apply:os.getpid []",
        f"x.yaml:3:8: tags ('tag:yaml.org,2002:python/object/apply:os.getpid') {NO_TAG}",
    ),
    "any tag": (BASE + "data: {name: !mine mnist}", f"x.yaml:3:14: tags ('!mine') {NO_TAG}"),
    "an anchor": (BASE + "data: &a {}", f"x.yaml:3:7: anchors and aliases ('a') {NO_TAG}"),
    "an alias": (BASE + "data: *a", f"x.yaml:3:7: anchors and aliases ('a') {NO_TAG}"),
    "a billion laughs": (
        "a: &a [ha, ha]\nb: &b [*a, *a]\nc: [*b, *b]",
        f"x.yaml:1:4: anchors and aliases ('a') {NO_TAG}",
    ),
    "a map that holds itself": ("&a {b: *a}", f"x.yaml:1:1: anchors and aliases ('a') {NO_TAG}"),
    "deep nesting": (
        "a: " + "[" * 100_000,
        "x.yaml:1:23: nested deeper than 20 levels; write plain values",
    ),
    "two documents": (
        BASE + "---\n" + BASE,
        "x.yaml:3:1: expected a single document in the stream, but found another document",
    ),
    "bytes that are not UTF-8": (
        "name: ä\n".encode() + b"# \xc3\xa4 \xff",
        "x.yaml:2:5: not UTF-8 (byte 0xff)",
    ),
    "a control character": (
        BASE + "data: {root: \x07}",
        r"x.yaml:3:14: character '\x07' is not allowed",
    ),
    "a character beyond Unicode": (
        BASE + r'data: {root: "\UFFFFFFFF"}',
        "x.yaml:3:17: no such character",
    ),
    "a file too large": ("#" * 300_000, "x.yaml: larger than 256 KiB; not an experiment"),
}


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD)
def test_a_mistake_is_told_with_its_place_and_nothing_else(text, expected):
    """Each kind of mistake gives exactly one line: file, line, column, key, problem, advice."""
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
    "con": "must not be a device of Windows",
    "Com1.net": "must not be a device of Windows",
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


def test_all_mistakes_of_file_and_overrides_are_told_at_once():
    """One error holds every mistake of file and command line, in the order of the file's keys."""
    text = """\
name: a b
seeds: [0, -1, 0.5]
model:
  bais: true
  activation: rely
train: {lr: .nan, steps: 10, steps: 20}
variants:
  one: {model: {norm: btch}, zzz: 1}
  no: []
"""
    assert mistakes(text, "train.stesp=5", "record.every=0") == [
        f"x.yaml:1:7: name: {NAMES}, got a b",
        "x.yaml:2:12: seeds[1]: must be 0 to 4294967295, got -1",
        "x.yaml:2:16: seeds[2]: expected a whole number, got 0.5",
        "x.yaml:4:3: model.bais: unknown key; did you mean 'bias'?",
        (
            "x.yaml:5:15: model.activation: expected one of sigmoid, tanh, relu, leaky_relu,"
            " identity, got rely; did you mean 'relu'?"
        ),
        "x.yaml:6:13: train.lr: expected a finite number, got .nan",
        "x.yaml:6:30: train.steps: duplicate key; first given at x.yaml:6:19",
        "override 1 'train.stesp=5': train.stesp: unknown key; did you mean 'steps'?",
        (
            "x.yaml:8:23: variants.one.model.norm: expected one of none, batch, got btch;"
            " did you mean 'batch'?"
        ),
        "x.yaml:8:30: variants.one.zzz: unknown key; expected one of data, model, train, record",
        "x.yaml:9:3: variants.no: expected text, got no; put it in quotes",
        "x.yaml:9:7: variants.no: expected a map (key: value), got a list",
        "override 2 'record.every=0': record.every: must be 1 to 1000000000, got 0",
    ]


def test_a_conflict_in_the_base_is_told_once():
    """Two variants that inherit one conflict do not make two mistakes of it."""
    text = NAME + "record: {layers: [4]}\nvariants: {one: {}, two: {}}"
    assert len(mistakes(text)) == 1


def test_numbers_are_read_as_numbers():
    """1e-3 is a number, and a whole number may stand where a float is wanted."""
    train = load(BASE + "train: {lr: 1e-3, momentum: 0, weight_decay: +.5, steps: +7}").base.train
    assert (train.lr, train.momentum, train.weight_decay, train.steps) == (1e-3, 0.0, 0.5, 7)
    assert [type(value) for value in (train.momentum, train.steps)] == [float, int]


def test_every_default_is_that_of_the_dataclasses():
    """A YAML that sets nothing has the documented defaults, and empty sections set nothing."""
    experiment = load(BASE + "model:\ntrain: {}\n")
    assert experiment.seeds == (0, 1, 2, 3, 4)
    assert experiment.base == Settings() == experiment.variants[0].settings
    assert Settings() == Settings(DataConfig(), ModelConfig(), TrainConfig(), RecordConfig())


def test_a_number_of_seeds_stands_for_the_seeds_from_0_on():
    """`seeds: 5` and `seeds=5` mean [0, 1, 2, 3, 4], and the dumped config spells them out."""
    experiment = load(BASE + "seeds: 3")
    assert experiment.seeds == (0, 1, 2)
    assert load(BASE, "seeds=5").seeds == (0, 1, 2, 3, 4)
    assert "seeds: [0, 1, 2]\n" in config.dump(experiment)


def test_a_probe_without_a_size_is_1000_examples_or_the_whole_smaller_test_set():
    """The default is null in the YAML, and each data set gives the number."""
    sizes = {}
    for name in ("mnist", "fashion_mnist", "kmnist", "digits"):
        settings = load(BASE, f"data.name={name}").base
        assert settings.record.probe_size is None
        sizes[name] = probe_examples(settings)
    assert sizes == {"mnist": 1000, "fashion_mnist": 1000, "kmnist": 1000, "digits": 360}
    assert probe_examples(load(BASE, "record.probe_size=20").base) == 20


def test_a_minibatch_and_a_probe_may_be_the_whole_data_set():
    """The largest sizes that a data set allows are no mistake."""
    whole = ("data.name=digits", "train.batch_size=1437", "record.probe_size=360")
    settings = load(BASE, *whole).base
    assert (settings.train.batch_size, settings.record.probe_size) == (1437, 360)


@pytest.mark.parametrize("engine", ["auto", "kernels", "torch"])
def test_an_engine_can_be_chosen(engine):
    """`train.engine` takes three words, of which auto is the default."""
    assert load(BASE, f"train.engine={engine}").base.train.engine == engine
    assert load(BASE).base.train.engine == "auto"


def test_the_advice_for_an_override_of_a_grids_axis_works():
    """An override that changes nothing is refused, and what the error says can be pasted."""
    text = NAME + "grid: {model.norm: [none, batch], train.lr: [1, 2]}"
    (mistake,) = mistakes(text, "model.norm=batch")
    assert mistake == (
        "override 1 'model.norm=batch': model.norm: changes nothing: every variant of the grid sets"
        " its own; set grid.model.norm=[batch]"
    )
    advice = mistake.rpartition("set ")[2]
    assert [v.name for v in load(text, advice).variants] == [
        "norm=batch,lr=1.0",
        "norm=batch,lr=2.0",
    ]


def test_lists_words_and_null_are_read_as_their_type():
    """Each form of record.layers, weight_std and probe_every keeps its meaning."""
    text = BASE + "model: {weight_std: null, hidden: [9, 8]}\nrecord: {probe_every: ~, layers: "
    settings = [load(f"{text}{layers}}}").base for layers in ("all", "last", "[1]")]
    assert [config.recorded_layers(s) for s in settings] == [(1, 2), (2,), (1,)]
    assert (settings[0].model.weight_std, settings[0].record.probe_every) == (None, None)


def test_a_variant_is_the_base_with_its_changes():
    """Variants take what they do not set from the shared sections."""
    text = NAME + "model: {bias: false}\nvariants: {one: {}, two: {model: {norm: batch}}}"
    one, two = load(text).variants
    assert (one.changes, two.changes) == ({}, {"model.norm": "batch"})
    assert config.differences(one.settings, two.settings) == {"model.norm": ("none", "batch")}
    assert not two.settings.model.bias


def test_a_grid_makes_one_variant_for_each_combination():
    """The last key varies fastest; names are readable and unique."""
    text = NAME + "grid: {model.activation: [relu, tanh], model.weight_std: [null, 1e-2]}"
    assert [(v.name, v.settings.model.activation) for v in load(text).variants] == [
        ("activation=relu,weight_std=null", "relu"),
        ("activation=relu,weight_std=0.01", "relu"),
        ("activation=tanh,weight_std=null", "tanh"),
        ("activation=tanh,weight_std=0.01", "tanh"),
    ]
    lists = load(NAME + "grid: {model.hidden: [[9, 8], [7]], model.bias: [true]}").variants
    assert [v.name for v in lists] == ["hidden=9-8,bias=true", "hidden=7,bias=true"]


def test_overrides_set_any_key():
    """Name, seeds, shared keys, one variant's keys and whole sections; the last of two counts."""
    experiment = load(
        NAME + "variants: {a.b=1: {}, two:}",
        "name=b",
        "seeds=[7]",
        "train.steps=5",
        "train.steps=100",
        "variants.a.b=1.model.gamma=false",
        "variants.two.train.lr=1e-3",
        "record={every: 2}",
    )
    assert (experiment.name, experiment.seeds, experiment.base.train.steps) == ("b", (7,), 100)
    assert experiment.base.record.every == 2
    assert [v.changes for v in experiment.variants] == [{"model.gamma": False}, {"train.lr": 1e-3}]


def test_a_grid_can_be_overridden():
    """An axis can be replaced and added."""
    text = NAME + "grid: {train.lr: [1, 2]}"
    names = [v.name for v in load(text, "grid.train.lr=[3]", "grid.model.bias=[true]").variants]
    assert names == ["lr=3.0,bias=true"]


def test_a_variants_own_change_wins_over_an_override_of_the_base():
    """An override takes the place of the file's shared value, which variants change."""
    text = NAME + "variants: {one: {}, two: {train: {lr: 0.5}}}"
    assert [v.settings.train.lr for v in load(text, "train.lr=0.2").variants] == [0.2, 0.5]


BAD_OVERRIDES = {
    "model.bais=1": "model.bais: unknown key; did you mean 'bias'?",
    "lr=1": "lr: unknown key; did you mean 'train.lr'?",
    "train.lr": "expected key.path=value",
    "quickstart": "expected key.path=value",
    "": "expected key.path=value",
    "=1": "unknown key; expected one of name, seeds, data, model, train, record, variants, grid",
    "train.lr=": "empty; nothing is set here",
    "train.lr=fast": "train.lr: expected a finite number, got fast",
    "train.lr.x=1": "train.lr: holds 0.1, no keys",
    "model.bias.x=1": "model.bias: expected true or false, got a map",
    "seeds=[1": "while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
    "name=!!python/name:os.system": f"tags ('tag:yaml.org,2002:python/name:os.system') {NO_TAG}",
    "variants.oen.model.bias=true": "variants.oen: no such variant; did you mean 'one'?",
    "variants.two={}": "variants.two: no such variant",
    "model.activation=relu": "model.activation: changes nothing: every variant sets its own;"
    " set variants.NAME.model.activation",
    "grid.model.bias=[true]": "grid: give variants or a grid, not both",
    "train.batch_size=1": f"train.batch_size: {NEEDS_TWO}",
}


@pytest.mark.parametrize(("override", "problem"), BAD_OVERRIDES.items())
def test_a_mistake_in_an_override_names_it(override, problem):
    """An override goes through the same checks, and its number and text are its place."""
    text = NAME + "train: {lr: 0.1}\n"
    text += "variants: {one: {model: {activation: relu, norm: batch}}}"
    assert mistakes(text, "train.steps=9", override) == [f"override 2 '{override}': {problem}"]


def test_the_data_folder_is_the_files_else_the_environments(monkeypatch):
    """BNEXP_DATA replaces the default alone, and the default is not written down."""
    explicit, silent = BASE + "data: {root: mine}", BASE
    assert load(silent).base.data.root == "data"
    monkeypatch.setenv("BNEXP_DATA", "elsewhere")
    assert load(silent).base.data.root == "elsewhere"
    assert load(explicit).base.data.root == "mine"
    assert load(silent, "data.root=other").base.data.root == "other"
    assert "root" not in config.dump(load(silent))
    assert "  root: mine\n" in config.dump(load(explicit))


def test_a_missing_file_names_the_nearest():
    """The suggestion is a file beside it, or a packaged config; the list of these is named."""
    Path("mine.yaml").write_text(BASE)
    listed = "(`bnexp configs` lists the packaged ones)"
    for wrong, right in {"mien.yaml": "mine.yaml", "no/fig1.yaml": "fig1", "fgi1": "fig1"}.items():
        with pytest.raises(ConfigError) as caught:
            config.load(wrong)
        assert str(caught.value) == f"{wrong}: no such file; did you mean '{right}'? {listed}"
    with pytest.raises(ConfigError) as caught:
        config.load("zzzzzz")
    assert str(caught.value) == f"zzzzzz: no such file; {listed}"


@pytest.mark.parametrize("path", [".", "a\0b", "a" * 5000, "x.yaml/y.yaml"])
def test_a_path_that_cannot_be_read_is_one_line(path):
    """A folder, a NUL, a name too long and a file taken for a folder end in a ConfigError."""
    Path("x.yaml").write_text(BASE)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert "\n" not in str(caught.value)
    assert "folder" in str(caught.value) or "cannot be read" in str(caught.value)


def test_a_file_without_permission_is_a_config_error(monkeypatch):
    """A file that may not be read says so, also where tests run with all rights."""
    denied = PermissionError(13, "Permission denied", "x.yaml")
    monkeypatch.setattr(Path, "open", Mock(side_effect=denied))
    with pytest.raises(ConfigError, match=r"^x\.yaml: cannot be read: .*Permission denied"):
        config.load("x.yaml")


def test_a_packaged_config_goes_by_its_name_unless_a_file_has_it():
    """`fig1` and `fig1.yaml` are the packaged one, also beside a folder of results of this name."""
    Path("fig1").mkdir()
    assert config.load("fig1") == config.load("fig1.yaml") == config.load(config.packaged()["fig1"])
    Path("fig1.yaml").write_text(BASE)
    assert config.load("fig1.yaml").name == "a"


@pytest.mark.parametrize("name", config.packaged())
def test_every_packaged_config_loads_and_says_what_it_is(name):
    """Each opens with what it shows, command, time and expected result; its name is the file's."""
    path = config.packaged()[name]
    lines = path.read_text().splitlines()
    header = "\n".join(line for line in lines if line.startswith("#"))
    for part in (
        "What it shows:",
        f"bnexp train --config configs/{name}.yaml",
        "Time:",
        "Expected:",
    ):
        assert part in header
    experiment = config.load(name)
    assert experiment.name == name
    assert len(experiment.seeds) >= (3 if name == "quickstart" else 5)
    assert_round_trip(experiment)


def test_fig1_is_the_papers_experiment():
    """What the paper states, and Figure 1's two networks, differ in nothing else."""
    experiment = config.load("fig1")
    base = experiment.base
    assert (base.data.name, base.data.binarize, base.model.hidden) == ("mnist", True, (100,) * 3)
    assert (base.train.steps, base.train.batch_size, base.model.activation) == (
        50_000,
        60,
        "sigmoid",
    )
    plain, batch = experiment.variants
    assert config.differences(plain.settings, batch.settings) == {
        "model.norm": ("none", "batch"),
        "model.bias": (True, False),
    }


def assert_round_trip(experiment):
    """Written and read, an experiment is the same; PyYAML reads the same values."""
    text = config.dump(experiment)
    again = load(text)
    assert again == experiment
    assert config.dump(again) == text
    plain = yaml.safe_load(text)  # other readers of YAML take each value alike
    for key, value in config.flatten(experiment.base).items():
        section, leaf = key.split(".")
        expected = list(value) if isinstance(value, tuple) else value
        assert plain[section].get(leaf, value if key == "data.root" else None) == expected


def test_the_resolved_yaml_is_complete():
    """Every key of every section is written, in the order of the dataclasses."""
    written = yaml.safe_load(config.dump(load(BASE, "data.root=mine")))
    for part in dataclasses.fields(Settings):
        assert list(written[part.name]) == [key.name for key in dataclasses.fields(part.type)]
    assert list(written) == ["name", "seeds", "data", "model", "train", "record", "variants"]


def test_reading_a_config_imports_neither_torch_nor_numpy():
    """`bnexp --help` stays fast."""
    code = "import sys, bnexp.config; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "set()\n"


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


def nested(values):
    """Dotted keys as sections of keys."""
    sections = {}
    for key, value in values.items():
        sections.setdefault(key.split(".")[0], {})[key.split(".")[1]] = value
    return sections


@settings(EXAMPLES, max_examples=300)
@given(base=changes, variants=st.dictionaries(names, changes, min_size=1, max_size=2))
def test_what_is_dumped_is_what_is_loaded(base, variants):
    """load(dump(e)) == e to the last bit of each float, and dump(load(text)) == text."""
    content = {"name": "a", **nested(base)}
    content["variants"] = {name: nested(values) for name, values in variants.items()}
    experiment = load(json.dumps(content, ensure_ascii=False))
    for variant, values in zip(experiment.variants, variants.values(), strict=True):
        flat = config.flatten(variant.settings)
        for key, value in {**base, **values}.items():
            assert flat[key] == (tuple(value) if isinstance(value, list) else value)
    assert_round_trip(experiment)


SEED = """\
name: a
seeds: [0, 1]
data: {name: digits, root: "x"}
model:
  hidden: [9, 8]
  weight_std: null
train: {lr: 1e-3, batch_size: 4}
record: {percentiles: [15, 50.0], layers: [1]}
variants:
  one: {}
  two: {model: {norm: batch}}
"""
PIECES = [
    *": - [ ] { } , # & * ! | > ' \" % @ ` ? ~ = . \n \t \r \0 \x85 \ufeff \ud800 é 𝄞 0",
    *("-1", "1e999", ".nan", "no", "true", "null", "1:30", "0x1f", "2020-01-01", "---", "..."),
    *("<<", "&a", "*a", "!t", "!!python/object:os.system", "%YAML", '"\\UFFFFFFFF"', '"\\ud800"'),
    *("grid:", "variants", "model.norm:", "[none,batch]", "[" * 30),
]
cuts = st.tuples(st.integers(0, len(SEED)), st.integers(0, 12), st.sampled_from(PIECES) | st.text())
overrides = st.lists(
    st.text()
    | st.builds(
        "{}={}".format,
        st.sampled_from(
            ["train.lr", "variants", "variants.two.model", "grid", "seeds", "data.root"]
        ),
        st.sampled_from(PIECES) | st.text(),
    ),
    max_size=2,
)


def assert_loads_or_says_where(text, *overrides):
    """A text is an experiment, or each of its mistakes is told with its place, for exit code 2."""
    try:
        experiment = load(text, *overrides)
    except ConfigError as error:
        assert error.exit_code == 2  # noqa: PT017
        for mistake in error.mistakes:
            assert re.match(r"(x\.yaml(:\d+:\d+)?|override \d+ '.*?'.*?): ", mistake), mistake
    else:
        assert_round_trip(experiment)


@EXAMPLES
@given(edits=st.lists(cuts, max_size=5), more=overrides)
def test_any_text_is_an_experiment_or_a_config_error(edits, more):
    """However a YAML and its overrides are mangled, no other exception comes out."""
    text = SEED
    for start, length, piece in edits:
        text = text[:start] + piece + text[start + length :]
    assert_loads_or_says_where(text, *more)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
fuzzed = st.fixed_dictionaries({}, optional={key: anything | CHANGES[key] for key in CHANGES})
mangled = st.fixed_dictionaries(
    {"name": names | anything},
    optional={
        "seeds": st.lists(st.integers(0, 9), unique=True) | anything,
        "record": st.fixed_dictionaries({"layers": st.lists(st.integers(0, 5))}) | anything,
        "variants": st.dictionaries(names, fuzzed.map(nested) | anything) | anything,
        "grid": st.fixed_dictionaries({}, optional={key: st.lists(CHANGES[key]) for key in CHANGES})
        | anything,
    },
)


@EXAMPLES
@given(content=mangled, base=fuzzed)
def test_any_values_are_an_experiment_or_a_config_error(content, base):
    """Whatever stands for the value of a key, no other exception comes out."""
    assert_loads_or_says_where(json.dumps({**nested(base), **content}, ensure_ascii=False))


@EXAMPLES
@given(st.binary(max_size=200))
def test_any_bytes_are_an_experiment_or_a_config_error(data):
    """A file of anything is refused in one way."""
    assert_loads_or_says_where(data)
