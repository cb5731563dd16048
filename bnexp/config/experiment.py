"""Reads an experiment's YAML, with every mistake located, and writes it; its keys: `schema`."""

import difflib
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bnexp.config import schema
from bnexp.config.parsing import ANY, NULL, Reader, shorten
from bnexp.config.schema import (
    DataConfig,
    Experiment,
    ModelConfig,
    RecordConfig,
    Settings,
    TrainConfig,
    Variant,
    differences,
    flatten,
    recorded_layers,
)
from bnexp.errors import ConfigError

__all__ = ["DataConfig", "Experiment", "ModelConfig", "RecordConfig", "Settings", "TrainConfig"]
__all__ += ["Variant", "differences", "dump", "flatten", "load", "packaged", "recorded_layers"]

_MAX_BYTES = 256 * 1024
_MAX_VARIANTS = 200
_PLAIN = re.compile(r"(?!(null|true|false|yes|no|on|off|y|n)$)[a-z_][a-z0-9_./-]*", re.IGNORECASE)


def packaged() -> dict[str, Path]:
    """The file of each config that comes with the package, by name."""
    here = Path(__file__).parents[1]
    # A wheel holds them inside the package; a checkout beside it.
    shipped = here / "configs" if (here / "configs").is_dir() else here.parent / "configs"
    return {path.stem: path for path in sorted(shipped.glob("*.yaml"))}


def load(config: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment of a YAML file.

    Args:
        config: a path; or the name of a packaged config, when no such file exists.
        overrides: `key.path=value`, the value as YAML. Each sets a key in the file's place, before
            anything is read, so a variant's own change still wins over the shared sections;
            `variants.NAME.key.path=value` sets that one. Of two for one key, the later counts.

    Raises:
        ConfigError: every mistake of the file and the overrides, each with its place.
    """
    name, shipped = str(config).removesuffix(".yaml"), packaged()
    path = shipped[name] if name in shipped and not Path(config).is_file() else Path(config)
    reader = Reader()
    root = reader.compose(_text(path), str(path))
    if isinstance(root, yaml.MappingNode):
        for number, text in enumerate(overrides, 1):
            reader.override(root, text, f"override {number} '{shorten(text)}'")
        experiment = _experiment(reader, root)
        if not reader.mistakes:
            return experiment
    elif root:
        reader.value(root, {})
    raise ConfigError(list(dict.fromkeys(reader.mistakes)))


def dump(experiment: Experiment) -> str:
    """The experiment as YAML with every value written out; `load` gives it back.

    Only a `data.root` that is the default is left out: it belongs to the machine.
    """
    base = flatten(experiment.base)
    if base["data.root"] == schema.default_root():
        del base["data.root"]
    changes = {variant.name: schema.nest(variant.changes) for variant in experiment.variants}
    lines = [f"name: {_yaml(experiment.name)}", f"seeds: {_yaml(experiment.seeds)}"]
    for section, keys in {**schema.nest(base), "variants": changes}.items():
        lines += [f"{section}:", *(f"  {_yaml(key)}: {_yaml(keys[key])}" for key in keys)]
    return "\n".join(lines) + "\n"


def _yaml(value: schema.Value) -> str:
    """A value as YAML, in the form that every reader of YAML 1.1 or 1.2 takes alike."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, float):  # 1e-05 is text to YAML 1.1
        return re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))
    plain = isinstance(value, str) and _PLAIN.fullmatch(value)
    return value if plain else json.dumps(value, ensure_ascii=False)


def _text(path: Path) -> str:
    """The text of a file that can be an experiment; bytes beyond UTF-8 become surrogates."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        if len(raw) <= _MAX_BYTES:
            return raw.decode("utf-8-sig", "surrogateescape")
        problem = f"larger than {_MAX_BYTES // 1024} KiB; not an experiment"
    except FileNotFoundError:
        near = {name: name for name in packaged()}
        near |= {other.stem: str(other) for other in path.parent.glob("*.yaml")}
        close = difflib.get_close_matches(path.stem, near, n=1, cutoff=0.65)
        advice = f"did you mean '{near[close[0]]}'? " if close else ""
        problem = f"no such file; {advice}(`bnexp configs` lists the packaged ones)"
    except IsADirectoryError:
        problem = "a folder; give a YAML file"
    except (OSError, ValueError) as error:  # ValueError: NUL in the path
        problem = f"cannot be read: {error}"
    raise ConfigError(f"{shorten(str(path))}: {problem}")


def _experiment(reader: Reader, root: yaml.Node) -> Experiment:
    """The experiment of a tree; it counts only if the reader met no mistake."""
    hints = {"name": schema.Name, "seeds": schema.Seeds, **schema.SECTIONS}
    top = reader.value(root, {**hints, "variants": {ANY: schema.SECTIONS}, "grid": schema.AXES})
    if "name" not in top:
        reader.report("name", "missing; it names the folder of the results", root)
    base = schema.flat({section: top.get(section, {}) for section in schema.SECTIONS})
    drafts = _drafts(reader, top)
    for key in filter(reader.overridden, base):
        if drafts and all(key in own for own in drafts.values()):
            problem = f"changes nothing: every variant sets its own; set variants.NAME.{key}"
            reader.report(key, problem)
    variants = tuple(_variant(reader, base, name, own) for name, own in drafts.items())
    name, seeds = top.get("name", ""), top.get("seeds", (0, 1, 2, 3, 4))
    return Experiment(name, seeds, schema.settings_of(base), variants)


def _drafts(reader: Reader, top: Mapping[str, Any]) -> dict[str, schema.Values]:
    """The changes of each variant by name, from `variants` or `grid`."""
    kind = "grid" if "grid" in top and "variants" not in top else "variants"
    if kind not in top:
        problem = "missing; give at least one, as 'baseline: {}', or a grid"
        reader.report(kind, problem, reader.nodes[""])
        return {}
    if kind == "variants" and "grid" in top:
        reader.report("grid", "give variants or a grid, not both", reader.names["grid"])
    if not reader.nodes[kind].value or reader.nodes[kind].tag == NULL:
        example = "baseline: {}" if kind == "variants" else "model.norm: [none, batch]"
        reader.report(kind, f"give at least one, as '{example}'")
    if kind == "variants":
        drafts = {name: schema.flat(sections) for name, sections in top[kind].items()}
    else:
        drafts = _combinations(reader, top[kind])
    twins: dict[str, str] = {}
    for name, own in drafts.items():
        path = f"variants.{name}"
        if any(key.startswith(schema.SHARED) for key in own):
            at = f"{path}.{schema.SHARED}"
            reader.report(at, "all variants record alike; set it at the top", reader.names[at])
        twin = twins.setdefault(name.lower(), name)
        unlike = f"is '{twin}' but for case" if twin != name else None
        if wrong := schema.broken(schema.NAME_RULES, name) or unlike:
            reader.report(path, wrong, reader.names.get(path, reader.names[kind]))
    return drafts


def _combinations(reader: Reader, axes: Mapping[str, Any]) -> dict[str, schema.Values]:
    """The changes of each variant of a grid, named as `activation=relu,gamma=true`."""
    if not axes or schema.INVALID in axes.values():
        return {}
    count = math.prod(len(values) for values in axes.values())
    if count > _MAX_VARIANTS:
        reader.report("grid", f"makes {count} variants, above {_MAX_VARIANTS}")
        return {}
    drafts = {}
    for values in itertools.product(*axes.values()):
        texts = (x if isinstance(x, str) else json.dumps(x).strip("[]") for x in values)
        labels = (f"{key.split('.')[1]}={text}" for key, text in zip(axes, texts, strict=True))
        drafts[",".join(labels).replace(", ", "-")] = dict(zip(axes, values, strict=True))
    return drafts


def _variant(reader: Reader, base: schema.Values, name: str, own: schema.Values) -> Variant:
    """The base with a variant's own changes, checked as a whole."""
    merged = base | own
    settings = schema.settings_of(merged)
    for *pair, problem in schema.conflicts(settings):
        # The mistake is in what was said last: an override, else a change of the variant.
        places = [f"variants.{name}.{key}" for key in pair] + [f"grid.{key}" for key in pair]
        places += [key for key in pair if key not in own]
        last = max(filter(reader.nodes.__contains__, places), key=reader.overridden)
        if schema.INVALID not in [merged.get(key) for key in pair]:
            reader.report(last, problem)
    return Variant(name, own, settings)
