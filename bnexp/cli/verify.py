"""`bnexp verify`."""

from pathlib import Path
from typing import Annotated

import typer

from bnexp.cli.terminal import say, told
from bnexp.errors import ConfigError, printable


def verify(
    experiment: Annotated[
        Path | None,
        typer.Argument(help="The folder of a trained experiment.", metavar="EXPERIMENT"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    explain: Annotated[
        int | None,
        typer.Option(help="Print the derivation of one check, and its numbers.", metavar="N"),
    ] = None,
) -> None:
    """Check what is said of batch normalization.

    Each claim is computed anew, and the exit code is 1 if one fails. Without EXPERIMENT, these are
    the mathematics and short trainings on the digits. With it, they are about its trained networks
    and about the paper's claims, judged by its numbers. A claim for which the evidence is missing
    is "not tested", which is no failure.
    """
    import json
    from dataclasses import asdict

    from bnexp.analysis import results
    from bnexp.verify import suite
    from bnexp.verify.check import Verdict, closing_line

    if explain is not None:
        from bnexp.verify import explanations

        if experiment is not None or as_json:
            raise ConfigError("--explain prints one check as text: no EXPERIMENT, no --json")

        print(explanations.explain(explain))
        return
    read = results.read_experiment(experiment) if experiment else None
    with told(*(read.problems.values() if read else ())):
        checks = suite.experiment_checks(read) if read else suite.checks()
        found = []
        for check in checks:
            found.append(check)
            if not as_json:
                print(printable(check.lines()), flush=True)
        if as_json:
            print(json.dumps([asdict(check) for check in found], indent=1))
        say(closing_line(found))
    if any(check.verdict is Verdict.FAILS for check in found):
        raise SystemExit(1)
