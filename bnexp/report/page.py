"""The page: what stands on it, in the order of reading, and writing it to one file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files as package_files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bnexp import __version__
from bnexp.analysis import summary
from bnexp.analysis.comparison import compare
from bnexp.analysis.formatting import cell
from bnexp.analysis.numbers import NOTE, ExperimentNumbers, differing
from bnexp.analysis.results import ExperimentResults
from bnexp.analysis.tables import method, settles
from bnexp.errors import StorageError
from bnexp.figures.experiment_figures import figures_of, plot_command
from bnexp.files.atomic import read_whole, write_whole
from bnexp.files.experiment_folder import CONFIG
from bnexp.report import sentences, tables
from bnexp.report.explorer import BYTES, Explorer, explorer
from bnexp.report.svg import inline_svg
from bnexp.verify import claims
from bnexp.verify.check import Check

MARK = '<meta name="generator" content="bnexp'  # by which bnexp knows a page as its own
FROM_LOGS = b'<figure class="drawing">', b'<section class="explorer"'  # what only logs can make
MOST_BYTES, TEXTS = 2_000_000, 300_000  # of a page; of its texts, tables, style and script
MOST_PAIRS = 4  # of networks with and without a norm, whose claims a page takes
MOST_ADDRESSED = 1 << 30  # of a page that is to be replaced


@dataclass(frozen=True)
class Drawing:
    """A figure on the page.

    Attributes:
        name: of its file, without suffix.
        svg: the element.
        caption: the text below it.
        command: which draws it again.
    """

    name: str
    svg: Markup
    caption: str
    command: str


@dataclass(frozen=True)
class Section:
    """All that the page says of one experiment.

    Attributes:
        numbers: of summary.json.
        headline: one sentence: what was compared, and what came out.
        drawings: the figures; none where the logs are gone.
        checks: the paper's claims, with the verdicts of `bnexp verify`, by what they are about.
        explorer: of the logs; `None` where there is nothing to explore.
        variants: the table of variants.
        differences: the table of differences.
        method: how the verdicts were come by.
        settings: those in which the variants differ, and those that all share.
        origin: versions, commit, processor and command, in words.
        problems: what is wrong with variants of which a run cannot be read, by name.
        advice: what to do where the logs are gone; else empty.
    """

    numbers: ExperimentNumbers
    headline: sentences.Words
    drawings: Sequence[Drawing]
    checks: Mapping[str, Sequence[Check]]
    explorer: Explorer | None
    variants: tables.Table
    differences: tables.Table
    method: str
    settings: tuple[tables.Table, Mapping[str, str]]
    origin: Mapping[str, str]
    problems: Mapping[str, str]
    advice: str


def write_report(folders: Sequence[Path], out: Path) -> list[str]:
    """Write the page of these experiments; returns what is wrong with runs left out.

    Args:
        folders: of the experiments.
        out: where the page goes. An earlier page of bnexp is replaced.

    Raises:
        StorageError: there is no experiment, the page cannot be written, or another file is there,
            or an earlier page that was made from logs which are gone.
    """
    earlier = _earlier(out)
    found = [(folder, *summary.read_numbers(folder)) for folder in folders]
    drawn = [
        _drawings(place, numbers, results) for place, (_, numbers, results) in enumerate(found)
    ]
    # What figures and texts leave of the page is the explorers'; base64 makes four bytes of three.
    taken = sum(len(drawing.svg) for each in drawn for drawing in each)
    budget = max(min(BYTES, (MOST_BYTES - TEXTS - taken) * 3 // 4), 0) // len(folders)
    sections = [
        section_of(folder, numbers, results, drawings, budget)
        for (folder, numbers, results), drawings in zip(found, drawn, strict=True)
    ]
    page = render(sections).encode()
    gone = [section.advice for section in sections if section.advice]
    if gone and any(page.count(part) < earlier.count(part) for part in FROM_LOGS):
        raise StorageError(
            f"{out}: has figures or an explorer, made from logs that are gone; it stays as it is.\n"
            f"Give another --out, or make the logs again: {gone[0]}"
        )
    write_whole(out, page)
    return [problem for section in sections for problem in section.problems.values()]


def _earlier(out: Path) -> bytes:
    """The page of bnexp that is to be replaced; empty where there is none.

    Raises:
        StorageError: a file that bnexp did not write is there.
    """
    if not out.exists() and not out.is_symlink():
        return b""
    content = read_whole(out, "give another --out", MOST_ADDRESSED)
    if MARK.encode() not in content[:4096]:
        raise StorageError(
            f"{out}: is there already, and bnexp did not write it.\nGive another --out."
        )
    return content


def section_of(
    folder: Path,
    numbers: ExperimentNumbers,
    results: ExperimentResults | None,
    drawings: Sequence[Drawing],
    budget: int,
) -> Section:
    """What the page shows of one experiment.

    Args:
        folder: the experiment's.
        numbers: its summary.
        results: its logs; None: they are gone.
        drawings: its figures.
        budget: bytes of packed numbers in its explorer.
    """
    compared = compare([(folder, numbers)])
    settings = [each.settings for each in numbers.variants.values()]
    keys = differing(settings)
    shared = {
        key: cell(value)
        for key, value in settings[0].items()
        if key not in keys and key != "data.root"
    }
    return Section(
        numbers,
        sentences.headline(numbers, compared),
        drawings,
        _checks(numbers, results),
        explorer(results, budget) if results else None,
        tables.variants(numbers),
        tables.differences(compared),
        method(compared),
        (tables.settings(numbers, keys), shared),
        sentences.origin(folder, results),
        results.problems if results else {},
        "" if results else f"bnexp train --config {folder / CONFIG}",
    )


def _checks(
    numbers: ExperimentNumbers, results: ExperimentResults | None
) -> dict[str, list[Check]]:
    """The paper's claims, by the variants they are about, as many as a page takes."""
    found: dict[str, list[Check]] = {}
    for each in claims.checks(numbers, results) if len(numbers.pairs) <= MOST_PAIRS else ():
        subject, _, claim = each.claim.partition(": ")
        found.setdefault(subject, []).append(replace(each, claim=claim))
    return found


def _drawings(
    place: int, numbers: ExperimentNumbers, results: ExperimentResults | None
) -> list[Drawing]:
    if results is None or not any(len(v.metrics.steps) for v in results.variants.values()):
        return []
    drawn = []
    for name, picture in figures_of(results, numbers).items():
        svg = Markup(inline_svg(picture, f"{name}-{place}"))
        drawn.append(Drawing(name, svg, picture.caption, plot_command(results.name, name)))
    return drawn


def render(sections: Sequence[Section]) -> str:
    """The page as HTML. Every text of an experiment is escaped by the template."""
    templates = Environment(
        loader=PackageLoader("bnexp.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    here = package_files("bnexp.report")
    return templates.get_template("page.html").render(
        sections=sections,
        title=", ".join(each.numbers.experiment for each in sections),
        version=__version__,
        style=Markup(here.joinpath("page.css").read_text(encoding="utf-8")),
        script=Markup(here.joinpath("explorer.js").read_text(encoding="utf-8")),
        note=NOTE,
        settles=settles,
        is_number=lambda part: isinstance(part, sentences.Number),
        json=json.dumps,
    )
