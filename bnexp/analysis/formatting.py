"""How values and numbers are written in tables, captions and labels."""

from math import inf, isnan

from bnexp.errors import printable

HUGE = 1e6  # such as the loss of a network that diverged
DECIMALS = (".1f", ".2f", ".3f", ".4f")  # forms of measures; steps are whole, and keep all digits


def cell(value: object) -> str:
    """A value as YAML would write it; nothing for None."""
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(cell, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    # A name that was read from the disk may hold anything, and one cell is one line.
    return printable(str(value)).replace("\n", "\\n").replace("\t", "\\t")


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as `1 run` and `2,000 runs`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def has_value(value: object, text: str) -> bool:
    """Whether a setting has the value of this text; 0.10 is 0.1, and [8, 6] is [8,6]."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return (cell(value) or "null").replace(" ", "") == text.replace(" ", "")


def short(value: float, form: str) -> str:
    """The value in this form; `2.1e9` where it is too large for digits after its point to count."""
    if not HUGE <= abs(value) < inf or not form.endswith(DECIMALS):
        return f"{value:{form}}"
    digits, _, exponent = f"{value:{'+' if '+' in form else ''}.1e}".partition("e")
    return f"{digits}e{int(exponent)}"


def number(value: float | None, form: str) -> str:
    """The value in this form; `-` for None and NaN.

    One digit where the form would make a value that is not 0 look like it.
    """
    if value is None or isnan(value):
        return "-"
    text = short(value, form)
    looks_zero = value and not text.strip("+-0.")
    return f"{value:{'+' if '+' in form else ''}.1g}" if looks_zero else text
