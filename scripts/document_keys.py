"""Write configs/README.md: every key of the YAML, from the dataclasses that define them.

    python scripts/document_keys.py

A test compares the file with what this script would write.
"""

import ast
import inspect
import re
from dataclasses import MISSING, fields
from pathlib import Path

from bnexp.config import header, packaged, schema
from bnexp.config.serialization import yaml_text

TARGET = Path(__file__).parents[1] / "configs" / "README.md"
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
other keys stand in four sections. This file is made by `scripts/document_keys.py` from
`bnexp/config/schema.py`.
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
    noun = next(words for name, words in nouns.items() if re.search(rf"\b{name}\b", text))
    parts = [noun, *ranges]
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
    classes = (schema.DataConfig, schema.ModelConfig, schema.TrainConfig, schema.RecordConfig)
    return f"{HEAD}{chr(10).join(rows)}\n{MIDDLE}{''.join(map(section, classes))}"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
