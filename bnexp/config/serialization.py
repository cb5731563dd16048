"""An experiment as YAML text, with every value written out."""

import json
import re

from bnexp.config.schema import Experiment, Value, default_root, flatten, nest

# Words that need no quotes in any version of YAML: YAML 1.1 reads `no` and `y` as booleans.
_PLAIN = re.compile(r"(?!(null|true|false|yes|no|on|off|y|n)$)[a-z_][a-z0-9_./-]*", re.IGNORECASE)


def dump(experiment: Experiment) -> str:
    """The experiment as YAML, from which `load` makes the same experiment again.

    Every key is written, defaults too, so that the text keeps its meaning if a default changes
    later. Only a `data.root` that is the default is left out, because it belongs to the machine.
    """
    shared = flatten(experiment.base)
    if shared["data.root"] == default_root():
        del shared["data.root"]
    changes = {variant.name: nest(variant.changes) for variant in experiment.variants}
    lines = [f"name: {yaml_text(experiment.name)}", f"seeds: {yaml_text(experiment.seeds)}"]
    for section, keys in {**nest(shared), "variants": changes}.items():
        lines.append(f"{section}:")
        lines += [f"  {yaml_text(key)}: {yaml_text(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def yaml_text(value: Value) -> str:
    """A value as YAML in one line, in a form that all versions of YAML read alike."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {yaml_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(yaml_text, value)) + "]"
    if isinstance(value, float):
        # YAML 1.1 takes 1e-05 for text, because it asks for a decimal point in a float.
        return re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
