"""What the shell offers when a user presses Tab at a config or at a key."""

from pathlib import Path


def configs(incomplete: str) -> list[str]:
    """The packaged configs and the YAML files and folders that begin so."""
    head, slash, tail = incomplete.rpartition("/")
    found = []
    for path in sorted(Path(f"{head}{slash}").glob("*")):
        hidden = path.name.startswith(".") and not tail.startswith(".")
        if path.name.startswith(tail) and not hidden:
            if path.is_dir():
                found.append(f"{head}{slash}{path.name}/")
            elif path.suffix == ".yaml":
                found.append(f"{head}{slash}{path.name}")
    return packaged_configs(incomplete) + found


def packaged_configs(incomplete: str) -> list[str]:
    """The packaged configs that begin so."""
    from bnexp.config import packaged

    return [name for name in packaged() if name.startswith(incomplete)]


def keys(incomplete: str) -> list[str]:
    """The dotted keys of the YAML that begin so, such as `train.lr=`."""
    from bnexp.config.schema import HINTS

    return [f"{key}=" for key in (*HINTS, "seeds") if key.startswith(incomplete)]


def configs_and_keys(incomplete: str) -> list[str]:
    """What may stand after `bnexp train`."""
    return configs(incomplete) + keys(incomplete)
