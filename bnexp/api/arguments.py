"""The arguments of the API: wrong ones are refused, and errors speak of them, not of options.

The rooms below are those of the commands, and their errors name options such as `--unit`. Here the
same errors name the arguments.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import inf
from numbers import Integral, Real
from os import PathLike

from bnexp.config import shorten
from bnexp.errors import BnexpError, ConfigError

Kinds = tuple[type, ...]
TEXT: Kinds = (str,)
PATH: Kinds = (str, PathLike)
WHOLE: Kinds = (Integral,)
NUMBER: Kinds = (Real,)
NONE = type(None)

# A command that a shell understands stays as it is, and no argument of Python restarts a training.
_OPTION = re.compile(r"`bnexp [^`]*`|bnexp [a-z]+ --[^;\n]*|--restart|--([a-z]+)( (?=[^\s(]))?")
# A second key behind a blank or a comma in what should be one override.
_SECOND = re.compile(r"[\s,](seeds|name|(data|model|train|record|variants)\.[\w.]+)=")


def as_python(text: str) -> str:
    """An error's text with arguments such as `unit=99` in place of options such as `--unit 99`."""

    def said(match: re.Match[str]) -> str:
        if match[0] == "--restart":
            return "`bnexp train --restart`"
        return f"{match[1]}{'=' if match[2] else ''}" if match[1] else match[0]

    return _OPTION.sub(said, text)


@contextmanager
def arguments_named() -> Iterator[None]:
    """Errors from inside speak of arguments, and keep their class and their place."""
    try:
        yield
    except BnexpError as error:
        if isinstance(error, ConfigError):
            error.mistakes = [as_python(mistake) for mistake in error.mistakes]
        error.args = (as_python(str(error)),)
        raise


def check(
    name: str,
    value: object,
    kinds: Kinds,
    told: str,
    within: tuple[float, float] = (-inf, inf),
) -> None:
    """Check an argument, which would else fail far below, with a text that is a riddle.

    Args:
        name: the argument's.
        value: what was given; `True` and `False` are no numbers here.
        kinds: the types that it may have.
        told: what it may be, in words.
        within: the least and the most that a number may be.

    Raises:
        ConfigError: it is of another type, or too small or too large.
    """
    fits = isinstance(value, kinds) and not isinstance(value, bool)
    if fits and isinstance(value, Real):
        fits = within[0] <= float(value) <= within[1]  # and so it is not NaN
    if not fits:
        raise ConfigError(f"{name} is {shorten(repr(value))}; give {told}")


def check_plot(layer: object, unit: object, seed: object, width: object) -> None:
    """Check what a plot is asked for.

    Raises:
        ConfigError: an argument is of another type, or out of its range.
    """
    whole = (*WHOLE, NONE)
    check("layer", layer, whole, "a hidden layer, counted from 1, or None", (1, inf))
    check("unit", unit, (*TEXT, *WHOLE), "'typical', 'all', or a unit, counted from 0")
    check("seed", seed, whole, "the seed of a run, or None", (0, inf))
    narrow, wide = 2, 20  # inches; a narrower figure has no room for its texts
    check("width", width, NUMBER, f"inches, {narrow} to {wide}", (narrow, wide))


def check_comparison(baseline: object, margin: object) -> None:
    """Check what a comparison is asked for.

    Raises:
        ConfigError: an argument is of another type, or the margin is below 0.
    """
    check("baseline", baseline, (*TEXT, NONE), "a variant, or a text such as 'model.norm=none'")
    check("margin", margin, NUMBER, "a number of 0 or more", (0, inf))


def override_list(overrides: Iterable[str]) -> list[str]:
    """The overrides as a list, of which a single one needs none.

    Raises:
        ConfigError: one is no text, or holds several.
    """
    told = "texts such as 'train.lr=0.05', in a list"
    check("overrides", overrides, (Iterable,), told)
    given = [overrides] if isinstance(overrides, str) else [*overrides]
    for i, text in enumerate(given):
        check(f"overrides[{i}]", text, TEXT, told)
        if _SECOND.search(text):
            several = f"overrides[{i}] is {shorten(repr(text))}, which holds several"
            raise ConfigError(f"{several}; give a list with a text for each")
    return given
