"""Kill a small experiment at random moments until it ends; its files must be as if undisturbed.

    python scripts/stress.py --kills 1000 --side-by-side 3 --progress /tmp/stress.jsonl

One repetition starts `bnexp train` on a folder of its own, and kills it at a random place of a
chosen moment: while the command or a worker imports, while the kernels are compiled, in training,
when a checkpoint is put in place, and while the figures are drawn. Then it starts the command
again, and again, and lets it end at last. About a third of the repetitions let a finished smaller
experiment grow, by steps, by a seed or by a variant. SIGKILL goes to the command with all its
processes, to the command alone, to one worker, to the server that the workers are forked from, or
to Python's resource tracker; SIGTERM and SIGINT go to the command, and SIGTERM to one worker.

After every kill, each run is read: what its status promises must be there, and must be the
beginning of what the undisturbed run wrote. At the end every file is compared, bit by bit.

Each repetition is a line in the file of --progress, and is drawn from the seed and its own number.
So the same command continues where it was cut off. The outcome is written to --out; exit 1 if
anything differs.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from bnexp.analysis.results import read_experiment
from bnexp.errors import StorageError
from bnexp.files.status import read_status

CONFIG = """
name: stress
seeds: [0, 1]
data: {{name: digits}}
model: {{hidden: [30, 20]}}
train: {{steps: {steps}, batch_size: 30, lr: 0.5, checkpoint_every: 500}}
record: {{layers: all, probe_size: 200, probe_every: 40, evaluate_every: 100}}
variants:
  baseline: {{}}
  batchnorm: {{model: {{norm: batch, bias: false}}}}
"""
SMALLER = ("train.steps=700", "seeds=[1]", "variants.batchnorm")  # what an experiment grows from
KINDS = {  # what is sent to whom, and how often
    "SIGKILL to the command and all its processes": 6,
    "SIGKILL to the command alone": 4,
    "SIGKILL to one worker": 6,
    "SIGKILL to the fork server": 3,
    "SIGKILL to the resource tracker": 1,
    "SIGTERM to the command": 1,
    "SIGTERM to one worker": 1,
    "SIGINT to the command": 1,
}
MOMENTS = {
    "importing (command)": 3,
    "importing (worker)": 4,
    "training": 5,
    "checkpoint": 4,
    "drawing": 4,
}
GOES_ON = (  # the command does then
    "SIGKILL to one worker",
    "SIGKILL to the fork server",
    "SIGKILL to the resource tracker",
)
TRIES = 3  # of a run whose worker is killed, before the command gives it up
STEPS = 6_000
MOST = 14  # signals in one repetition
COMPARED = (
    "batch_percentiles.npy",
    "probe_percentiles.npy",
    "norm_parameters.npy",
    "metrics.csv",
    "percentiles.json",
)


def run_folders(out: Path) -> list[Path]:
    """The folders of all runs that were begun."""
    return sorted(path.parent for path in out.glob("*/seed-*/status.json"))


def start(config: Path, out: Path, *words: str, cache: Path | None = None) -> subprocess.Popen[str]:
    """The user's command, at the head of a process group of its own.

    Args:
        config: the experiment.
        out: its folder.
        words: overrides and options.
        cache: where compiled kernels are kept; None: where they are kept anyway.
    """
    # The bnexp that this script imports, and not one that lies in the working directory.
    command = [sys.executable, "-P", "-m", "bnexp", "train"]
    return subprocess.Popen(
        [*command, "--config", str(config), "--out", str(out), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
        env={**os.environ, **({"NUMBA_CACHE_DIR": str(cache)} if cache else {})},
    )


def contents(out: Path) -> dict[str, bytes]:
    """Everything that must be equal: logs, the tensors of model.pt, figures."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in out.glob("figures/*")}
    for folder in run_folders(out):
        run = folder.relative_to(out)
        for name in COMPARED:
            if (folder / name).exists():
                found[f"{run}/{name}"] = (folder / name).read_bytes()
        model = torch.load(folder / "model.pt", weights_only=True)
        for key, value in model.items():
            found[f"{run}/model.pt/{key}"] = value.numpy().tobytes()
    return found


def promised(out: Path) -> dict[str, bytes]:
    """The rows that a reader finds in each log, as bytes; nothing where no run was begun.

    Raises:
        ValueError: a file is damaged.
    """
    found: dict[str, bytes] = {}
    if not (out / "config.yaml").exists():
        return found
    try:
        experiment = read_experiment(out)
    except StorageError as error:
        raise ValueError(str(error)) from error
    if experiment.problems:
        raise ValueError("; ".join(experiment.problems.values()))
    for variant in experiment.variants.values():
        for run in variant.runs:
            for name in ("batch_percentiles.npy", "probe_percentiles.npy", "norm_parameters.npy"):
                if name not in run.status.files:
                    continue
                size = run.status.files[name].bytes
                if name != "batch_percentiles.npy" and run.axes.probe is not None:
                    # The last row may be the final network's of a shorter run.
                    first, units = run.axes.probe.row_shape
                    size -= 4 * units * (2 if name == "norm_parameters.npy" else first)
                rows = (run.path / name).read_bytes()[128:]
                found[f"{run.path.relative_to(out)}/{name}"] = rows[: max(size, 0)]
    return found


# Processes


def children(pid: int, word: str) -> list[int]:
    """The processes that a process has started and whose command line holds a word."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        lines = {int(each): Path(f"/proc/{each}/cmdline").read_bytes() for each in found}
    except OSError:
        return []
    return [each for each, line in lines.items() if word.encode() in line]


def fork_servers(process: subprocess.Popen[str]) -> list[int]:
    """The process that the command's workers are forked from, if it is there."""
    return children(process.pid, "spawn_main")


def open_files(pid: int) -> list[Path]:
    """What a process has open; one that it closes meanwhile is left out."""
    found: list[Path] = []
    with suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.append(each.readlink())
    return found


def workers(out: Path) -> list[int]:
    """The processes that are at a run."""
    found = []
    for folder in run_folders(out):
        try:
            status = json.loads((folder / "status.json").read_text())
        except (OSError, ValueError):
            continue
        # A kill leaves its status, and the system may give its number to another program. Only a
        # process that has a file of this run open is the run's.
        if status["state"] == "running" and any(
            folder.resolve() in path.parents for path in open_files(status["pid"])
        ):
            found.append(int(status["pid"]))
    return found


def interrupt(process: subprocess.Popen[str], out: Path, how: str, share: float) -> bool:
    """Send one signal; False where nobody is left to hear it. `share` of 1 chooses the worker."""
    number = getattr(signal, how.split(maxsplit=1)[0])
    if how.endswith("to one worker"):
        forked = [children(pid, "") for pid in fork_servers(process)]
        pids = workers(out) or list(itertools.chain(*forked)) or fork_servers(process)
    elif how.endswith("to the fork server"):
        pids = fork_servers(process)
    elif how.endswith("to the resource tracker"):
        pids = children(process.pid, "resource_tracker")
    else:
        pids = [process.pid]
    if not pids or process.poll() is not None:
        return False
    try:
        (os.killpg if "all its processes" in how else os.kill)(pids[int(share * len(pids))], number)
    except ProcessLookupError:
        return False
    return True


def begun(process: subprocess.Popen[str], out: Path) -> bool:
    """Wait until a run is at work; False where the command ended before."""
    return _wait(process, lambda: bool(workers(out)))


def _wait(process: subprocess.Popen[str], condition: Callable[[], bool]) -> bool:
    """Wait until it holds; False where the command ended before."""
    while process.poll() is None and not condition():
        time.sleep(0.002)
    return process.poll() is None


# Moments


def _log_lines(out: Path) -> int:
    try:
        return (out / "train.log").read_bytes().count(b"\n")
    except OSError:
        return 0


def _drawing(out: Path, since: float) -> bool:
    """Whether a figure, or a part of one, is newer than that."""
    try:
        return max(path.stat().st_mtime for path in out.glob("figures/*")) > since
    except (OSError, ValueError):
        return False


def conditions(out: Path, lines: int) -> dict[str, Callable[[], bool]]:
    """How each moment is known to have come.

    Args:
        out: the experiment's folder.
        lines: how many lines `train.log` had before the command was started.
    """
    began = time.time()

    def importing() -> bool:
        return _log_lines(out) > lines

    def training() -> bool:
        return bool(workers(out))

    return {
        "importing (command)": lambda: True,
        "importing (worker)": importing,
        "compiling": importing,
        "training": training,
        "checkpoint": training,
        "drawing": lambda: _drawing(out, began),
    }


def wait_for(
    moment: str, process: subprocess.Popen[str], case: "Case", place: "Place", draw: random.Random
) -> bool:
    """Wait for a random place of a moment; False where the command ended before.

    Args:
        moment: one of `MOMENTS`, or `compiling`.
        process: the command.
        case: says how long each moment takes.
        place: the experiment's folder, and what is there already.
        draw: where in the moment.
    """
    if not _wait(process, conditions(place.out, place.lines)[moment]):
        return False
    time.sleep(case.seconds[moment] * draw.random())
    if moment == "checkpoint":
        name = draw.choice(("checkpoint.pt.new", "checkpoint.pt.new.tmp", "status.json.tmp"))
        deadline = time.monotonic() + 2
        while process.poll() is None and time.monotonic() < deadline:
            if any(os.path.lexists(folder / name) for folder in run_folders(place.out)):
                break
    return process.poll() is None


# Repetitions


@dataclass
class Repetition:
    """What became of one repetition.

    Attributes:
        number: which one.
        grows_from: what of the experiment was finished before, if anything.
        signals: what hit it, each as `signal to whom, moment`.
        after_kills: what was wrong when the files were read after a kill.
        differing: the files that differ at the end.
        failed: how the command ended where it should not have.
    """

    number: int
    grows_from: str | None = None
    signals: list[str] = field(default_factory=list)
    after_kills: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    failed: str | None = None


@dataclass(frozen=True)
class Case:
    """What the repetitions share.

    Attributes:
        config: the experiment.
        smaller: the experiment without its second variant.
        folder: where the repetitions work.
        seconds: how long each moment takes when nothing disturbs it.
        expected: every file, when nothing disturbs it.
    """

    config: Path
    smaller: Path
    folder: Path
    seconds: dict[str, float]
    expected: dict[str, bytes]


@dataclass(frozen=True)
class Place:
    """Where a repetition works.

    Attributes:
        out: the experiment's folder.
        words: options of the command.
        cache: where compiled kernels are kept; None: where they are kept anyway.
        lines: how many lines `train.log` has.
        done: whether every run is done, so that only the figures are left to draw.
    """

    out: Path
    words: tuple[str, ...]
    cache: Path | None
    lines: int
    done: bool


def repetition(case: Case, seed: int, number: int) -> Repetition:
    """Interrupt a training until it ends, and compare its files."""
    draw = random.Random(f"{seed}/{number}")
    made, out, cache = Repetition(number), case.folder / f"out{number}", None
    if number % 40 == 5:  # with no compiled kernels: compiling takes half a minute
        cache = case.folder / f"cache{number}"
    elif draw.random() < 1 / 3:
        made.grows_from = draw.choice(SMALLER)
        alone = made.grows_from == "variants.batchnorm"
        words = () if alone else (made.grows_from,)
        start(case.smaller if alone else case.config, out, *words).communicate()
    jobs = "--jobs", draw.choice("1112")
    while not _one_command(case, made, Place(out, jobs, cache, _log_lines(out), _done(out)), draw):
        pass
    if not made.failed:
        found = contents(out)
        made.differing = [
            key for key in case.expected | found if case.expected.get(key) != found.get(key)
        ]
        shutil.rmtree(out)
    if cache:
        shutil.rmtree(cache)
    return made


def _one_command(case: Case, made: Repetition, place: Place, draw: random.Random) -> bool:
    """Start the command, and interrupt it if the signals are not spent; whether it has ended."""
    process = start(case.config, place.out, *place.words, cache=place.cache)
    early, sent = False, 0
    while len(made.signals) < MOST:
        moment = _moment(made, place, draw)
        if not wait_for(moment, process, case, place, draw):
            break
        how = _kind(draw, spare_workers=sent == TRIES - 1)
        if interrupt(process, place.out, how, draw.random()):
            made.signals.append(f"{how}, {moment}")
            early, sent = moment == "importing (command)", sent + (how in GOES_ON)
            if how not in GOES_ON:
                break
    output, _ = process.communicate()
    code = process.returncode
    expected = {0, 130, -signal.SIGKILL} | ({-signal.SIGTERM, -signal.SIGINT} if early else set())
    if code not in expected or ("Traceback" in output and not early):
        made.failed = f"after {made.signals}: exit {code}\n{output}"
        return True
    try:
        found = promised(place.out)
    except ValueError as error:
        made.after_kills.append(str(error))
    else:
        made.after_kills += [
            key for key, rows in found.items() if not case.expected[key][128:].startswith(rows)
        ]
    return code == 0


def _kind(draw: random.Random, *, spare_workers: bool) -> str:
    """What is sent to whom."""
    left = {how: weight for how, weight in KINDS.items() if not (spare_workers and how in GOES_ON)}
    kind: str = draw.choices(*zip(*left.items(), strict=True))[0]
    return kind


def _moment(made: Repetition, place: Place, draw: random.Random) -> str:
    """When the next signal is to come: what is over does not come again."""
    if place.cache and len(made.signals) < 2:
        return "compiling"
    left = dict(MOMENTS)
    if place.done:
        left = {key: left[key] for key in ("importing (command)", "drawing")}
    elif len(made.signals) < MOST - 4:
        del left["drawing"]
    moment: str = draw.choices(*zip(*left.items(), strict=True))[0]
    return moment


def _done(out: Path) -> bool:
    """Whether every run of the whole experiment is done."""
    folders = run_folders(out)
    with suppress(StorageError):
        return len(folders) == 4 and all(
            (status.state, status.steps) == ("done", STEPS) for status in map(read_status, folders)
        )
    return False


def kills(made: Sequence[Repetition]) -> int:
    """How many SIGKILLs hit."""
    return sum(each.startswith("SIGKILL") for one in made for each in one.signals)


def undisturbed(config: Path, out: Path) -> tuple[dict[str, bytes], dict[str, float]]:
    """Run the command to its end; returns what it wrote, and how long each moment took."""
    process, times = start(config, out), [time.monotonic()]
    known = conditions(out, 0)
    for moment in ("importing (worker)", "training", "drawing"):
        _wait(process, known[moment])
        times.append(time.monotonic())
    output, _ = process.communicate()
    if process.returncode:
        sys.exit(output)
    times.append(time.monotonic())
    took = [after - before for before, after in itertools.pairwise(times)]
    command, worker, training, drawing = took
    seconds = {
        "importing (command)": command,
        "importing (worker)": worker,
        "compiling": 15.0,
        # A part of it, since each start of the command goes on where the one before was killed.
        "training": training / 8,
        "checkpoint": training / 8,
        "drawing": drawing,
    }
    return contents(out), seconds


def make(case: Case, seed: int, wanted: int, side_by_side: int, progress: Path) -> list[Repetition]:
    """Make repetitions until there are so many kills; each goes to the file of the progress."""
    done: list[Repetition] = []
    if progress.exists():
        done = [Repetition(**json.loads(line)) for line in progress.read_text().splitlines()]
    taken = {each.number for each in done}
    left = (number for number in itertools.count() if number not in taken)
    with ThreadPoolExecutor(side_by_side) as pool:
        at_work: set[Future[Repetition]] = set()
        while kills(done) < wanted or at_work:
            while len(at_work) < side_by_side and kills(done) < wanted:
                at_work.add(pool.submit(repetition, case, seed, next(left)))
            ended, at_work = wait(at_work, return_when=FIRST_COMPLETED)
            for each in ended:
                made = each.result()
                done.append(made)
                with progress.open("a") as file:
                    file.write(json.dumps(asdict(made)) + "\n")
                bad = made.failed or made.differing or made.after_kills
                told = f"{kills(done)} kills; {made.number}: {len(made.signals)} signals, "
                print(told + (f"DIFFERENT: {bad}" if bad else "equal"), flush=True)
    return done


def summary(done: Sequence[Repetition], arguments: argparse.Namespace) -> dict[str, Any]:
    """What is committed."""
    from bnexp.files.provenance import provenance

    signals = [each.rpartition(", ") for one in done for each in one.signals]
    equal = sum(not (each.failed or each.differing or each.after_kills) for each in done)
    return {
        "summary": f"{equal} of {len(done)} experiments bitwise equal, after {kills(done)} kills "
        f"(SIGKILL) and {len(signals) - kills(done)} other signals; read after each of them",
        "signals": dict(Counter(how for how, _, _ in signals).most_common()),
        "moments": dict(Counter(moment for _, _, moment in signals).most_common()),
        "growing": dict(Counter(str(each.grows_from) for each in done).most_common()),
        "seed": arguments.seed,
        "steps": STEPS,
        "repetitions": [asdict(each) for each in sorted(done, key=lambda each: each.number)],
        "environment": provenance(),
    }


def main() -> int:
    """Make all repetitions; print and write the outcome."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="how many SIGKILLs are to hit")
    parser.add_argument("--side-by-side", type=int, default=2, help="repetitions at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--progress", type=Path, help="a line for each repetition; continued")
    parser.add_argument("--out", type=Path, default=Path("results/published/reliability"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config, smaller = folder / "stress.yaml", folder / "smaller.yaml"
        text = CONFIG.format(steps=STEPS)
        config.write_text(text)
        smaller.write_text(text[: text.index("  batchnorm")])
        undisturbed(config, folder / "first")  # which compiles the kernels, where they are not
        expected, seconds = undisturbed(config, folder / "whole")
        case = Case(config, smaller, folder, seconds, expected)
        done = make(
            case,
            arguments.seed,
            arguments.kills,
            arguments.side_by_side,
            arguments.progress or folder / "progress.jsonl",
        )
    content = summary(done, arguments)
    print(content["summary"])
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "stress.json").write_text(json.dumps(content, indent=1) + "\n")
    return 0 if all(not (e.failed or e.differing or e.after_kills) for e in done) else 1


if __name__ == "__main__":
    sys.exit(main())
