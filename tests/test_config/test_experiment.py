"""A whole experiment: variants, grids, overrides, and all mistakes at once."""

import json
import re
from pathlib import Path

import pytest
from helpers.configs import (
    BASE,
    CHANGES,
    NAME,
    NAMES,
    NEEDS_TWO,
    NO_TAG,
    ONE,
    assert_round_trip,
    load,
    mistakes,
    names,
    nested,
    words,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from bnexp.config import ModelConfig, differences, dump, identical_variants
from bnexp.config import load as load_file
from bnexp.errors import ConfigError

BAD = {
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
        "x.yaml:2:18: grid.train.lr: must hold each value once; 1 is repeated",
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
        NAME + f"grid: {{train.steps: {[*range(1, 201)]}, train.lr: {[*range(1, 102)]}}}",
        "x.yaml:2:7: grid: makes 20200 variants, above 10000",
    ),
    "a grid whose names are no folders": (
        NAME + "grid: {data.root: [a/b]}",
        f"x.yaml:2:1: variants.root=a/b: {NAMES}",
    ),
}


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD)
def test_a_mistake_in_variants_or_a_grid_is_told_with_its_place(text, expected):
    """Each kind gives exactly one line: file, line, column, key, problem, advice."""
    assert mistakes(text) == [expected]


EXAMPLES = settings(max_examples=300, derandomize=True, deadline=None)


def test_all_mistakes_of_file_and_overrides_are_told_at_once():
    """One error holds every mistake, in the order of the file's keys, and then of the overrides."""
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
            f"x.yaml:5:15: model.activation: expected one of {words(ModelConfig, 'activation')}, "
            "got rely; did you mean 'relu'?"
        ),
        "x.yaml:6:13: train.lr: expected a finite number, got .nan",
        "x.yaml:6:30: train.steps: duplicate key; first given at x.yaml:6:19",
        (
            f"x.yaml:8:23: variants.one.model.norm: expected one of {words(ModelConfig, 'norm')}, "
            "got btch; did you mean 'batch'?"
        ),
        "x.yaml:8:30: variants.one.zzz: unknown key; expected one of data, model, train, record",
        "x.yaml:9:3: variants.no: expected text, got no; put it in quotes",
        "x.yaml:9:7: variants.no: expected a map (key: value), got a list",
        "override 1 'train.stesp=5': train.stesp: unknown key; did you mean 'train.steps'?",
        "override 2 'record.every=0': record.every: must be 1 to 1000000000, got 0",
    ]


def test_a_number_of_seeds_stands_for_the_seeds_from_0_on():
    """`seeds: 5` and `seeds=5` mean [0, 1, 2, 3, 4], and the dumped config spells them out."""
    experiment = load(BASE + "seeds: 3")
    assert experiment.seeds == (0, 1, 2)
    assert load(BASE, "seeds=5").seeds == (0, 1, 2, 3, 4)
    assert "seeds: [0, 1, 2]\n" in dump(experiment)


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


def test_a_variant_is_the_base_with_its_changes():
    """Variants take what they do not set from the shared sections."""
    text = NAME + "model: {bias: false}\nvariants: {one: {}, two: {model: {norm: batch}}}"
    one, two = load(text).variants
    assert (one.changes, two.changes) == ({}, {"model.norm": "batch"})
    assert differences(one.settings, two.settings) == {"model.norm": ("none", "batch")}
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
    "model.bais=1": "model.bais: unknown key; did you mean 'model.bias'?",
    "lr=1": "lr: unknown key; did you mean 'train.lr'?",
    "train.lr": "expected key.path=value",
    "quickstart": "expected key.path=value",
    "": "expected key.path=value",
    "=1": "unknown key; expected one of name, seeds, data, model, train, record, variants, grid",
    "train.lr=": "train.lr: no value; write one after the =",
    "train.lr=fast": "train.lr: expected a finite number, got fast",
    "train.lr.x=1": "train.lr: holds 0.1, no keys",
    "model.bias.x=1": "model.bias: expected true or false, got a map",
    "seeds=[1": "while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
    "name=!!python/name:os.system": f"tags ('tag:yaml.org,2002:python/name:os.system') {NO_TAG}",
    "variants.oen.model.bias=true": "variants.oen: no such variant; did you mean 'one'?",
    "variants.two={}": "variants.two: no such variant; there are one",
    "model.activation=relu": "model.activation: changes nothing: every variant sets its own;"
    " set variants.NAME.model.activation",
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
    assert "root" not in dump(load(silent))
    assert "  root: mine\n" in dump(load(explicit))


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
        assert error.exit_code == 2
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


def test_a_grid_of_the_command_line_makes_every_variant_for_each_of_its_values():
    """The grid's value wins over the variant's own; several axes are combined."""
    text = NAME + "variants: {one: {train: {lr: 5}}, two: {model: {bias: false}}}"
    Path("x.yaml").write_text(text)
    made = load_file("x.yaml", [], ["train.lr=0.1,0.2", "model.norm=batch"])
    found = {v.name: (v.settings.train.lr, v.settings.model.bias) for v in made.variants}
    assert found == {
        "one,lr=0.1,norm=batch": (0.1, True),
        "one,lr=0.2,norm=batch": (0.2, True),
        "two,lr=0.1,norm=batch": (0.1, False),
        "two,lr=0.2,norm=batch": (0.2, False),
    }
    assert {v.settings.model.norm for v in made.variants} == {"batch"}
    assert_round_trip(made)


def test_a_grid_of_the_command_line_adds_axes_to_that_of_a_file():
    """And replaces the values of an axis that the file has."""
    Path("x.yaml").write_text(NAME + "grid: {train.lr: [1, 2]}")
    made = load_file("x.yaml", [], ["train.lr=3", "model.hidden=[5],[6,7]"])
    assert [v.name for v in made.variants] == ["lr=3.0,hidden=5", "lr=3.0,hidden=6-7"]


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("train.lr=0.1,-2", "--grid 'train.lr=0.1,-2': grid.train.lr[1]: must be above 0, got -2"),
        ("train.rl=1", "--grid 'train.rl=1': grid.train.rl: unknown key; did you mean 'train.lr'?"),
        ("train.lr", "--grid 'train.lr': expected KEY=A,B,C"),
        ("record.every=1,2", "--grid 'record.every=1,2': grid.record.every: unknown key"),
        ("train.batch_size=1,2", NEEDS_TWO),
    ],
)
def test_a_mistake_in_a_grid_of_the_command_line_names_it(asked, text):
    """With the whole option, and what to write instead where that can be told."""
    Path("x.yaml").write_text(NAME + "variants: {one: {model: {norm: batch}}}")
    with pytest.raises(ConfigError) as caught:
        load_file("x.yaml", [], [asked])
    assert text in str(caught.value)


def test_an_axis_that_is_given_twice_is_refused():
    """The second would take the place of the first without a word."""
    Path("x.yaml").write_text(NAME + "variants: {one: {}}")
    with pytest.raises(ConfigError) as caught:
        load_file("x.yaml", [], ["train.lr=1", "train.steps=5", "train.lr=2"])
    assert str(caught.value) == "--grid train.lr: given twice; give all of its values at once"


def test_a_variant_that_records_otherwise_is_told_at_its_own_place_whatever_the_grid():
    """Once, and not for each variant that the grid makes of it."""
    Path("x.yaml").write_text(NAME + "variants: {one: {record: {every: 2}}}")
    with pytest.raises(ConfigError) as caught:
        load_file("x.yaml", [], ["train.lr=0.1,0.2"])
    assert str(caught.value).endswith(
        "variants.one.record: all variants record alike; set it at the top"
    )
    assert str(caught.value).count("record alike") == 1


def test_a_grid_of_the_command_line_has_a_limit():
    """Variants times combinations."""
    Path("x.yaml").write_text(NAME + "variants: {one: {}, two: {}}")
    values = ",".join(map(str, range(1, 5002)))
    with pytest.raises(ConfigError, match="makes 10002 variants, above 10000"):
        load_file("x.yaml", [], [f"train.steps={values}"])


def test_variants_with_the_same_settings_are_found():
    """Also where an override has made them equal."""
    assert identical_variants(load(BASE)) == []
    text = NAME + "variants: {a: {}, b: {model: {bias: false}}, c: {model: {bias: true}}}"
    assert identical_variants(load(text)) == [("a", "c")]
    assert identical_variants(load(text, "variants.b.model.bias=true")) == [("a", "b"), ("a", "c")]


def test_a_number_with_underscores_or_commas_gets_the_number_to_write():
    """As people type them."""
    assert mistakes(BASE, "train.steps=50_000")[0].endswith("got 50_000; write 50000")
    assert mistakes(BASE, "train.lr='0.1'")[0].endswith("expected a finite number, got '0.1'")


def test_a_value_under_a_duplicate_key_is_checked_too():
    """Both mistakes are told at once."""
    text = BASE + "train:\n  lr: 0.1\n  lr: -1\n"
    found = mistakes(text)
    assert len(found) == 2
    assert "duplicate key" in found[0]
    assert "must be above 0, got -1" in found[1]


def test_several_wrong_overrides_are_told_in_the_order_given():
    """Whatever sections they belong to."""
    text = BASE + "data: {binarize: 3}\nmodel: {gamma: true}\ntrain: {steps: 5}\n"
    first, *found = mistakes(text, "train.lr=-1", "data.name=x", "model.bias=maybe")
    assert first.startswith("x.yaml:3:")
    assert [text.split("'")[0] for text in found] == ["override 1 ", "override 2 ", "override 3 "]


@pytest.mark.parametrize(
    ("override", "instead"),
    [
        ("seeds=1,2", "'seeds=[1,2]'"),
        ("seeds=1,000", "1000"),
        ("model.hidden=50,50", "'model.hidden=[50,50]'"),
        ("model.hidden=100,100", "'model.hidden=[100,100]'"),
        ("record.percentiles=2.5,50", "'record.percentiles=[2.5,50]'"),
        ("train.lr=0,2", "0.2, or --grid train.lr=0,2 to train with each"),
        ("train.lr=0.1,0.2", "--grid train.lr=0.1,0.2 to train with each"),
        ("train.steps=1,2", "--grid train.steps=1,2 to train with each"),
        ("train.steps=1,000,000", "1000000"),
    ],
)
def test_values_with_commas_get_the_list_the_number_or_the_grid_to_write(override, instead):
    """Commas are dropped between groups of three digits alone."""
    (told,) = mistakes(BASE, override)
    assert told.endswith(f"; write {instead}")
    assert override.split("=")[1] not in instead or "[" in instead or "--grid" in instead


def test_a_list_in_a_file_without_its_brackets_gets_them():
    """There it needs no quotes."""
    assert mistakes(BASE + "seeds: 1,2")[0].endswith("got 1,2; write [1, 2]")


def test_a_bias_before_batch_norm_can_count_as_no_difference():
    """Batch norm subtracts it; before another norm, or none, it counts."""
    text = (
        NAME
        + """variants:
  a: {model: {norm: batch}}
  b: {model: {norm: batch, bias: false}}
  c: {model: {bias: false}}
  d: {}
"""
    )
    assert identical_variants(load(text)) == []
    assert identical_variants(load(text), but_for_bias=True) == [("a", "b")]
