"""Tables as text in columns, as wide as the line of a terminal."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest

from bnexp.analysis.formatting import cell

MORE = "More columns are shown by a wider terminal, or with --all."
LEAST = 12  # characters of a column of texts, below which it is left out


def aligned(
    rows: Sequence[Mapping[str, object]],
    line_width: int | None = None,
    important: Collection[str] = (),
    more: str = MORE,
) -> str:
    """Rows of equal keys as plain text, in columns; numbers to the right.

    Args:
        rows: the cells by heading.
        line_width: the characters of a line; columns that do not fit are left out, the last first,
            and a line says so. None: all are shown.
        important: the headings of columns that are left out after all others, and only where they
            do not fit with their texts in several lines either.
        more: what the line says.
    """
    if not rows:
        return ""
    table = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    columns = [
        _Column(texts, important=texts[0] in important) for texts in zip(*table, strict=True)
    ]
    shown = list(columns)
    if line_width is not None:
        while len(shown) > 1 and _total(column.wide for column in shown) > line_width:
            others = [i for i, column in enumerate(shown) if not column.important]
            if not others and _total(column.least for column in shown) <= line_width:
                break
            del shown[max(others, default=len(shown) - 1)]
        # What is left over is taken from the widest columns, which need it the least.
        while _total(column.wide for column in shown) > line_width:
            able = [column for column in shown if column.wide > column.least]
            if not able:
                break
            max(able, key=lambda column: column.wide).wide -= 1
    lines = [
        "  ".join(column.place(part) for column, part in zip(shown, parts, strict=True)).rstrip()
        for row in range(len(table))
        for parts in zip_longest(*(column.lines(row) for column in shown), fillvalue="")
    ]
    return "\n".join([*lines, more] if len(shown) < len(columns) else lines)


def _total(widths: Iterable[int]) -> int:
    """The characters of a line of columns with two blanks between them."""
    return sum(wide + 2 for wide in widths) - 2


class _Column:
    """A column of a table.

    Attributes:
        important: whether it is left out after others.
        wide: the characters of a line.
        least: how few these may become.
    """

    def __init__(self, texts: Sequence[str], *, important: bool) -> None:
        self.texts, self.important = texts, important
        self.numbers = all(text[:1] in "+-0123456789" for text in texts[1:])
        self.wide = self.least = max(map(len, texts))
        if important and not self.numbers:
            self.least = min(self.wide, LEAST)

    def place(self, part: str) -> str:
        """A part of a text with blanks, as wide as the column."""
        return part.rjust(self.wide) if self.numbers else part.ljust(self.wide)

    def lines(self, row: int) -> list[str]:
        """The text of a row in parts that fit the column.

        They end after a blank or a mark where they can, as in `activation=relu,`.
        """
        text, parts = self.texts[row], [""]
        if len(text) <= self.wide:
            return [text]
        for word in re.findall(r"[^ ,=/]*[ ,=/]|[^ ,=/]+", text):
            if len(parts[-1] + word.rstrip()) <= self.wide:
                parts[-1] += word
            else:
                parts += [word[i : i + self.wide] for i in range(0, len(word), self.wide)]
        return [part for part in map(str.rstrip, parts) if part]
