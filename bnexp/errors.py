"""Every error a user can meet, and the exit code of each.

BnexpError
├── RunError          1    a run failed: it diverged, or a check did not hold
├── ConfigError       2    usage, or a config: every mistake at once, each with its place
├── DataError         3    data missing or damaged
├── StorageError      4    files or storage: disk full, read-only, not a run
│   ├── LockedError   4    another process works on the same files
│   └── DamagedError  4    a file of a run is not what was written
└── InterruptedRun  130    stopped by a signal, after a clean checkpoint

An error's text is one or two lines: what, where, what to do.
"""

from collections.abc import Sequence


class BnexpError(Exception):
    """The base: its text is for users, and `exit_code` for the shell."""

    exit_code = 1


class RunError(BnexpError):
    """A run failed, or a check did not hold."""


class ConfigError(BnexpError):
    """A config or a command line that cannot be used.

    Args:
        mistakes: one line each, as ``file:line:column: what; what to do``.
    """

    exit_code = 2

    def __init__(self, mistakes: Sequence[str] | str) -> None:
        self.mistakes = [mistakes] if isinstance(mistakes, str) else list(mistakes)
        super().__init__("\n".join(self.mistakes))

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[list[str]]]:
        return type(self), (self.mistakes,)


class DataError(BnexpError):
    """A data set is missing, damaged, or could not be downloaded."""

    exit_code = 3


class StorageError(BnexpError):
    """Files or storage: disk full, no permission, not a run of bnexp."""

    exit_code = 4


class LockedError(StorageError):
    """Another process works on the same files."""


class DamagedError(StorageError):
    """A file of a run is not what was written."""


class InterruptedRun(BnexpError):
    """Stopped by a signal, after a clean checkpoint."""

    exit_code = 130
