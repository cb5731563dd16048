"""An experiment's YAML: read with every mistake located, and written.

The keys themselves are in `schema`, whose names are to be had here too.
"""

import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from bnexp import assemble
from bnexp.errors import ConfigError
from bnexp.located import Reader, shorten, shown
from bnexp.schema import (
    DataConfig,
    Experiment,
    ModelConfig,
    RecordConfig,
    Settings,
    TrainConfig,
    Value,
    Variant,
    default_root,
    differences,
    flatten,
    hints,
    nest,
    recorded_layers,
)

__all__ = [
    "DataConfig",
    "Experiment",
    "ModelConfig",
    "RecordConfig",
    "Settings",
    "TrainConfig",
    "Variant",
    "differences",
    "dump",
    "flatten",
    "load",
    "packaged",
    "recorded_layers",
]

_MAX_BYTES = 256 * 1024


def packaged() -> dict[str, Path]:
    """The file of each config that comes with the package, by name."""
    here = Path(__file__).parent
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
    path = _find(config)
    reader = Reader(homes={key.split(".")[1]: key for key in hints()})
    root = reader.compose(_text(path), lambda line, column: f"{path}:{line + 1}:{column + 1}")
    places = [f"override {number} '{shorten(text)}'" for number, text in enumerate(overrides, 1)]
    if not isinstance(root, yaml.MappingNode):
        if root is not None:
            reader.report(root, "", f"expected a map (key: value), got {shown(root)}")
        raise ConfigError(reader.mistakes)
    for text, place in zip(overrides, places, strict=True):
        assemble.override(reader, root, text, place)
    experiment = assemble.experiment(reader, root, places)
    if reader.mistakes:
        raise ConfigError(list(dict.fromkeys(reader.mistakes)))
    return experiment


def dump(experiment: Experiment) -> str:
    """The experiment as YAML with every value written out; `load` gives it back.

    Only a `data.root` that is the default is left out: it belongs to the machine.
    """
    base = flatten(experiment.base)
    if base["data.root"] == default_root():
        del base["data.root"]
    lines = [f"name: {_yaml(experiment.name)}", f"seeds: {_yaml(experiment.seeds)}"]
    for section, keys in nest(base).items():
        lines += [f"{section}:", *(f"  {key}: {_yaml(value)}" for key, value in keys.items())]
    lines.append("variants:")
    lines += [f"  {_yaml(v.name)}: {_yaml(nest(v.changes))}" for v in experiment.variants]
    return "\n".join(lines) + "\n"


def _yaml(value: Value) -> str:
    """A value as YAML, in the form that every reader of YAML 1.1 or 1.2 takes alike."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, float):  # 1e-05 is text to YAML 1.1
        return re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))
    words = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", value):
        return f'"{value}"' if value.lower() in words else value
    return json.dumps(value, ensure_ascii=False)


def _find(config: str | Path) -> Path:
    """The path of a config, or of the packaged one of that name."""
    name, shipped = str(config).removesuffix(".yaml"), packaged()
    return shipped[name] if name in shipped and not Path(config).is_file() else Path(config)


def _text(path: Path) -> str:
    """The text of a file that can be an experiment."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        near = {name: name for name in packaged()}
        near |= {other.stem: str(other) for other in path.parent.glob("*.yaml")}
        close = difflib.get_close_matches(path.stem, near, n=1, cutoff=0.65)
        advice = f"did you mean '{near[close[0]]}'? " if close else ""
        raise ConfigError(
            f"{path}: no such file; {advice}(`bnexp configs` lists the packaged ones)"
        ) from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: a folder; give a YAML file") from None
    except (OSError, ValueError) as error:  # ValueError: NUL in the path
        raise ConfigError(f"{shorten(str(path))}: cannot be read: {error}") from None
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"{path}: larger than {_MAX_BYTES // 1024} KiB; not an experiment")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = raw.rfind(b"\n", 0, error.start) + 1
        line, column = raw.count(b"\n", 0, start), len(raw[start : error.start].decode())
        raise ConfigError(
            f"{path}:{line + 1}:{column + 1}: not UTF-8 (byte 0x{raw[error.start]:02x})"
        ) from None
