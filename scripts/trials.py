"""Try what a test cannot: a full disk, a jumping clock, limits of memory, another user, many runs.

    nice -n 19 python scripts/trials.py

Each trial trains a very small experiment in a folder of its own, and is written to --out with every
command, its exit code and what it said at last. `as expected` says whether the exit codes were
right, and the files those of an undisturbed training. Trials need Linux, and some need root or
libfaketime (`apt-get install faketime`); where these are missing, a trial is written down as not
tried. --only makes some of the trials, and keeps the others as they were written.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from transcript import TRAIN, NotTriedError, Outcome, Trial, need

# The trials. Each returns what else is to be written down, with `as expected`.


def full_disk_while_drawing(trial: Trial) -> Outcome:
    """The folder is a tmpfs with no room for the figures: exit 4; with room, the figures follow."""
    need(os.geteuid() == 0 and shutil.which("mount"), "root, to mount a tmpfs")
    codes = [trial.run(*TRAIN, "--out", "whole")]
    whole = trial.contents("whole")
    (out := trial.folder / "out").mkdir()
    kept = [path for path in (trial.folder / "whole").rglob("*") if "figures" not in path.parts]
    pages = sum(path.stat().st_size // 4096 + 1 for path in kept)
    mount = [shutil.which("mount") or "", "-t", "tmpfs", "tmpfs", str(out), "-o"]
    mounted = subprocess.run([*mount, f"size={4096 * (pages + 6)}"], check=False).returncode == 0
    need(mounted, "the right to mount a tmpfs")
    try:
        without = shutil.ignore_patterns("figures")
        shutil.copytree(trial.folder / "whole", out, ignore=without, dirs_exist_ok=True)
        codes.append(trial.run(*TRAIN, "--out", "out"))
        drawing = (out / "figures").is_dir()
        subprocess.run([*mount[:1], "-o", "remount,size=64m", str(out)], check=True)
        codes.append(trial.run(*TRAIN, "--out", "out"))
        equal = trial.contents("out") == whole
    finally:
        subprocess.run([shutil.which("umount") or "", str(out)], check=True)
    expected = equal and drawing and codes == [0, 4, 0]
    return {"it was drawing": drawing, "equal": equal, "as expected": expected}


def clock_that_jumps(trial: Trial) -> Outcome:
    """The clock goes to and fro between -3 days and +2 years: the files do not depend on it."""
    from matplotlib.image import imread

    need(shutil.which("faketime"), "libfaketime")
    libraries = subprocess.run(
        ["faketime", "-f", "+0", "printenv", "LD_PRELOAD"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    rarely = ("record.probe_every=1000", "train.checkpoint_every=5000")
    codes, jumps = [trial.run(*TRAIN, "--out", "whole", "train.steps=40000", *rarely)], [0]
    clock = trial.folder / "clock"
    clock.write_text("-3d\n")
    environment = {"LD_PRELOAD": libraries, "FAKETIME_TIMESTAMP_FILE": str(clock),
                   "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}  # fmt: skip

    def jump() -> None:
        jumps[0] += 1
        (aside := clock.with_suffix(".new")).write_text(("-3d\n", "+2y\n")[jumps[0] % 2])
        aside.replace(clock)

    for steps in ("20000", "40000"):
        words = (*TRAIN, "--out", "out", f"train.steps={steps}", *rarely)
        codes.append(trial.run(*words, env=environment, during=jump))
    out, whole = trial.contents("out"), trial.contents("whole")
    # Under libfaketime Python sometimes fails to start git (EINVAL), and a figure then does not
    # name the commit. So pictures are compared by what is seen.
    pictures = [imread(trial.folder / each / "figures/fig1.png") for each in ("out", "whole")]
    differing = [name for name in whole if out.get(name) != whole[name] and "fig1" not in name]
    equal = not differing and out.keys() == whole.keys() and (pictures[0] == pictures[1]).all()
    return {
        "jumps": jumps[0],
        "equal": bool(equal),
        "as expected": bool(equal and codes == [0, 0, 0]),
    }


def memory_limit(trial: Trial) -> Outcome:
    """`ulimit -v 524288` leaves no room for torch: exit 1 with the cause; without it, all equal."""
    return limited(trial, "ulimit -v 524288")


def memory_control_group(trial: Trial) -> Outcome:
    """A control group with 150 MB kills the workers: exit 1 after three tries; then all equal."""
    group = Path("/sys/fs/cgroup/memory/bnexp-trial")
    need(os.access(group.parent, os.W_OK), "root, and control groups (v1)")
    group.mkdir(exist_ok=True)
    try:
        (group / "memory.limit_in_bytes").write_text(str(150 << 20))
        return limited(trial, f"echo $$ > {group}/cgroup.procs")
    finally:
        group.rmdir()


def limited(trial: Trial, before: str) -> Outcome:
    """Train with little memory, and then with all of it."""
    codes = [trial.run(*TRAIN, "--out", "whole"), trial.run(*TRAIN, "--out", "out", before=before)]
    codes.append(trial.run(*TRAIN, "--out", "out"))
    equal = trial.contents("out") == trial.contents("whole")
    return {"equal": equal, "as expected": equal and codes == [0, 1, 0]}


def second_user(trial: Trial) -> Outcome:
    """Another user reads an experiment; writing into it is refused with exit 4."""
    need(os.geteuid() == 0, "root, to become another user")
    trial.folder.chmod(0o755)
    (trial.folder / "nobody").mkdir()
    shutil.chown(trial.folder / "nobody", "nobody")
    codes = [trial.run(*TRAIN, "--out", "out")]
    before = {p: p.read_bytes() for p in sorted((trial.folder / "out").rglob("*")) if p.is_file()}
    reading = ("compare", "out"), ("runs", "out"), ("plot", "out", "--out", "nobody/figure")
    own = (*TRAIN, "--out", "nobody/mine")
    writing = [(*TRAIN, "--out", "out", word) for word in ("seeds=[0,1]", "--restart")]
    for words in (*reading, own, *writing, ("plot", "out")):
        codes += [trial.run(*words, user="nobody")]
    same = {p: p.read_bytes() for p in sorted((trial.folder / "out").rglob("*")) if p.is_file()}
    return {"unchanged": same == before,
            "as expected": same == before and codes == [0, 0, 0, 0, 0, 4, 4, 4]}  # fmt: skip


def many_seeds(trial: Trial) -> Outcome:
    """A thousand seeds in one experiment."""
    code = trial.run(*TRAIN, "--out", "out", "seeds=1000", "train.steps=10")
    return of_many(trial, code, 1000)


def many_variants(trial: Trial) -> Outcome:
    """200 variants under `ulimit -n 256`."""
    grid = "--grid", "train.lr=" + ",".join(f"{number / 1000:g}" for number in range(1, 201))
    code = trial.run(*TRAIN, "--out", "out", "train.steps=10", *grid, before="ulimit -n 256")
    return of_many(trial, code, 200)


def of_many(trial: Trial, code: int, count: int) -> Outcome:
    """How many networks there are."""
    models = len([*trial.folder.glob("out/*/seed-*/model.pt")])
    return {"networks": models, "as expected": (code, models) == (0, count)}


def long_logs(trial: Trial) -> Outcome:
    """`plot` of logs with 200,000 rows."""
    rows = ("train.steps=200000", "train.checkpoint_every=50000", "record.probe_every=1")
    codes = [trial.run(*TRAIN, "--out", "out", *rows, "record.evaluate_every=50000")]
    memory = dict[str, int]()
    for source in ("probe", "batch"):
        codes += [trial.run("plot", "out", "--source", source)]
        memory[source] = trial.memory
    sizes = {path.name: path.stat().st_size for path in trial.folder.glob("out/*/seed-0/*.npy")}
    return {"bytes": sizes, "MB of memory by source": memory, "as expected": codes == [0, 0, 0]}


TRIALS = (long_logs,  # which measures memory, before torch is loaded here
          full_disk_while_drawing, clock_that_jumps, memory_limit, memory_control_group,
          second_user, many_seeds, many_variants)  # fmt: skip


def tried(make: Callable[[Trial], Outcome]) -> Outcome:
    """A trial's outcome, with what it is about."""
    from bnexp.files.provenance import provenance

    with tempfile.TemporaryDirectory() as name:
        trial = Trial(Path(name))
        try:
            outcome = make(trial)
        except NotTriedError as error:
            outcome = {"not tried": str(error)}
    about = {"trial": (make.__doc__ or "").strip(), **outcome, "commands": trial.commands}
    return {**about, "environment": provenance()}


def main() -> int:
    """Make the trials; print and write what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=[each.__name__ for each in TRIALS])
    parser.add_argument("--out", type=Path, default=Path("results/published/reliability"))
    arguments = parser.parse_args()
    path = arguments.out / "trials.json"
    trials = json.loads(path.read_text()) if arguments.only and path.exists() else {}
    for make in TRIALS:
        if not arguments.only or make.__name__ in arguments.only:
            trials[make.__name__] = tried(make)
            print(make.__name__, json.dumps(trials[make.__name__], indent=1), flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(trials, indent=1) + "\n")
    return 0 if all(each.get("as expected", True) for each in trials.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
