"""YAML text to typed values: what is no value of a key, and what YAML itself forbids."""

from pathlib import Path

import pytest
import yaml
from helpers.configs import BASE, NO_TAG, ONE, load, mistakes

from bnexp.config import parsing, recorded_layers
from bnexp.config.parsing import Reader

CONFIGS = Path(__file__).parents[2] / "configs"

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
        "x.yaml:3:17: model.hidden: expected a list of whole numbers, got 100; write [100]",
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
    # YAML itself
    "an empty file": (
        "",
        "x.yaml:1:1: empty; `bnexp configs quickstart` prints a config to begin with",
    ),
    "only comments": (
        "# nothing\n",
        "x.yaml:1:1: empty; `bnexp configs quickstart` prints a config to begin with",
    ),
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
    "a file too large": ("#" * 5_000_000, "x.yaml: larger than 4096 KiB; not an experiment"),
}


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_told_with_its_place_and_nothing_else(text, expected):
    """Each kind gives exactly one line: file, line, column, key, problem, advice."""
    assert mistakes(text) == [expected]


def test_numbers_are_read_as_numbers():
    """1e-3 is a number, and a whole number may stand where a float is wanted."""
    train = load(BASE + "train: {lr: 1e-3, momentum: 0, weight_decay: +.5, steps: +7}").base.train
    assert (train.lr, train.momentum, train.weight_decay, train.steps) == (1e-3, 0.0, 0.5, 7)
    assert [type(value) for value in (train.momentum, train.steps)] == [float, int]


def test_lists_words_and_null_are_read_as_their_type():
    """Each form of record.layers, weight_std and probe_every keeps its meaning."""
    text = BASE + "model: {weight_std: null, hidden: [9, 8]}\nrecord: {probe_every: ~, layers: "
    settings = [load(f"{text}{layers}}}").base for layers in ("all", "last", "[1]")]
    assert [recorded_layers(s) for s in settings] == [(1, 2), (2,), (1,)]
    assert (settings[0].model.weight_std, settings[0].record.probe_every) == (None, None)


def places(node):
    """What a node holds, and where it and each of its parts begin."""
    parts = node.value
    if isinstance(node, yaml.MappingNode):
        parts = [(places(key), places(value)) for key, value in parts]
    elif isinstance(node, yaml.SequenceNode):
        parts = [*map(places, parts)]
    return node.start_mark.line, node.start_mark.column, node.tag, parts


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_config_is_read_alike_with_and_without_libyaml(path, monkeypatch):
    """The values, and the place of each."""
    quick = places(Reader().compose(path.read_text(), "x.yaml"))
    monkeypatch.setattr(parsing, "_composed", lambda _text, _name: None)
    assert places(Reader().compose(path.read_text(), "x.yaml")) == quick
