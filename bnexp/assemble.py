"""From a tree of YAML nodes to an experiment: overrides, variants, grids, keys that conflict."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

import yaml

from bnexp.located import INVALID, Entry, Reader, is_null, join, put, shorten, shown, suggestion
from bnexp.schema import (
    SECTIONS,
    Experiment,
    Name,
    Seeds,
    Settings,
    Value,
    Variant,
    folder,
    hints,
    nest,
    recorded_layers,
    unique,
)

_MAX_VARIANTS = 200
_SHARED = "record"  # the section no variant changes, so that all can be compared


class _Setting(NamedTuple):
    """A key as it was set: its value, and where."""

    value: Value
    node: yaml.Node
    path: str


class _Draft(NamedTuple):
    """A variant as it was set: the node that names it, and its changes by dotted key."""

    node: yaml.Node
    changes: dict[str, _Setting]


def override(reader: Reader, root: yaml.MappingNode, text: str, place: str) -> None:
    """Set one key in the tree; what is new there has the override as its place."""
    mark = yaml.Mark(place, 0, 0, 0, None, 0)
    node, path, rest = root, "", text
    while True:
        known = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        key = _first_key(rest, known, "=" if path == "grid" else "[.=]")
        here = yaml.ScalarNode("", key, mark)
        if path == "variants" and key not in known:
            near = suggestion(key, known)
            reader.report(here, join(path, shorten(key)), f"no such variant{near}")
            return
        path, rest = join(path, shorten(key)), rest[len(key) :]
        if rest.startswith("="):
            value = reader.compose(rest[1:], lambda _line, _column: place)
            if value is not None:
                put(node, key, value)
            return
        if not rest:
            reader.report(here, "", "expected key.path=value")
            return
        child = next((value for name, value in node.value if name.value == key), None)
        if child is None or is_null(child):
            child = yaml.MappingNode("", [], mark)
            put(node, key, child)
        if not isinstance(child, yaml.MappingNode):
            reader.report(here, path, f"holds {shown(child)}, no keys")
            return
        node, rest = child, rest[1:]


def _first_key(text: str, known: Sequence[str], end: str) -> str:
    """The first key of `key.path=value`: a known one, as names may hold dots and "=", or a word."""
    fitting = [key for key in known if text.startswith((f"{key}.", f"{key}="))]
    return max(fitting, key=len) if fitting else re.split(end, text, maxsplit=1)[0]


def experiment(reader: Reader, root: yaml.MappingNode, overrides: Sequence[str]) -> Experiment:
    """The experiment of a tree; it counts only if the reader met no mistake."""
    top = reader.entries(root, "", ("name", "seeds", *SECTIONS, "variants", "grid"))
    name, seeds = "", (0, 1, 2, 3, 4)
    if "name" in top:
        name = reader.value(top["name"].value, Name, "name")
    else:
        reader.report(root, "name", "missing; it names the folder of the results")
    if "seeds" in top:
        seeds = reader.value(top["seeds"].value, Seeds, "seeds")
    base = _settings(reader, {key: top[key] for key in SECTIONS if key in top}, "")
    drafts = _drafts(reader, root, top)
    for key, setting in base.items():
        masked = drafts and all(key in draft.changes for draft in drafts.values())
        if masked and setting.node.start_mark.name in overrides:
            problem = f"changes nothing: every variant sets its own; set variants.NAME.{key}"
            reader.report(setting.node, key, problem)
    variants = tuple(_variant(reader, *item, base, overrides) for item in drafts.items())
    return Experiment(name, seeds, _resolved(base), variants)


def _settings(reader: Reader, sections: Mapping[str, Entry], path: str) -> dict[str, _Setting]:
    """What the sections set, by dotted key."""
    found = {}
    for section, (_, node) in sections.items():
        here, known = join(path, section), [field.name for field in fields(SECTIONS[section])]
        for key, (_, value) in reader.entries(node, here, known).items():
            dotted, where = f"{section}.{key}", join(here, key)
            found[dotted] = _Setting(reader.value(value, hints()[dotted], where), value, where)
    return found


def _drafts(reader: Reader, root: yaml.Node, top: Mapping[str, Entry]) -> dict[str, _Draft]:
    """The variants by name, from `variants` or `grid`."""
    if "variants" in top and "grid" in top:
        reader.report(top["grid"].key, "grid", "give variants or a grid, not both")
    if "variants" in top:
        drafts = _variants(reader, top["variants"].value)
    elif "grid" in top:
        drafts = _grid(reader, top["grid"])
    else:
        reader.report(root, "variants", "missing; give at least one, as 'baseline: {}', or a grid")
        return {}
    first: dict[str, str] = {}
    for name, draft in drafts.items():
        twin = first.setdefault(name.lower(), name)
        problem = folder(name) or (f"is '{twin}' but for case" if twin != name else None)
        if problem:
            reader.report(draft.node, f"variants.{shorten(name)}", problem)
    return drafts


def _variants(reader: Reader, node: yaml.Node) -> dict[str, _Draft]:
    drafts, before = {}, len(reader.mistakes)
    for name, (key, value) in reader.entries(node, "variants").items():
        path = f"variants.{shorten(name)}"
        reader.value(key, str, path)
        sections = reader.entries(value, path, SECTIONS)
        if _SHARED in sections:
            problem = "all variants record alike; set it at the top"
            reader.report(sections.pop(_SHARED).key, f"{path}.{_SHARED}", problem)
        drafts[name] = _Draft(key, _settings(reader, sections, path))
    if not drafts and len(reader.mistakes) == before:
        reader.report(node, "variants", "give at least one, as 'baseline: {}'")
    return drafts


def _grid(reader: Reader, grid: Entry) -> dict[str, _Draft]:
    """One variant for each combination, named as `activation=relu,gamma=true`."""
    axes, before = [], len(reader.mistakes)
    known = [key for key in hints() if not key.startswith(f"{_SHARED}.")]
    for key, (_, node) in reader.entries(grid.value, "grid", known).items():
        path = f"grid.{key}"
        if not (isinstance(node, yaml.SequenceNode) and node.value):
            reader.report(node, path, "must be a list of at least one value")
            continue
        axis = [
            _Setting(reader.value(child, hints()[key], at := f"{path}[{index}]"), child, at)
            for index, child in enumerate(node.value)
        ]
        values = [setting.value for setting in axis if setting.value is not INVALID]
        if problem := unique(tuple(values)):
            reader.report(node, path, problem)
        axes.append([(key, setting) for setting in axis])
    count = math.prod(map(len, axes))
    if count > _MAX_VARIANTS:
        reader.report(grid.value, "grid", f"makes {count} variants, above {_MAX_VARIANTS}")
    if not axes and len(reader.mistakes) == before:
        reader.report(grid.value, "grid", "give at least one, as 'model.norm: [none, batch]'")
    if len(reader.mistakes) > before:
        return {}
    drafts = {}
    for combination in itertools.product(*axes):
        labels = (f"{key.split('.')[1]}={_label(setting.value)}" for key, setting in combination)
        drafts[",".join(labels)] = _Draft(grid.key, dict(combination))
    return drafts


def _label(value: Value) -> str:
    """A value in the name of a variant."""
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _variant(
    reader: Reader, name: str, draft: _Draft, base: Mapping[str, _Setting], overrides: Sequence[str]
) -> Variant:
    """The variant of a draft, checked as a whole."""
    merged = {**base, **draft.changes}
    settings = _resolved(merged)
    for keys, problem in _conflicts(settings):
        given = [merged[key] for key in keys if key in merged]
        if INVALID in [setting.value for setting in given]:
            continue
        # The mistake is in what was said last: an override, else a change of the variant.
        last = [setting for setting in given if setting.node.start_mark.name in overrides]
        own = [draft.changes[key] for key in keys if key in draft.changes]
        culprit = (last or own or given)[0]
        reader.report(culprit.node, culprit.path, problem)
    return Variant(name, {key: setting.value for key, setting in draft.changes.items()}, settings)


def _resolved(given: Mapping[str, _Setting]) -> Settings:
    """Settings with the given values, and the defaults of the rest."""
    values = {key: setting.value for key, setting in given.items() if setting.value is not INVALID}
    sections = nest(values)
    return Settings(**{name: cls(**sections.get(name, {})) for name, cls in SECTIONS.items()})


def _conflicts(settings: Settings) -> Iterator[tuple[tuple[str, str], str]]:
    """What no key forbids alone: the keys that do together, and why."""
    model, train = settings.model, settings.train
    if model.norm == "batch" and train.batch_size < 2:
        text = "batch norm in training needs a batch_size of at least 2: one example has variance 0"
        yield ("train.batch_size", "model.norm"), text
    deepest = max(recorded_layers(settings))
    if deepest > len(model.hidden):
        text = f"there is no hidden layer {deepest} to record"
        yield ("record.layers", "model.hidden"), text
    if train.device == "mps" and train.dtype == "float64":
        yield ("train.dtype", "train.device"), "mps has no float64"
