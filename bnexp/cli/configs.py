"""`bnexp configs` and `bnexp validate`."""

import sys
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from bnexp.analysis.formatting import counted
from bnexp.cli import completion, terminal
from bnexp.cli.train import warn_of_identical
from bnexp.errors import ConfigError, StorageError


def configs(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A packaged config, to be printed.",
            metavar="NAME",
            autocompletion=completion.packaged_configs,
        ),
    ] = None,
    copy: Annotated[
        Path | None,
        typer.Option(help="Write the config to a new file, to change it there.", metavar="PATH"),
    ] = None,
) -> None:
    """List the packaged configs and what each shows, or print one."""
    from bnexp.config import copy_of, header, is_name, packaged, suggestion

    if name is not None:
        name = name.removesuffix(".yaml")
        known = packaged()
        if name not in known:
            hint = suggestion(name, known) or f"; there are {', '.join(known)}"
            raise ConfigError(f"{name}: no such packaged config{hint}")
        if copy is None:
            print(copy_of(known[name]), end="")
            return
        own = copy.stem if is_name(copy.stem) else name
        try:
            with copy.open("x", encoding="utf-8") as file:
                file.write(copy_of(known[name], own))
        except FileExistsError:
            raise StorageError(f"{copy}: is there already, and stays as it is") from None
        except FileNotFoundError:
            raise StorageError(f"{copy}: there is no folder {copy.parent}; make it first") from None
        except OSError as error:
            raise StorageError(f"{copy}: {error.strerror or error}") from None
        print(copy)
        terminal.say(f"its name is {own}: it trains into results/{own}")
        return
    if copy is not None:
        raise ConfigError("configs --copy: which config? `bnexp configs` lists them")
    # A terminal breaks lines between words; a file or a pipe gets a line for each config.
    columns = terminal.width() or sys.maxsize
    for each, path in packaged().items():
        text = f"{each:14} {header(path)['What it shows']}"
        print(textwrap.fill(text, max(columns, 40), subsequent_indent=" " * 15))


def validate(
    config: Annotated[
        list[str],
        typer.Argument(
            help="YAML files, or names of packaged configs.",
            metavar="CONFIG",
            autocompletion=completion.configs,
        ),
    ],
) -> None:
    """Check configs without running them."""
    from bnexp.config import load

    mistakes = []
    for name in config:
        if "=" in name and not name.endswith(".yaml") and not Path(name).exists():
            hint = f"`bnexp train CONFIG {name} --dry-run` checks it with one"
            mistakes.append(f"{name}: an override, where a config is expected; {hint}")
            continue
        try:
            experiment = load(name)
        except ConfigError as error:
            mistakes += error.mistakes
        else:
            warn_of_identical(experiment)
            variants = counted(len(experiment.variants), "variant")
            print(f"{name}: valid; {variants}, {counted(len(experiment.seeds), 'seed')}")
    if mistakes:
        raise ConfigError(mistakes)
