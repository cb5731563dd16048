"""A whole experiment from its YAML: the shared settings, and variants or a grid that change them.

`load` reads the text into nodes (`parsing`), puts the overrides of the command line in their place,
reads every key by the types of `schema`, and then looks at each variant as a whole
(`constraints`). A mistake stops none of this, so that one error lists all of them.
"""

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from bnexp.config import schema
from bnexp.config.constraints import conflicts
from bnexp.config.nodes import NULL
from bnexp.config.parsing import ANY, Reader
from bnexp.config.rules import NAME_RULES, Name, Seeds, violation
from bnexp.config.schema import Experiment, Settings, Value, Variant
from bnexp.config.serialization import yaml_text
from bnexp.config.sources import read_text, resolve
from bnexp.config.suggestions import shorten
from bnexp.errors import ConfigError

_MAX_VARIANTS = 10_000  # results/published/scale says what so many take


def load(config: str | Path, overrides: Sequence[str] = (), grid: Sequence[str] = ()) -> Experiment:
    """The experiment of a YAML file.

    Args:
        config: a path, or the name of a packaged config.
        overrides: each is `key.path=value`, with the value as YAML, and sets a key in the place of
            the file's own value. A variant that sets the same key still wins over a shared section;
            `variants.NAME.key.path=value` sets the key of that variant. If two set the same key,
            the later one counts.
        grid: each is `key.path=value,value,...`. Every variant of the file, or of the file's own
            grid, is made once for each combination of these values.

    Raises:
        ConfigError: the file or an override is wrong. It lists every mistake with its place.
    """
    path = resolve(config)
    return parse(read_text(path), str(path), overrides, grid)


def parse(
    config: str, name: str, overrides: Sequence[str] = (), grid: Sequence[str] = ()
) -> Experiment:
    """The experiment of a YAML text.

    Args:
        config: the text.
        name: of its file, as mistakes tell it.
        overrides: see `load`.
        grid: see `load`.

    Raises:
        ConfigError: as `load`.
    """
    reader = Reader()
    root = reader.compose(config, name)
    if isinstance(root, yaml.MappingNode):
        for number, text in enumerate(overrides, 1):
            reader.override(root, text, f"override {number} '{shorten(text)}'")
        for text in grid:
            key, given, values = text.partition("=")
            if [each.partition("=")[0] for each in grid].count(key) > 1:
                raise ConfigError(f"--grid {key}: given twice; give all of its values at once")
            if not given:
                raise ConfigError(f"--grid '{shorten(text)}': expected KEY=A,B,C")
            reader.override(root, f"grid.{key}=[{values}]", f"--grid '{shorten(text)}'")
        experiment = _experiment(reader, root)
        if not reader.mistakes:
            return experiment
    elif root:
        reader.value(root, {})  # reports that this is no map
    # Variants that share a mistake would list it once for each of them. Those of overrides come
    # last, in the order in which they were given.
    raise ConfigError(sorted(dict.fromkeys(reader.mistakes), key=_override_number))


def _override_number(mistake: str) -> int:
    """The place of an override among the overrides; 0 for a mistake in the file."""
    found = re.match(r"override (\d+) '", mistake)
    return int(found[1]) if found else 0


def _experiment(reader: Reader, root: yaml.Node) -> Experiment:
    """The experiment of the YAML's nodes. It is complete only if the reader met no mistake."""
    hints = {"name": Name, "seeds": Seeds, **schema.SECTIONS}
    top = reader.value(root, {**hints, "variants": {ANY: schema.SECTIONS}, "grid": schema.AXES})
    if "name" not in top:
        reader.report("name", "missing; it names the folder of the results", root)
    base = schema.flat({section: top.get(section, {}) for section in schema.SECTIONS})
    drafts = _drafts(reader, top)
    _check_overrides(reader, base, drafts, is_grid="variants" not in top)
    variants = tuple(_variant(reader, base, name, own) for name, own in drafts.items())
    seeds = top.get("seeds", schema.DEFAULT_SEEDS)
    if isinstance(seeds, int):
        seeds = tuple(range(seeds))
    return Experiment(top.get("name", ""), seeds, schema.settings_of(base), variants)


def _check_overrides(
    reader: Reader,
    base: Mapping[str, Value],
    drafts: Mapping[str, Mapping[str, Value]],
    *,
    is_grid: bool,
) -> None:
    """Report the overrides of shared keys that no variant takes over."""
    for key in filter(reader.overridden, base):
        if drafts and all(key in changes for changes in drafts.values()):
            whose, instead = "variant", f"variants.NAME.{key}"
            if is_grid:
                value = "" if base[key] is schema.INVALID else yaml_text(base[key])
                whose, instead = "variant of the grid", f"grid.{key}=[{value}]"
            reader.report(key, f"changes nothing: every {whose} sets its own; set {instead}")


def _drafts(reader: Reader, top: Mapping[str, Any]) -> dict[str, Mapping[str, Value]]:
    """The changes of each variant by its name, from `variants` or from `grid`."""
    kind = "grid" if "grid" in top and "variants" not in top else "variants"
    if kind not in top:
        problem = "missing; give at least one, as 'baseline: {}', or a grid"
        reader.report(kind, problem, reader.nodes[""])
        return {}
    asked = [key for key in top.get("grid", {}) if reader.overridden(f"grid.{key}")]
    if kind == "variants" and len(asked) < len(top.get("grid", {})):
        reader.report("grid", "give variants or a grid, not both", reader.names["grid"])
    if not reader.nodes[kind].value or reader.nodes[kind].tag == NULL:
        example = "baseline: {}" if kind == "variants" else "model.norm: [none, batch]"
        reader.report(kind, f"give at least one, as '{example}'")
    drafts: dict[str, Mapping[str, Value]]
    if kind == "variants":
        drafts = {name: schema.flat(sections) for name, sections in top[kind].items()}
        for name, changes in drafts.items():  # the axes of a grid are of other sections
            if any(key.startswith(schema.SHARED) for key in changes):
                place = f"variants.{name}.{schema.SHARED}"
                told = "all variants record alike; set it at the top"
                reader.report(place, told, reader.names[place])
        if asked:
            drafts = _crossed(reader, drafts, _combinations(reader, top["grid"]))
    else:
        drafts = _combinations(reader, top[kind])
    _check_names(reader, drafts, kind)
    return drafts


def _crossed(
    reader: Reader,
    drafts: Mapping[str, Mapping[str, Value]],
    combinations: Mapping[str, Mapping[str, Value]],
) -> dict[str, Mapping[str, Value]]:
    """Each variant with each combination of a grid, which wins where both set a key."""
    if _too_many(reader, len(drafts) * len(combinations)):
        return {}
    return {
        f"{name},{label}": {**changes, **values}
        for name, changes in drafts.items()
        for label, values in combinations.items()
    }


def _too_many(reader: Reader, count: int) -> bool:
    """Whether a grid makes too many variants, which is reported."""
    if count > _MAX_VARIANTS:
        reader.report("grid", f"makes {count} variants, above {_MAX_VARIANTS}")
    return count > _MAX_VARIANTS


def identical_variants(
    experiment: Experiment, *, but_for_bias: bool = False
) -> list[tuple[str, str]]:
    """Pairs of variants that do not differ in any setting, each with the first that is like it.

    Args:
        experiment: whose variants are compared.
        but_for_bias: a bias before batch norm, which does nothing, is no difference either.
    """
    first: dict[Settings, str] = {}
    pairs = []
    for variant in experiment.variants:
        settings = variant.settings
        if but_for_bias and settings.model.norm == "batch":
            settings = replace(settings, model=replace(settings.model, bias=False, bias_std=0.0))
        known = first.setdefault(settings, variant.name)
        if known != variant.name:
            pairs.append((known, variant.name))
    return pairs


def _check_names(reader: Reader, drafts: Iterable[str], kind: str) -> None:
    """Report names that cannot be folders beside each other."""
    seen: dict[str, str] = {}
    for name in drafts:
        path = f"variants.{name}"
        # Some file systems do not tell upper case from lower case.
        twin = seen.setdefault(name.lower(), name)
        problem = violation(NAME_RULES, name)
        if twin != name and not problem:
            problem = f"differs from '{twin}' in case alone; give it another name"
        if problem:
            reader.report(path, problem, reader.names.get(path, reader.names[kind]))


def _combinations(reader: Reader, axes: Mapping[str, Any]) -> dict[str, Mapping[str, Value]]:
    """The changes of each variant of a grid, by names such as `activation=relu,gamma=true`."""
    if not axes or schema.INVALID in axes.values():
        return {}
    if _too_many(reader, math.prod(len(values) for values in axes.values())):
        return {}
    drafts: dict[str, Mapping[str, Value]] = {}
    for values in itertools.product(*axes.values()):
        texts = (x if isinstance(x, str) else json.dumps(x).strip("[]") for x in values)
        labels = (f"{key.split('.')[1]}={text}" for key, text in zip(axes, texts, strict=True))
        name = ",".join(labels).replace(", ", "-")  # a list's values: hidden=[50, 20] is 50-20
        drafts[name] = dict(zip(axes, values, strict=True))
    return drafts


def _variant(
    reader: Reader, base: Mapping[str, Value], name: str, changes: Mapping[str, Value]
) -> Variant:
    """The shared settings with a variant's own changes, checked as a whole."""
    merged = {**base, **changes}
    settings = schema.settings_of(merged)
    for *pair, problem in conflicts(settings):
        # Of the two keys, the one that was said last is the mistake: an override if there is one,
        # else a change of the variant, else a shared key.
        # A variant that --grid has multiplied was named `baseline,lr=0.1` after `baseline`.
        names = list(itertools.accumulate(name.split(","), "{},{}".format))
        places = [f"variants.{own}.{key}" for own in names for key in pair]
        places += [f"grid.{key}" for key in pair]
        places += [key for key in pair if key not in changes]
        last = max(filter(reader.nodes.__contains__, places), key=reader.overridden)
        if schema.INVALID not in [merged.get(key) for key in pair]:
            reader.report(last, problem)
    return Variant(name, changes, settings)
