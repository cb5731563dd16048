"""Every error that a user can meet, and its exit code.

BnexpError
├── RunError          1    a run failed: its loss is not finite, or its process was killed
├── ConfigError       2    usage or a config is wrong: every mistake at once, each with its place
├── DataError         3    a data set is missing or damaged
├── StorageError      4    files: disk full, read-only, not an experiment
│   ├── LockedError   4    another process works on the same files
│   └── DamagedError  4    a file of a run is not what was written
└── InterruptedRun  130    stopped by a signal, after a clean checkpoint

The text of an error is one or two lines: what is wrong, where, and what to do.
"""

import re
from collections.abc import Sequence


class BnexpError(Exception):
    """The base of all errors: its text is for users, and `exit_code` is for the shell."""

    exit_code = 1


class RunError(BnexpError):
    """A run failed: its loss is not finite, or its process was killed again and again."""


class ConfigError(BnexpError):
    """A config or a command line cannot be used.

    Args:
        mistakes: one line each, as `file:line:column: what; what to do`.
    """

    exit_code = 2

    def __init__(self, mistakes: Sequence[str] | str) -> None:
        self.mistakes = [mistakes] if isinstance(mistakes, str) else list(mistakes)
        super().__init__("\n".join(self.mistakes))

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[list[str]]]:
        # Pickling, on the way from a worker process, would hand over the joined text alone.
        return type(self), (self.mistakes,)


class DataError(BnexpError):
    """A data set is missing or damaged, or could not be downloaded."""

    exit_code = 3


class StorageError(BnexpError):
    """Files cannot be read or written: disk full, no permission, not an experiment."""

    exit_code = 4


class LockedError(StorageError):
    """Another process works on the same files."""


class DamagedError(StorageError):
    """A file of a run is not what was written."""


class InterruptedRun(BnexpError):
    """The run was stopped by a signal, after a clean checkpoint."""

    exit_code = 130


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the system had no more memory.

    Neither torch nor the loader of shared libraries has a class of its own for it.
    """
    words = "out of memory|allocate memory|failed to map segment|can't start new thread"
    return isinstance(error, MemoryError) or re.search(words, str(error)) is not None


def printable(text: str) -> str:
    r"""The text with control characters as escapes, such as `\x1b`; lines and tabs stay.

    Names of folders and files reach the terminal, and a name may hold a sequence that moves its
    cursor or changes its title.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
