"""Damage every file of an experiment in every way, and read it with every reader.

    nice -n 19 python scripts/damage.py --sample 20 --progress /tmp/damage.jsonl

Of each damage, a reader may do one of two things: refuse with exit 3 or 4 (`train`: 2 as well,
where a run is of other settings) and the name of the damaged file or run, or give byte for byte
what it gives of the undamaged files. Everything else is a failure, and is listed.

The damages are: every single-bit flip of the headers (of each log, and of the config's checksum), a
random sample of the flips of the rest of every file, truncations, a missing file, and files and
folders that are swapped between runs and between experiments. Each reader reads the share of them
that SHARES states, so that the slow ones end. Which ones is drawn from the seed, the damage's
number and the reader.

Each damage is a line in the file of --progress, so the same command continues where it was cut off;
the experiments are made anew for it, and differ from the earlier ones in times alone. The counts
and the failures are written to --out.
`tests/test_training/test_readers.py` makes a sample of the same cases.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import bnexp
from bnexp import cli
from bnexp.config import (
    DataConfig,
    Experiment,
    ModelConfig,
    RecordConfig,
    Settings,
    TrainConfig,
    Variant,
)
from bnexp.errors import BnexpError
from bnexp.files.checkpoint import load_tensors
from bnexp.files.experiment_folder import CONFIG, SUMMARY, TRAIN_LOG, write_config
from bnexp.files.headers import npy_header
from bnexp.files.locks import HOLDER, LOCK
from bnexp.files.run_folder import LOGS, MODEL, RunPlan
from bnexp.training.growth import check_growth
from bnexp.training.plans import is_done, plans_of
from bnexp.training.run import train

EXPERIMENT, OTHER, PUBLISHED = "experiment", "other", "published"
Outcome = tuple[int, bytes, str]
Reader = Callable[[Path], Outcome]


# The experiments


class Silent:
    """Listens to a run and says nothing."""

    def stop(self) -> bool:
        """Go on."""
        return False

    def say(self, text: str) -> None:
        """Take a line for the user."""

    def progress(self, plan: RunPlan, step: int, loss: float, accuracy: float) -> None:
        """Take how far the run is."""


def experiment(lr: float = 0.5) -> Experiment:
    """A plain and a normalized network, two seeds, a few steps; every log is recorded."""
    settings = Settings(
        DataConfig("digits", "unused"),
        ModelConfig((3, 2), weight_std=0.3),
        TrainConfig(steps=10, batch_size=20, lr=lr, checkpoint_every=6, device="cpu"),
        RecordConfig(
            layers="all",
            probe_size=20,
            probe_every=4,
            evaluate_every=3,
            ics_every=5,
            statistics_every=5,
        ),
    )
    normalized = replace(settings, model=replace(settings.model, norm="batch", bias=False))
    variants = (
        Variant("baseline", {}, settings),
        Variant("batchnorm", {"model.norm": "batch", "model.bias": False}, normalized),
    )
    return Experiment(f"lr{lr:g}".replace(".", "_"), (0, 1), settings, variants)


def carry_on(made: Experiment, folder: Path) -> None:
    """What `bnexp train` does, in this process."""
    check_growth(made, folder)
    write_config(folder, made)
    for plan in plans_of(made, folder):
        if not is_done(plan):
            train([plan], {}, Silent())


def build(folder: Path) -> None:
    """Two finished experiments that differ in the learning rate, and the first as published."""
    for name, lr in ((EXPERIMENT, 0.5), (OTHER, 0.25)):
        (folder / name).mkdir()
        carry_on(experiment(lr), folder / name)
        numbers = bnexp.load(folder / name).summary
        write_summary(folder / name, numbers)
        (folder / name / TRAIN_LOG).write_text("trained\n")
    (folder / PUBLISHED).mkdir()
    for name in (CONFIG, SUMMARY):
        shutil.copy(folder / EXPERIMENT / name, folder / PUBLISHED)


def write_summary(folder: Path, numbers: Mapping[str, Any]) -> None:
    """Write summary.json as the command does, but for the environment."""
    from bnexp.files.sealed import write_sealed

    write_sealed(folder / SUMMARY, numbers)


# The readers. Each takes the folder of an experiment, and returns an exit code, all that was given
# out as bytes, and what was said. A new command is a new line in READERS.


def command(*words: str, files: Callable[[], Iterator[Path]] | None = None) -> Outcome:
    """A command in this process; its output is stdout and the files that it wrote."""
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["bnexp", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = argv
    written = b"".join(path.read_bytes() for path in files()) if files else b""
    return code, out.getvalue().encode() + written, err.getvalue()


def plot(folder: Path) -> Outcome:
    """`bnexp plot`, and the picture."""
    figure = folder.parent / "drawn.svg"
    figure.unlink(missing_ok=True)
    words = "plot", str(folder), "--format", "svg", "--out", str(figure.with_suffix(""))
    return command(*words, files=lambda: folder.parent.glob(figure.name))


def page(folder: Path) -> Outcome:
    """`bnexp report`, and the page."""
    path = folder.parent / "page.html"
    path.unlink(missing_ok=True)
    words = "report", str(folder), "--out", str(path)
    return command(*words, files=lambda: folder.parent.glob(path.name))


def export(folder: Path) -> Outcome:
    """`bnexp export --to csv`, and the files that it writes."""
    out = folder.parent / "exported"
    shutil.rmtree(out, ignore_errors=True)
    words = "export", str(folder), "--to", "csv", "--out", str(out)
    return command(*words, files=lambda: (p for p in sorted(out.rglob("*")) if p.is_file()))


def api(folder: Path) -> Outcome:
    """Everything that `bnexp.load` offers."""
    taken = []
    try:
        loaded = bnexp.load(folder)
        if loaded.problems:
            return 4, b"", "; ".join(loaded.problems.values())
        taken.append(repr(loaded).encode() + json.dumps(loaded.summary).encode())
        taken.append(loaded.compare().to_csv().encode())
        if any(folder.glob("*/seed-*")):
            taken += [np.asarray(log).tobytes() for log in (loaded.probe, loaded.minibatch)]
            taken.append(loaded.metrics.to_csv().encode())
            for variant in loaded.variants:
                for seed in loaded.seeds:
                    state = loaded.network(variant, seed).state_dict()
                    taken += [value.numpy().tobytes() for value in state.values()]
    except BnexpError as error:
        return error.exit_code, b"", str(error)
    return 0, b"".join(taken), ""


def training(folder: Path) -> Outcome:
    """`bnexp train` on a copy of the experiment, and then all logs and networks.

    A run that is done again has other times in its status, so the status is not compared.
    """
    copy = folder.parent / "training"
    shutil.copytree(folder, copy, symlinks=True)
    try:
        carry_on(experiment(), copy)
        code, _, said = api(copy)
        taken = [path.read_bytes() for path in sorted(copy.glob("*/*/*")) if path.name in LOGS]
        for path in sorted(copy.glob(f"*/*/{MODEL}")):
            taken += [value.numpy().tobytes() for value in load_tensors(path).values()]
    except BnexpError as error:
        return error.exit_code, b"", str(error).replace(str(copy), str(folder))
    finally:
        shutil.rmtree(copy)
    return code, b"".join(taken), said.replace(str(copy), str(folder))


READERS: dict[str, Reader] = {
    "plot": plot,
    "compare": lambda folder: command("compare", str(folder), "--json"),
    "report": page,
    "export": export,
    "verify": lambda folder: command("verify", str(folder)),
    "runs": lambda folder: command("runs", str(folder)),
    "API": api,
    "train": training,
}
OF_PUBLISHED = ("compare", "API")  # what reads a folder without runs
FLIPS = ("flip in a header", "flip")
SHARES = {  # of the flips, and of all other damages, for each reader
    "plot": (0.02, 0.5),
    "compare": (1.0, 1.0),
    "report": (0.005, 0.1),  # takes the longest
    "export": (0.2, 1.0),
    "verify": (0.03, 0.5),
    "runs": (1.0, 1.0),
    "API": (0.2, 1.0),
    "train": (0.05, 0.5),
}


# The damages


@dataclass(frozen=True)
class Damage:
    """One damage.

    Attributes:
        kind: `flip in a header`, `flip`, `truncation`, `missing` or `swap`.
        path: the damaged file or folder.
        content: what the file holds then; None: it is gone.
        swapped: what is exchanged with it.
    """

    kind: str
    path: Path
    content: bytes | None = None
    swapped: Path | None = None

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Do the damage, and undo it."""
        if self.swapped is not None:
            self._swap(self.swapped)
            try:
                yield
            finally:
                self._swap(self.swapped)
            return
        before = self.path.read_bytes()
        if self.content is None:
            self.path.unlink()
        else:
            self.path.write_bytes(self.content)
        try:
            yield
        finally:
            self.path.write_bytes(before)

    def _swap(self, other: Path) -> None:
        aside = self.path.with_name("aside")
        self.path.rename(aside)
        other.rename(self.path)
        aside.rename(other)


def files_of(folder: Path) -> list[Path]:
    """Every file of an experiment but the locks, which say nothing of the results."""
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in {LOCK, HOLDER}]


def flip(content: bytes, bit: int) -> bytes:
    """The content with one bit changed."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def header_bytes(path: Path) -> int:
    """How long the header of a log is, or the first line of the config; 0 for other files."""
    if path.suffix == ".npy":
        return len(npy_header(0, (1,)))
    first_line = path.name == CONFIG or path.suffix == ".csv"
    return path.read_bytes().find(b"\n") + 1 if first_line else 0


def header_flips(path: Path) -> Iterator[Damage]:
    """Every single-bit flip of a header."""
    content = path.read_bytes()
    for bit in range(8 * header_bytes(path)):
        yield Damage("flip in a header", path, flip(content, bit))


def sampled(path: Path, draw: random.Random, count: int) -> Iterator[Damage]:
    """Flips of the rest, truncations, and the file gone."""
    content = path.read_bytes()
    for _ in range(count):
        bit = draw.randrange(8 * header_bytes(path), 8 * len(content))
        yield Damage("flip", path, flip(content, bit))
    lengths = [0, 1, len(content) // 2, len(content) - 1]
    lengths += [draw.randrange(len(content)) for _ in range(min(4, count))]
    for length in sorted(lengths):
        yield Damage("truncation", path, content[:length])
    # A folder with a config and nothing else is an experiment that was not begun.
    if path.parent.name != PUBLISHED:
        yield Damage("missing", path)


def swaps(folder: Path) -> Iterator[Damage]:
    """Files and folders of one run in the place of another's, and of another experiment's."""
    first = folder / EXPERIMENT
    runs = sorted(first.glob("*/seed-*"))
    for one, two in [(runs[0], runs[1]), (runs[0], runs[2]), (runs[2], runs[3])]:
        yield Damage("swap", one, swapped=two)
        for path in files_of(one):
            if (two / path.name).exists():
                yield Damage("swap", path, swapped=two / path.name)
    for path in [*files_of(first), *runs, *sorted({run.parent for run in runs})]:
        if (other := folder / OTHER / path.relative_to(first)).exists():
            yield Damage("swap", path, swapped=other)
    yield Damage("swap", folder / PUBLISHED / SUMMARY, swapped=folder / OTHER / SUMMARY)


# The rule


def verdict(reader: str, undamaged: Outcome, outcome: Outcome, damage: Damage) -> str | None:
    """`refused` or `the same`; None where a reader did something else."""
    code, given, said = outcome
    if (code, given) == undamaged[:2]:
        return "the same"
    places = [damage.path, damage.path.parent]
    if damage.swapped is not None:
        places += [damage.swapped, damage.swapped.parent]
    named = any(str(place) in said + given.decode(errors="replace") for place in places)
    if reader == "runs":  # lists a damaged run as such
        return "refused" if named and b"damaged" in given else None
    refusals = {3, 4, 2} if reader == "train" else {3, 4}
    return "refused" if code in refusals and named else None


class Cases:
    """Two experiments in a folder, and what the readers give of them undamaged.

    Args:
        folder: where `build` has made them.
        readers: by name.
    """

    def __init__(self, folder: Path, readers: Mapping[str, Reader]) -> None:
        self.folder, self.readers = folder, readers
        self.undamaged = {
            (place, name): readers[name](folder / place)
            for place in (EXPERIMENT, PUBLISHED)
            for name in self._fitting(place)
        }

    def _fitting(self, place: str) -> list[str]:
        return [name for name in self.readers if place == EXPERIMENT or name in OF_PUBLISHED]

    def attempt(
        self, damage: Damage, reads: Callable[[str], bool] = lambda _: True
    ) -> Iterator[tuple[str, str | None, Outcome]]:
        """Each reader's name, what it did as `verdict` says, and the outcome itself.

        Args:
            damage: is done, and undone.
            reads: whether the reader of this name is to read it.
        """
        place = damage.path.relative_to(self.folder).parts[0]
        with damage.applied():
            for name in filter(reads, self._fitting(place)):
                outcome = self.readers[name](self.folder / place)
                yield name, verdict(name, self.undamaged[place, name], outcome, damage), outcome


def all_damages(folder: Path, seed: int, count: int) -> Iterator[Damage]:
    """Swaps; `count` flips of the rest of each file, truncations and losses; flips of headers.

    How many there are, and their order, depends on nothing that two builds do differently.
    """
    places = [path for name in (EXPERIMENT, PUBLISHED) for path in files_of(folder / name)]
    yield from swaps(folder)
    for path in places:
        draw = random.Random(f"{seed} {path.relative_to(folder)}")
        yield from sampled(path, draw, count)
    # Those of seed 1 are those of seed 0. Any part of them is a sample.
    headers = [
        each for path in places if path.parent.name != "seed-1" for each in header_flips(path)
    ]
    random.Random(seed).shuffle(headers)
    yield from headers


def no_sync(fd: object) -> None:
    """Leave to the system when files reach the disk: nothing here is to survive a power cut."""


def one(cases: Cases, number: int, damage: Damage, seed: int) -> dict[str, Any]:
    """What each reader did with a damage, as a line of the progress."""

    def reads(reader: str) -> bool:
        drawn = random.Random(f"{seed} {number} {reader}").random()
        return drawn < SHARES[reader][damage.kind not in FLIPS]

    did, failures = dict[str, str](), list[dict[str, Any]]()
    for reader, what, (code, _, said) in cases.attempt(damage, reads):
        did[reader] = what or "FAILED"
        if what is None:
            where = str(damage.path.relative_to(cases.folder))
            failures.append({"reader": reader, "kind": damage.kind, "file": where, "exit": code,
                             "said": said.replace(str(cases.folder), "")[-300:]})  # fmt: skip
    return {"number": number, "kind": damage.kind, "did": did, "failures": failures}


def main() -> int:
    """Make all damages; print and write the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sample", type=int, default=20, help="flips of the rest of each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, help="damages; the default is all of them")
    parser.add_argument("--progress", type=Path, help="a line for each damage; continued")
    parser.add_argument("--out", type=Path, default=Path("results/published/reliability"))
    arguments = parser.parse_args()
    os.fsync = no_sync
    with tempfile.TemporaryDirectory() as name:
        progress = arguments.progress or Path(name) / "progress.jsonl"
        progress.touch()
        done = [json.loads(line) for line in progress.read_text().splitlines()]
        build(Path(name))
        cases = Cases(Path(name), READERS)
        numbers = {each["number"] for each in done}
        with progress.open("a") as file:
            damages = [*all_damages(Path(name), arguments.seed, arguments.sample)]
            for number, damage in enumerate(damages[: arguments.most]):
                if number not in numbers:
                    done.append(one(cases, number, damage, arguments.seed))
                    file.write(json.dumps(done[-1]) + "\n")
                    file.flush()
                if number % 500 == 0:
                    failed = sum(len(each["failures"]) for each in done)
                    print(f"damage {number}: {failed} failures", flush=True)
    return report(arguments, done, len(damages))


def report(arguments: argparse.Namespace, done: list[dict[str, Any]], count: int) -> int:
    """Print and write the counts; the exit code."""
    from bnexp.files.provenance import provenance

    table: dict[str, dict[str, Counter[str]]] = {}
    for each in done:
        for reader, did in each["did"].items():
            table.setdefault(reader, {}).setdefault(each["kind"], Counter())[did] += 1
    failures = [failure for each in done for failure in each["failures"]]
    readings = sum(len(each["did"]) for each in done)
    summary = f"{readings:,} readings of {len(done):,} of {count:,} damages, {len(failures)} failed"
    print(summary)
    content = {
        "summary": summary,
        "seed": arguments.seed,
        "flips of the rest of each file": arguments.sample,
        "damages": Counter(each["kind"] for each in done),
        "share of the flips, and of the others, that each reader reads": SHARES,
        "readings": table,
        "failures": failures,
        "environment": provenance(),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "damage.json").write_text(json.dumps(content, indent=1) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
