"""What an experiment says of itself when it is printed, or shown in a notebook."""

from collections.abc import Iterator
from html import escape
from pathlib import Path

from bnexp.analysis.formatting import counted
from bnexp.analysis.numbers import ExperimentNumbers
from bnexp.analysis.results import ExperimentResults


def as_text(path: Path, numbers: ExperimentNumbers, results: ExperimentResults | None) -> str:
    """A line for the experiment, and one for each thing that it holds."""
    lines = [f"bnexp experiment {numbers.experiment!r} in {path}"]
    lines += [f"  {name}: {text}" for name, text in _held(numbers, results)]
    return "\n".join(lines)


def as_html(path: Path, numbers: ExperimentNumbers, results: ExperimentResults | None) -> str:
    """The same as a table."""
    head = f"bnexp experiment <b>{escape(numbers.experiment)}</b> in {escape(str(path))}"
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>"
        for name, text in _held(numbers, results)
    )
    return f"<p>{head}</p><table>{rows}</table>"


def _held(
    numbers: ExperimentNumbers, results: ExperimentResults | None
) -> Iterator[tuple[str, str]]:
    """Each variant and each of its logs of percentiles, and what there is of it in words."""
    for name, each in numbers.variants.items():
        accuracy = each.measures.get("test_accuracy")
        told = f", test accuracy {accuracy.text('.4f')}" if accuracy else ""
        seeds = counted(len(each.seeds), "seed")
        yield name, f"{each.state}, {seeds}, step {each.step:,}{told}"
        if results and (variant := results.variants.get(name)):
            for kind, log in (("probe", variant.probe), ("minibatch", variant.minibatch)):
                if log is not None:
                    yield f"{name}, {kind}", f"{len(log.steps):,} rows of {len(log.layer):,} units"
    for name, text in (results.problems if results else {}).items():
        yield name, f"cannot be read in full: {text}"
