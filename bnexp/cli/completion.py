"""What the shell offers when a user presses Tab at a config, at a key, or at its value."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args, get_origin


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


def one_of(*words: str) -> Callable[[str], list[str]]:
    """What completes an option that takes one of these words."""

    def begun(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return begun


def keys(incomplete: str) -> list[str]:
    """The dotted keys of the YAML that begin so, such as `train.lr=`; or the values of a key.

    A key is offered with its values too when it is the only one: after a single offer, a shell
    would go on to the next word.
    """
    from bnexp.config.schema import HINTS

    if key := _key_before():
        return [value for value in _values(key) if value.startswith(incomplete)]
    begun = incomplete.partition("=")[0]
    found = [key for key in (*HINTS, "seeds") if key.startswith(begun)]
    offers = [f"{key}=" for key in found]
    if len(found) == 1 or begun in found:
        key = begun if begun in found else found[0]
        offers += [f"{key}={value}" for value in _values(key)]
    return [offer for offer in offers if offer.startswith(incomplete) and offer != incomplete]


def _key_before() -> str:
    """The key whose value is asked for, where the shell took `train.lr=0.1` for three words.

    Bash does. Its script tells the words in a variable, a word a line.
    """
    from bnexp.config.schema import HINTS

    words = os.environ.get("COMP_WORDS", "").split("\n")
    at = int(os.environ.get("COMP_CWORD") or 0)
    if words[at : at + 1] != ["="]:  # it stands on the value, if on one at all
        at -= 1
    key = words[at - 1] if at > 0 and words[at : at + 1] == ["="] else ""
    return key if key in HINTS or key == "seeds" else ""  # else an option, as in --config=fig1


def _values(key: str) -> list[str]:
    """The words that a key may have as its value; of other keys, the default."""
    from bnexp.analysis.formatting import cell
    from bnexp.config.schema import DEFAULT_SEEDS, HINTS, Settings, flatten

    hint = HINTS.get(key)
    if hint is bool:
        return ["true", "false"]
    if words := [
        word
        for each in (hint, *get_args(hint))
        if get_origin(each) is Literal
        for word in get_args(each)
    ]:
        return words
    default = flatten(Settings()).get(key) if hint else len(DEFAULT_SEEDS)
    return [cell(default).replace(" ", "") or "null"]


def configs_and_keys(incomplete: str) -> list[str]:
    """What may stand after `bnexp train`."""
    return keys(incomplete) + ([] if _key_before() else configs(incomplete))
