"""The program `bnexp`: its commands, and what becomes of an error."""

import io
import os
import shlex
import signal
import sys
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperArgument, TyperCommand

from bnexp import __version__
from bnexp.cli.compare import compare
from bnexp.cli.configs import configs, validate
from bnexp.cli.export import export
from bnexp.cli.plot import plot
from bnexp.cli.report import report
from bnexp.cli.runs import runs
from bnexp.cli.terminal import say
from bnexp.cli.train import train
from bnexp.cli.verify import verify
from bnexp.errors import BnexpError, ConfigError, InterruptedRun, StorageError, is_out_of_memory

app = typer.Typer(
    help="See what batch normalization does: train networks with and without it, record how the "
    "input of each nonlinearity is spread, and compare.",
    epilog="Start here: bnexp train --config quickstart   (needs no download)",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class Command(TyperCommand):
    """A command whose help describes its arguments without Python's names for their types."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters."""
        parameters = super().get_params(ctx)
        for each in parameters:
            if isinstance(each, TyperArgument):
                each.display_type_rich = _nothing  # type: ignore[method-assign]
        return parameters


def _nothing(ctx: object) -> None:
    """What the help says of the type of an argument."""


command = partial(app.command, cls=Command)
command(epilog="Example: bnexp train fig1 name=lr train.steps=5000 --grid train.lr=0.1,0.2")(train)
command(epilog="Example: bnexp plot results/fig1 --source batch --unit 7 --format png,pdf")(plot)
command(epilog="Example: bnexp compare results/gamma --baseline model.gamma=false")(compare)
command(epilog="Example: bnexp export results/fig1 --to parquet --source probe")(export)
command(epilog="Example: bnexp verify --explain 3")(verify)
command(epilog="Example: bnexp report results/fig1 --out fig1.html")(report)
command(epilog="Example: bnexp runs results/gamma model.gamma=false --state failed")(runs)
command(epilog="Example: bnexp configs fig1 --copy mine.yaml")(configs)
command(epilog="Example: bnexp validate quickstart mine.yaml")(validate)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of every error.")
    ] = False,
) -> None:
    if version:
        print(f"bnexp {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        say(context.get_help())
        raise typer.Exit(ConfigError.exit_code)


def program() -> NoReturn:
    """The console script: `main`, after whose last word the process ends at once.

    Python would first take down all that was loaded, module by module. That takes a fifth of a
    second, in which a signal would still change the exit code. Nothing is left to do then: files
    are closed, workers have ended, and `main` has flushed the streams.
    """
    code: int | str | None = InterruptedRun.exit_code
    try:
        main()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:  # which came after everything was said
        pass
    os._exit(int(code or 0))


def main() -> None:
    """Run the command of `sys.argv`, and raise `SystemExit` with its exit code.

    An error of ours becomes its text on stderr and its exit code. A closed pipe is no error: in
    `bnexp verify | head -1`, the reader has seen enough.
    """
    # SIGTERM ends a command as Ctrl-C does, whatever is at work.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _prepare_streams()
    # bnexp only writes pictures into files. A backend for windows may not even be installed here.
    os.environ["MPLBACKEND"] = "agg"
    words = [word for word in sys.argv[1:] if word != "--debug"]
    code = 0
    with suppress(BrokenPipeError):
        code = _exit_code(words, debug="--debug" in sys.argv)
        if code == InterruptedRun.exit_code and words[:1] == ["train"]:
            again = [word for word in words if word != "--restart"]
            say(f"continue with: {shlex.join(['bnexp', *again])}")
    _discard_what_nobody_takes()
    raise SystemExit(code)


def _exit_code(words: list[str], *, debug: bool) -> int:
    """Run a command; returns its exit code after saying what went wrong, if anything did."""
    try:
        try:
            _check_working_directory()
            code = app(args=words, prog_name="bnexp", standalone_mode=False) or 0
            if code == InterruptedRun.exit_code:  # which typer makes of Ctrl-C, without a word
                raise InterruptedRun("stopped")
        except SystemExit as end:
            if isinstance(end.__context__, BrokenPipeError):  # which typer turns into exit code 1
                raise end.__context__ from None
            code = int(end.code or 0)
        # What print() has only buffered meets a closed pipe or a full disk here, and not when the
        # interpreter ends, where it would be a traceback.
        if sys.stdout is not None:  # as in `bnexp train fig1 >&-`
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  (every error becomes a sentence and a code)
        if debug:
            say(traceback.format_exc().rstrip())
        text, code = _misused(error, words) or _described(error)
        say(f"bnexp: {text}")
    return code


def _misused(error: Exception, words: list[str]) -> tuple[str, int] | None:
    """The text of an error of typer's own parser, and its exit code; `None` of any other error."""
    usage_error: Any = typer.BadParameter.__mro__[1]  # typer itself does not name it
    if not isinstance(error, usage_error):
        return None
    commands = {each.callback.__name__ for each in app.registered_commands if each.callback}
    command = f"bnexp {words[0]}" if words[:1] and words[0] in commands else "bnexp"
    # Pydantic's messages go on with what its parser was unable to do.
    text = error.format_message().partition(", unable to parse")[0]
    end = "" if text.endswith((".", "?")) else "."
    return f"{text}{end}\n`{command} -h` shows what there is.", 2


def _prepare_streams() -> None:
    """Make the three standard streams fit for use, whatever the shell left of them.

    A stream that was closed, as by `2>&-`, leaves its number to the next file that is opened, and
    what a library writes to stderr would end up there. It is pointed at nothing. A character that
    the encoding of the output does not know, such as ± in ASCII, becomes a question mark.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _check_working_directory() -> None:
    """Check that the working directory is still there: paths and processes start from it.

    Raises:
        StorageError: it was deleted.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise StorageError("the working directory was deleted; change to another one") from None


def _described(error: Exception) -> tuple[str, int]:
    """The text of an error, and its exit code."""
    if isinstance(error, BnexpError):
        return str(error), error.exit_code
    if is_out_of_memory(error):
        what = " ".join(str(error).split())[:200] or "no memory was left"
        return f"out of memory ({what}); raise the memory limit, or end other programs", 1
    if isinstance(error, OSError):  # files are the rooms' own care; what is left is the output
        where = error.filename or "standard output"
        return f"{where}: {error.strerror or error}", StorageError.exit_code
    # A mistake of ours should not cost users a page of text.
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"internal error ({what}); --debug shows where", 1


def _discard_what_nobody_takes() -> None:
    """Point streams that cannot be written at nothing, so that the flush at exit succeeds."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
