"""Write configs/README.md and configs/schema.json, from the dataclasses that define the keys.

    python scripts/document_keys.py

The first explains every key to people. The second is a JSON Schema, by which editors complete keys,
explain them and underline mistakes. A test compares both files with what this script would write.
"""

import ast
import inspect
import json
import re
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from bnexp.config import header, packaged, rules, schema
from bnexp.config.serialization import yaml_text

CONFIGS = Path(__file__).parents[1] / "configs"
CLASSES = {
    "data": schema.DataConfig,
    "model": schema.ModelConfig,
    "train": schema.TrainConfig,
    "record": schema.RecordConfig,
}
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", NoneType: "null"}
Json = dict[str, Any]
HEAD = """# Configs

One YAML describes one experiment. `bnexp configs` lists these, `bnexp configs NAME` prints one, and
`bnexp configs NAME --copy mine.yaml` copies it, to be changed. A name and variants are enough:

```yaml
name: mine
data: {name: digits}
variants: {baseline: {}, batchnorm: {model: {norm: batch, bias: false}}}
```

| config | what it shows | time |
|---|---|---|
"""
MIDDLE = """
## Keys

`name` is the experiment's, and that of its folder. `seeds` is a list, or a number n for 0 to n - 1;
the default is 0 to 4. `variants` maps a name to sections of changes; `grid`, in its place, maps a
dotted key such as `model.norm` to a list of values, and makes a variant of each combination. All
other keys stand in four sections. This file and `schema.json` are made from
`bnexp/config/schema.py` by `scripts/document_keys.py`.

The first line of each config names `schema.json`. Editors with a YAML language server, such as VS
Code with Red Hat's extension, then complete the keys, explain them and underline mistakes.
What `bnexp configs` prints or copies names the schema by its whole path on your machine, so that
this works there too. What several keys say together, such as a minibatch that is larger than the
data set, is found by `bnexp validate` alone.
"""


def comments(cls: type) -> dict[str, str]:
    """The comment above each field of a dataclass, in one line."""
    found: dict[str, str] = {}
    waiting: list[str] = []
    for line in inspect.getsource(cls).splitlines():
        if comment := re.fullmatch(r"    # (.*)", line):
            waiting.append(comment[1])
        elif field := re.match(r"    (\w+): ", line):
            found[field[1]] = " ".join(waiting)
            waiting = []
    return found


def allowed(annotation: ast.expr) -> str:
    """The values that a field takes, in words, from its annotation as it stands in the source."""
    text = ast.unparse(annotation)
    if get_origin(named := getattr(schema, text, None)) is Literal:
        return ", ".join(get_args(named))
    if options := re.findall(r"Literal\[([^\]]*)\]", text):
        words = options[0].replace("'", "").replace('"', "")
        return f"{words}{', or a list of numbers' if 'tuple' in text else ''}"
    text = text.replace("10 ** 9", "1,000,000,000")
    ranges = [f"{low} to {high}" for low, high in re.findall(r"within\(([^,]+), ([^)]+)\)", text)]
    nouns = {
        "bool": "true, false", "Positive": "number above 0", "NotNegative": "number of at least 0",
        "Count": "whole number above 0", "tuple": "list of numbers", "int": "whole number",
        "float": "number", "str": "text",
    }  # fmt: skip
    found = [words for name, words in nouns.items() if re.search(rf"\b{name}\b", text)]
    parts = [found[0], *ranges]
    return ", ".join(parts) + (", or null" if "None" in text else "")


def section(cls: type) -> str:
    """One section of the YAML as a table."""
    tree = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(tree, ast.ClassDef)  # noqa: S101  (a class parses as one)
    annotations = {
        node.target.id: node.annotation
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    title, said = (inspect.getdoc(cls) or "").partition(":")[::2]
    lines = [f"\n### {title}\n", f"{said.strip().capitalize()}\n"]
    lines += ["| key | values | default | meaning |", "|---|---|---|---|"]
    meanings = comments(cls)
    for each in fields(cls):
        default = "$BNEXP_DATA, else data"  # of `root`: the one that depends on the environment
        if each.default is not MISSING:
            default = yaml_text(each.default)
        values = allowed(annotations[each.name])
        cells = (f"`{each.name}`", values, f"`{default}`", meanings[each.name])
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def text() -> str:
    """The whole file."""
    rows = []
    for name, path in packaged().items():
        told = header(path)
        rows.append(f"| [{name}]({name}.yaml) | {told['What it shows']} | {told['Time']} |")
    return f"{HEAD}{chr(10).join(rows)}\n{MIDDLE}{''.join(map(section, CLASSES.values()))}"


def json_type(hint: Any) -> Json:
    """The JSON Schema of a type, such as `Annotated[int, within(0, 9)] | None`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        limits: Json = {}
        for rule in arguments[1:]:
            limits |= json_rule(rule)
        return json_type(arguments[0]) | limits
    if origin in {Union, UnionType}:
        return {"anyOf": [json_type(each) for each in arguments]}
    if origin is Literal:
        return {"enum": [*arguments]}
    if origin is tuple:
        return {"type": "array", "items": json_type(arguments[0]), "minItems": 1}
    return {"type": TYPES[hint]}


def json_rule(rule: rules.Rule) -> Json:
    """A rule of `bnexp.config.schema` as JSON Schema; empty where that cannot say it."""
    if rule in (rules.UNIQUE, rules.RISING):
        return {"uniqueItems": True}
    if rule == rules.ABOVE_0:
        return {"exclusiveMinimum": 0}
    if rule == rules.AT_LEAST_0:
        return {"minimum": 0}
    if between := re.fullmatch(r"must be (\d+) to (\d+)", rule[1]):
        return {"minimum": int(between[1]), "maximum": int(between[2])}
    if length := re.fullmatch(r"must hold 1 to (\d+) values", rule[1]):
        return {"minItems": 1, "maxItems": int(length[1])}
    return {}


def json_object(properties: Json, said: str) -> Json:
    """A map that has these keys and no others."""
    return {
        "type": "object",
        "description": said,
        "properties": properties,
        "additionalProperties": False,
    }


def json_schema() -> Json:
    """The JSON Schema of an experiment's YAML."""
    sections = {}
    axes = {}
    for name, cls in CLASSES.items():
        said, properties = comments(cls), {}
        for each in fields(cls):
            of = {"description": said[each.name]} | json_type(schema.SECTIONS[name][each.name])
            properties[each.name] = of | ({} if each.default is MISSING else plain(each.default))
            if name != schema.SHARED:
                axis = json_type(schema.AXES[f"{name}.{each.name}"])
                axes[f"{name}.{each.name}"] = {"description": said[each.name]} | axis
        sections[name] = json_object(properties, (inspect.getdoc(cls) or "").partition(": ")[2])
    changes = {name: of for name, of in sections.items() if name != schema.SHARED}
    top = {
        "name": {"description": "The experiment's name, and that of its folder."}
        | json_type(rules.Name),
        "seeds": {"description": "Of every variant: a list, or a number n for 0 to n - 1."}
        | json_type(rules.Seeds)
        | plain(schema.DEFAULT_SEEDS),
        **sections,
        "variants": {
            "type": "object",
            "description": "Maps the name of each variant to the sections that it changes.",
            "minProperties": 1,
            "additionalProperties": json_object(changes, "What this variant changes."),
        },
        "grid": json_object(axes, "Makes a variant of each combination of the values.")
        | {"minProperties": 1},
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "An experiment of bnexp",
        **json_object(top, "Shared settings, and variants or a grid that change them."),
        "required": ["name"],
        "oneOf": [{"required": ["variants"]}, {"required": ["grid"]}],
    }


def plain(default: Any) -> Json:
    """A default as JSON."""
    return {"default": [*default] if isinstance(default, tuple) else default}


def schema_text() -> str:
    """The whole file configs/schema.json."""
    return json.dumps(json_schema(), indent=1) + "\n"


if __name__ == "__main__":
    (CONFIGS / "README.md").write_text(text(), encoding="utf-8")
    (CONFIGS / "schema.json").write_text(schema_text(), encoding="utf-8")
