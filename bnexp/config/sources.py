"""Where configs come from: the packaged ones, their headers, and the text of any config file."""

import re
from pathlib import Path

from bnexp.config.suggestions import did_you_mean, nearest, shorten
from bnexp.errors import ConfigError

SCHEMA = "schema.json"

_MAX_BYTES = 4096 * 1024

_FIELD = re.compile(r"# (What it shows|Command|Time|Expected):\s+(.*)")
_CONTINUATION = re.compile(r"#\s{4,}(\S.*)")


def packaged() -> dict[str, Path]:
    """The files of the configs that come with the package, by name."""
    package = Path(__file__).parents[1]
    # A wheel holds the configs inside the package, a checkout of the repository beside it.
    inside = package / "configs"
    folder = inside if inside.is_dir() else package.parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def header(path: Path) -> dict[str, str]:
    """What a config's first comment lines say, by field, such as `What it shows`.

    A field begins with its name and a colon. It goes on in the lines below it that are indented,
    and these are joined to one line here.
    """
    fields: dict[str, str] = {}
    name = ""
    for line in read_text(path).splitlines():
        if begin := _FIELD.fullmatch(line):
            name, fields[name] = begin[1], begin[2]
        elif name and (more := _CONTINUATION.fullmatch(line)):
            fields[name] += f" {more[1]}"
        else:
            name = ""
    return fields


def copy_of(path: Path, name: str = "") -> str:
    """The text of a packaged config for another folder.

    Its first line names the JSON Schema that lies beside it, by which editors help; a copy names it
    by its whole path.

    Args:
        path: of the packaged config.
        name: of the experiment in the copy, so that it does not train into the folder of the first.
    """
    beside = f"$schema={SCHEMA}"
    text = path.read_text(encoding="utf-8")
    text = text.replace(beside, f"$schema={path.with_name(SCHEMA)}", 1)
    return text.replace(f"\nname: {path.stem}\n", f"\nname: {name or path.stem}\n", 1)


def resolve(config: str | Path) -> Path:
    """The path of a config that was given as a path, or as the name of a packaged config.

    A file of that name comes first, so that nobody gets a packaged config in its place.
    """
    name, shipped = str(config).removesuffix(".yaml"), packaged()
    return shipped[name] if name in shipped and not Path(config).is_file() else Path(config)


def read_text(path: Path) -> str:
    """The text of a config file.

    Bytes that are not UTF-8 become lone surrogates, so that the parser can tell where they are.

    Raises:
        ConfigError: there is no such file, or it cannot be a config.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        if len(raw) <= _MAX_BYTES:
            return raw.decode("utf-8-sig", "surrogateescape")
        problem = f"larger than {_MAX_BYTES // 1024} KiB; not an experiment"
    except FileNotFoundError:
        advice = _advice(path)
        listed = "`bnexp configs` lists the packaged ones"
        problem = f"no such file{advice} ({listed})" if advice else f"no such file; {listed}"
    except IsADirectoryError:
        inside = path / "config.yaml"  # as in the folder of an experiment
        problem = f"a folder; give {inside if inside.is_file() else 'a YAML file'}"
    except (OSError, ValueError) as error:  # a path that holds a NUL raises ValueError
        problem = f"cannot be read: {error}"
    raise ConfigError(f"{shorten(str(path))}: {problem}")


def _advice(path: Path) -> str:
    """`; did you mean '...'?` with a packaged config or a file beside this path, or nothing."""
    known = {name: name for name in packaged()}
    known |= {other.stem: str(other) for other in path.parent.glob("*.yaml")}
    near = nearest(path.stem, known)
    return "" if near is None else did_you_mean(known[near])
