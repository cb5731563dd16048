"""What error texts have in common: "did you mean", and texts of users cut to a readable length."""

import difflib
from collections.abc import Iterable

_LONGEST = 60  # characters of a user's text that an error repeats
_SIMILAR = 0.65  # how alike two words must be, from 0 to 1, before one is suggested for the other


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean '...'?` with the known word that is nearest, or nothing if none is near."""
    words = [*known]
    # Of a dotted key, the part before the dot may be left out.
    whole = (each for each in words if each.endswith(f".{word.lower()}"))
    near = next(whole, None) or nearest(word.lower(), words)
    return "" if near is None else did_you_mean(near)


def did_you_mean(word: str) -> str:
    """The question as it ends an error: `; did you mean '...'?`."""
    return f"; did you mean '{word}'?"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is nearest to this one, or `None` if none is near enough."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=_SIMILAR)
    return close[0] if close else None


def shorten(text: str) -> str:
    """The text as it can stand in an error: printable, and at most 60 characters long."""
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
