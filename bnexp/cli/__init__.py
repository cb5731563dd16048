"""The command line: it parses words, calls the room that does the work, prints what comes back, and
turns an error into its exit code.

Each command is a function in a module of its own, `application` registers them and turns errors
into exit codes, `terminal` is what all of them say, and `completion` what the shell offers on Tab.
Data go to stdout: tables, paths, YAML. Everything said to the user goes to stderr: progress, advice
and errors. The commands may import every room, and do so when they are called, so that `bnexp
--help` loads neither torch nor matplotlib. Begin with `application`.
"""

from bnexp.cli.application import main, program

__all__ = ["main", "program"]
